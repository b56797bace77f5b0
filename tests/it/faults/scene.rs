//! What a row stands on: two gateways that share a store, an application, and the load.

use std::time::Duration;

use super::stage::Stage;
use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Load, Target};

pub(super) const GATEWAYS: usize = 2;
pub(super) const WINDOW: Duration = Duration::from_secs(1);
pub(super) const TIMEOUT: Duration = Duration::from_millis(50);
/// Of the token bucket, and of the sliding window where there is one client.
const QUOTA: usize = 40;
/// Of each client where there are several.
const CLIENT_QUOTA: usize = 10;
/// Of several clients together: less than they could have one by one, so that both hold.
const ALL_QUOTA: usize = 100;
/// Of the token bucket, whose rate is its quota.
const BURST: usize = 10;
const THREADS_PER_GATEWAY: usize = 2;
/// Calls that may go unanswered where nothing is at fault: a machine that stands still for a moment
/// costs each thread one, and may do so twice.
pub(super) const STRAYS_MAX: usize = 2 * GATEWAYS * THREADS_PER_GATEWAY;
/// Four hundred requests a second in all.
const EVERY: Duration = Duration::from_millis(10);
/// Of which so many are one for the token bucket.
const ROUND: usize = 4;
/// What the samples of the token bucket are told by; those of a client by its number.
pub(super) const BUCKET: usize = usize::MAX;
/// What clients say who they are.
const CLIENTS: [&str; 12] = [
    "x-key: a\r\n",
    "x-key: b\r\n",
    "x-key: c\r\n",
    "x-key: d\r\n",
    "x-key: e\r\n",
    "x-key: f\r\n",
    "x-key: g\r\n",
    "x-key: h\r\n",
    "x-key: i\r\n",
    "x-key: j\r\n",
    "x-key: k\r\n",
    "x-key: l\r\n",
];

/// The bounds of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of each client, as long as one and the same decides.
    pub(super) quota: usize,
    /// Of each client, while all gateways decide by themselves.
    pub(super) without_redis: usize,
    /// Of each client in any window, whatever happened in it.
    pub(super) over_edges: usize,
    /// Of all clients together.
    pub(super) all: usize,
    /// The same in any window.
    pub(super) all_over_edges: usize,
    /// Of the token bucket in any window: one is its burst and its rate.
    pub(super) bucket: usize,
}

pub(super) struct Scene<S> {
    pub(super) gateways: Vec<Gateway>,
    pub(super) stage: S,
    _app: App,
}

// === impl Bounds ===

impl Bounds {
    pub(super) const fn of(clients: usize) -> Self {
        let (quota, all) = if clients == 1 { (QUOTA, QUOTA) } else { (CLIENT_QUOTA, ALL_QUOTA) };
        Self {
            quota,
            without_redis: if quota > GATEWAYS { quota } else { GATEWAYS },
            over_edges: 2 * quota,
            all,
            all_over_edges: 2 * all,
            bucket: 2 * (QUOTA + BURST),
        }
    }
}

// === impl Scene ===

impl<S: Stage> Scene<S> {
    pub(super) fn start(plan: S::Plan) -> Self {
        let stage = S::start(plan);
        let app = App::start();
        let config = config(&stage, &app);
        let gateways: Vec<Gateway> = (0..GATEWAYS).map(|_| Gateway::start(&config)).collect();
        for gateway in &gateways {
            gateway.wait_for_store(if S::is_dead(plan) { "away" } else { "up" });
        }
        Self { gateways, stage, _app: app }
    }

    pub(super) fn load(&self) -> Load {
        let threads = self
            .gateways
            .iter()
            .flat_map(|gateway| [(); THREADS_PER_GATEWAY].map(|()| targets(gateway, S::CLIENTS)));
        Load::start(threads.collect(), EVERY)
    }

    /// Admissions of the sliding window that a gateway decided by itself, so far.
    pub(super) fn admitted_locally(&self) -> usize {
        let labels = ["policy=\"sliding\"", "decision=\"allow\"", "provenance=\"local\""];
        let each = self.gateways.iter();
        each.map(|gateway| gateway.metric("sluicegate_decisions_total", &labels) as usize).sum()
    }

    /// Calls that got no answer in time.
    pub(super) fn timeouts(&self) -> usize {
        let each = self.gateways.iter();
        let labels = ["kind=\"timeout\""];
        each.map(|gateway| gateway.metric("sluicegate_store_errors_total", &labels) as usize).sum()
    }

    /// Whether every server that a gateway gave up had been silent, and none had refused.
    pub(super) fn all_were_silent(&self) -> bool {
        let silent = |log: String| {
            let mut given_up = log.lines().filter(|line| line.contains("redis is away"));
            given_up.all(|line| line.contains("fault=timeout"))
        };
        self.gateways.iter().all(|gateway| silent(gateway.log()))
    }

    pub(super) fn log_lines(&self) -> usize {
        self.gateways.iter().map(|gateway| gateway.log().lines().count()).sum()
    }
}

/// What a thread asks in turn. The first of several clients asks as often as all others together: so
/// it is refused for itself, and the others as often for what they share.
fn targets(gateway: &Gateway, clients: usize) -> Vec<Target> {
    let address = gateway.public();
    let bucket = Target { number: BUCKET, address, path: "/bucket", headers: "" };
    let sliding = |number: usize| {
        let headers = if clients == 1 { "" } else { CLIENTS[number] };
        Target { number, address, path: "/sliding", headers }
    };
    let mut clients = (1..clients).flat_map(|number| [0, number]).map(sliding).collect::<Vec<_>>();
    clients.resize(clients.len().next_multiple_of(ROUND - 1).max(ROUND - 1), sliding(0));
    let rounds = clients.chunks(ROUND - 1);
    rounds.flat_map(|round| round.iter().copied().chain([bucket])).collect()
}

fn config<S: Stage>(stage: &S, app: &App) -> String {
    let store = stage.store(&format!(
        "timeout = \"{}ms\"\ndeny_cache = \"50ms\"\nexpected_instances = {GATEWAYS}\n",
        TIMEOUT.as_millis()
    ));
    let Bounds { quota, all, .. } = Bounds::of(S::CLIENTS);
    let window = WINDOW.as_secs();
    let all = format!("[policies.all]\nquota = {all}\nwindow = \"{window}s\"\npartition = []\n");
    let (partition, policies, all) = if S::CLIENTS == 1 {
        ("", "\"sliding\"", "")
    } else {
        ("\"header:x-key\"", "\"sliding\", \"all\"", all.as_str())
    };
    format!(
        "{store}{}\
         [policies.sliding]\nquota = {quota}\nwindow = \"{window}s\"\npartition = [{partition}]\n{all}\
         [policies.bucket]\nquota = {QUOTA}\nwindow = \"{window}s\"\npartition = []\n\
         algorithm = \"token-bucket\"\nburst = {BURST}\n\
         [[rules]]\npath = \"/sliding\"\npolicies = [{policies}]\n\
         [[rules]]\npath = \"/bucket\"\npolicies = [\"bucket\"]\n",
        app_at(app.address()),
    )
}
