//! The notebook of one request.

use std::sync::Arc;

use prometheus::IntGauge;

use super::attempt::Attempts;
use super::intake::Intake;
use super::tab::Tab;
use super::{Proxy, State};
use crate::client::Client;
use crate::identity::certificate::ClientCertificate;
use crate::limit::{Timestamp, Verdict};
use crate::limiter::Holding;
use crate::rules::Route;
use crate::upstream::Upstream;

/// What the phases of a request tell each other.
#[derive(Debug)]
pub struct Context {
    pub(super) state: Arc<State>,
    pub(super) started: Timestamp,
    pub(super) request_id: String,
    /// The certificate that the client has shown.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
    pub(super) client: Option<Client>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) verdict: Option<Verdict>,
    pub(super) decided: Option<Timestamp>,
    /// What is to be settled, until it is.
    pub(super) tab: Option<Tab>,
    /// Where it was tried; what it holds of a server is given back with this at the latest.
    pub(super) attempts: Attempts,
    /// What has come of the request's body.
    pub(super) intake: Intake,
    /// An invalid credential was presented, and is to be refused if nothing else refuses.
    pub(super) forgery: bool,
    /// What the request holds of `concurrency` policies: given back with this at the latest.
    pub(super) permits: Holding,
    _in_flight: InFlight,
}

/// Counts the request as under way for as long as it lives, however it ends.
#[derive(Debug)]
struct InFlight(IntGauge);

// === impl Context ===

impl Context {
    pub(super) fn new(state: Arc<State>, started: Timestamp, in_flight: &IntGauge) -> Self {
        Self {
            state,
            started,
            request_id: String::new(),
            certificate: None,
            client: None,
            route: None,
            verdict: None,
            decided: None,
            tab: None,
            attempts: Attempts::default(),
            intake: Intake::default(),
            forgery: false,
            permits: Holding::default(),
            _in_flight: InFlight::start(in_flight),
        }
    }

    /// Settles what the request has cost in the end, if that has not been done.
    pub(super) fn settle(&mut self, proxy: &Proxy, status: Option<u16>) {
        if let Some((tab, verdict)) = self.tab.take().zip(self.verdict.as_mut()) {
            tab.settle(proxy, &self.state, status, verdict);
        }
    }

    /// Gives back what the request holds: the server has given its whole answer.
    pub(super) fn free(&mut self) {
        self.permits.free();
        let upstream =
            self.route.as_ref().and_then(|route| self.state.upstreams.get(route.upstream));
        self.attempts.succeed(upstream.map(|upstream| &**upstream));
    }

    /// Most bytes of the request's body.
    pub(super) fn body_most(&self) -> u64 {
        self.route.as_ref().and_then(|route| route.max_body).unwrap_or(self.state.bounds.body)
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.state.upstreams.get(self.route.as_ref()?.upstream)
    }
}

// === impl InFlight ===

impl InFlight {
    fn start(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
