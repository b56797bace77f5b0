//! What a request meets of the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::Cors;
use crate::client::{Clients, Networks};
use crate::delivery::Push;
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
}
