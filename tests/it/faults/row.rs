//! One row: healthy, a fault under load, its repair, healthy again; then what it must have been.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::report::{Counts, Report};
use super::scene::{
    BUCKET, BUCKET_MAX, OVER_EDGES_MAX, QUOTA, SLIDING, Scene, Setup, TIMEOUT, WINDOW,
    WITHOUT_REDIS_MAX,
};
use super::watch::Watch;
use crate::support::load::{Sample, largest_count};
use crate::support::redis::wait_until;

/// How long there is load before the fault and after the return.
const HEALTHY: Duration = Duration::from_millis(1_500);
/// How long the fault lasts: more than two windows.
const HOLD: Duration = Duration::from_millis(2_500);
/// A busy machine's scheduling, on top of `store.timeout`.
const LATE: Duration = Duration::from_secs(2);

/// A row of the matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    number: u32,
    name: &'static str,
    setup: Setup,
    outage: bool,
}

/// When what happened.
#[derive(Clone, Copy, Debug)]
struct Times {
    began: Instant,
    /// Until when Redis certainly decided, and from when again.
    healthy: (Instant, Instant),
    injected: Instant,
    noticed: Option<Instant>,
    repairing: Instant,
    repaired: Instant,
    returned: Instant,
    ended: Instant,
}

/// Admissions that the gateways decided by themselves while Redis decided: single calls that were
/// not answered in time. They come on top of what Redis admits.
#[derive(Clone, Copy, Debug)]
struct Strays {
    before: usize,
    after: usize,
}

// === impl Row ===

impl Row {
    /// A row whose fault every gateway must notice.
    pub(super) const fn new(number: u32, name: &'static str) -> Self {
        let setup = Setup { arguments: &[], proxied: false, dead: false };
        Self { number, name, setup, outage: true }
    }

    /// The fault may be over before anybody notices, or come and go.
    pub(super) const fn passing(mut self) -> Self {
        self.outage = false;
        self
    }

    pub(super) const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.setup.arguments = arguments;
        self
    }

    pub(super) const fn proxied(mut self) -> Self {
        self.setup.proxied = true;
        self
    }

    pub(super) const fn dead_at_start(mut self) -> Self {
        self.setup.dead = true;
        self
    }

    pub(super) fn run(self, inject: impl FnOnce(&mut Scene), repair: impl FnOnce(&mut Scene)) {
        let mut scene = Scene::start(self.setup);
        let started = Instant::now();
        let watch = Watch::start(&scene.gateways);
        let load = scene.load();
        let began = Instant::now();
        if !self.setup.dead {
            sleep(HEALTHY);
        }
        let healthy_until = Instant::now();
        let before = scene.admitted_locally();
        let injected = if self.setup.dead { started } else { Instant::now() };
        inject(&mut scene);
        let all_away = || watch.all_away_since(injected);
        if self.outage {
            wait_until("all gateways to notice", || all_away().is_some());
        }
        sleep(HOLD.saturating_sub(injected.elapsed()));
        let repairing = Instant::now();
        repair(&mut scene);
        let repaired = Instant::now();
        let mut returned = repaired;
        wait_until("all gateways to return", || {
            watch.all_up_since(repaired).inspect(|at| returned = *at).is_some()
        });
        // What a gateway decided by itself up to here does not count for the phase that begins.
        let at_return = scene.admitted_locally();
        let healthy_from = Instant::now();
        sleep(HEALTHY);
        let ended = Instant::now();
        let samples = load.stop();
        let strays = Strays { before, after: scene.admitted_locally() - at_return };
        let noticed = all_away().filter(|at| *at < repairing);
        let steady = !noticed.is_some_and(|at| watch.any_up_within(at, repairing));
        let healthy = (healthy_until, healthy_from);
        let times =
            Times { began, healthy, injected, noticed, repairing, repaired, returned, ended };
        self.judge(&scene, &samples, times, strays, steady);
    }

    fn judge(self, scene: &Scene, samples: &[Sample], times: Times, strays: Strays, steady: bool) {
        let count = |target: usize, phase: (Instant, Instant)| {
            let mine = samples.iter().filter(|sample| sample.target == target);
            largest_count(mine, WINDOW, phase)
        };
        let healthy = !self.setup.dead;
        let outage = times.noticed.filter(|_| self.outage && steady);
        let counts = Counts {
            before: healthy.then(|| count(SLIDING, (times.began, times.healthy.0))).flatten(),
            without: outage.and_then(|noticed| count(SLIDING, (noticed, times.repairing))),
            after: count(SLIDING, (times.healthy.1, times.ended)),
            whole: count(SLIDING, (times.began, times.ended)),
        };
        let early = |sample: &&Sample| healthy && sample.received < times.injected;
        let longest = |samples: &mut dyn Iterator<Item = &Sample>| {
            samples.map(Sample::waited).max().unwrap_or_default()
        };
        let report = Report {
            number: self.number,
            name: self.name,
            requests: samples.len(),
            failed: samples.iter().filter(|sample| sample.failed()).count(),
            longest_before: healthy.then(|| longest(&mut samples.iter().filter(early))),
            longest: longest(&mut samples.iter()),
            noticed: times.noticed.map(|at| at - times.injected),
            returned: times.returned - times.repaired,
            counts,
            strays: strays.before + strays.after,
            log_lines: scene.log_lines(),
        };
        report.write();
        let failure = samples.iter().find(|sample| sample.failed());
        assert!(report.failed == 0, "{} requests failed, the first: {failure:?}", report.failed);
        assert!(!self.outage || steady, "a gateway returned before the fault was repaired");
        assert!(report.longest < TIMEOUT + LATE, "a request waited {:?}", report.longest);
        let bounds = [
            ("before the fault", counts.before, QUOTA + strays.before),
            ("without Redis", counts.without, WITHOUT_REDIS_MAX),
            ("after the return", counts.after, QUOTA + strays.after),
            ("over all", counts.whole, OVER_EDGES_MAX),
            ("from the bucket", count(BUCKET, (times.began, times.ended)), BUCKET_MAX),
        ];
        for (when, count, most) in bounds {
            assert!(count.is_none_or(|count| count <= most), "{when}: {count:?} of {most}");
        }
    }
}
