//! What a row stands on: one Redis, two gateways that share it, an application, and the load.

use std::net::TcpStream;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::app::App;
use crate::support::fault_proxy::FaultProxy;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Load, Target};
use crate::support::redis::RedisServer;

pub(super) const GATEWAYS: usize = 2;
pub(super) const QUOTA: usize = 40;
pub(super) const WINDOW: Duration = Duration::from_secs(1);
pub(super) const TIMEOUT: Duration = Duration::from_millis(50);
/// Of the token bucket, whose rate is the same quota.
const BURST: usize = 10;
const THREADS_PER_GATEWAY: usize = 2;
/// Four hundred requests a second in all.
const EVERY: Duration = Duration::from_millis(10);
/// By which the samples of the two policies are told apart.
pub(super) const SLIDING: usize = 0;
pub(super) const BUCKET: usize = 1;

/// Most admissions in a window while all gateways decide by themselves.
pub(super) const WITHOUT_REDIS_MAX: usize = if QUOTA > GATEWAYS { QUOTA } else { GATEWAYS };
/// Most in any window, whatever happened in it.
pub(super) const OVER_EDGES_MAX: usize = 2 * QUOTA;
/// The same for the token bucket: a window is its burst and its rate.
pub(super) const BUCKET_MAX: usize = 2 * (QUOTA + BURST);

/// What a row needs from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// Further arguments of the Redis server.
    pub(super) arguments: &'static [&'static str],
    /// With a proxy between Redis and both gateways.
    pub(super) proxied: bool,
    /// Redis is dead when the gateways start.
    pub(super) dead: bool,
}

pub(super) struct Scene {
    pub(super) gateways: Vec<Gateway>,
    pub(super) redis: RedisServer,
    pub(super) proxy: Option<FaultProxy>,
    /// What a fault holds until it is repaired.
    pub(super) helpers: Vec<JoinHandle<()>>,
    pub(super) others: Vec<RedisServer>,
    pub(super) held: Vec<TcpStream>,
    _app: App,
}

// === impl Scene ===

impl Scene {
    pub(super) fn start(setup: Setup) -> Self {
        let mut redis = RedisServer::start_with(setup.arguments);
        let proxy = setup.proxied.then(|| FaultProxy::start(redis.address()));
        let url = proxy.as_ref().map_or_else(|| redis.url(), FaultProxy::url);
        if setup.dead {
            redis.kill();
        }
        let app = App::start();
        let config = config(&url, &app);
        let gateways: Vec<Gateway> = (0..GATEWAYS).map(|_| Gateway::start(&config)).collect();
        for gateway in &gateways {
            gateway.wait_for_store(if setup.dead { "away" } else { "up" });
        }
        let (helpers, others, held) = (Vec::new(), Vec::new(), Vec::new());
        Self { gateways, redis, proxy, helpers, others, held, _app: app }
    }

    pub(super) fn proxy(&self) -> &FaultProxy {
        self.proxy.as_ref().expect("a row that asked for a proxy")
    }

    pub(super) fn load(&self) -> Load {
        let threads = self.gateways.iter().flat_map(|gateway| {
            let sliding = Target { number: SLIDING, address: gateway.public(), path: "/sliding" };
            let bucket = Target { number: BUCKET, path: "/bucket", ..sliding };
            [(); THREADS_PER_GATEWAY].map(|()| vec![sliding, sliding, sliding, bucket])
        });
        Load::start(threads.collect(), EVERY)
    }

    /// Admissions of the sliding window that a gateway decided by itself, so far.
    pub(super) fn admitted_locally(&self) -> usize {
        let labels = ["policy=\"sliding\"", "decision=\"allow\"", "provenance=\"local\""];
        let each = self.gateways.iter();
        each.map(|gateway| gateway.metric("sluicegate_decisions_total", &labels) as usize).sum()
    }

    pub(super) fn log_lines(&self) -> usize {
        self.gateways.iter().map(|gateway| gateway.log().lines().count()).sum()
    }

    /// Runs `work` beside the row, which joins it when it repairs.
    pub(super) fn beside(&mut self, work: impl FnOnce() + Send + 'static) {
        self.helpers.push(std::thread::spawn(work));
    }

    /// Waits for what runs beside.
    pub(super) fn join(&mut self) {
        for helper in self.helpers.drain(..) {
            helper.join().expect("it does not panic");
        }
    }
}

fn config(url: &str, app: &App) -> String {
    format!(
        "[store]\nurl = \"{url}\"\ntimeout = \"{}ms\"\ndeny_cache = \"50ms\"\n\
         expected_instances = {GATEWAYS}\n{}\
         [policies.sliding]\nquota = {QUOTA}\nwindow = \"{}s\"\npartition = []\n\
         [policies.bucket]\nquota = {QUOTA}\nwindow = \"{}s\"\npartition = []\n\
         algorithm = \"token-bucket\"\nburst = {BURST}\n\
         [[rules]]\npath = \"/sliding\"\npolicies = [\"sliding\"]\n\
         [[rules]]\npath = \"/bucket\"\npolicies = [\"bucket\"]\n",
        TIMEOUT.as_millis(),
        app_at(app.address()),
        WINDOW.as_secs(),
        WINDOW.as_secs(),
    )
}
