//! What a request meets of the configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Bounds, Cors};
use crate::client::{Clients, Networks};
use crate::delivery::Push;
use crate::guard::GuardSettings;
use crate::limit::Micros;
use crate::meter::Meters;
use crate::request::Reading;
use crate::response::Answers;
use crate::rules::access::Exemptions;
use crate::rules::{Enforcement, Routes, RuleSet};
use crate::upstream::Upstream;

/// Everything of the configuration that a request meets: loaded once a request, replaced whole.
#[derive(Debug)]
pub struct State {
    /// How requests are read.
    pub reading: Reading,
    /// Who is asking.
    pub clients: Clients,
    /// Longest that an answer of Redis about a user is used again.
    pub identity_cache: Micros,
    /// Where requests go.
    pub routes: Routes,
    /// What they have to pass.
    pub rules: RuleSet,
    /// The upstreams, as routes count them.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Whom no limit concerns.
    pub exemptions: Exemptions,
    /// Who is not let in at all.
    pub deny_list: Networks,
    /// How far limits are enforced, as long as the switch does not say otherwise.
    pub enforcement: Enforcement,
    /// The switch.
    pub switch_file: Option<PathBuf>,
    /// What is counted.
    pub meters: Meters,
    /// Where the counts go.
    pub pushes: Vec<Push>,
    /// Which fields are sent, and how refusals are written.
    pub answers: Answers,
    /// Which pages may read them.
    pub cors: Cors,
    /// What answers over TLS say of coming back: `Strict-Transport-Security`.
    pub hsts: Option<String>,
    /// The port to which requests without TLS are sent.
    pub redirect: Option<u16>,
    /// Whether each request gets a log line.
    pub access_log: bool,
    /// What connections are held to before their requests are read.
    pub guard: GuardSettings,
    /// What clients are held to after that.
    pub bounds: Bounds,
    /// How long the steps of the end of the process may take.
    pub delays: Delays,
}

/// How long each step of the end of the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Until the listeners end, of a stop.
    pub lame_duck: Duration,
    /// Then, until the requests that are under way have ended.
    pub drain: Duration,
    /// Until the connections have ended, of a process whose place another has taken.
    pub handover: Duration,
}
