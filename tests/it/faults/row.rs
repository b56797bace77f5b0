//! One row: healthy, a fault under load, its repair, healthy again; then what it must have been.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::judge::{Strays, Times, judge};
use super::scene::Scene;
use super::stage::{Setup, Single, Stage};
use super::watch::{State, Watch};
use crate::support::redis::wait_until;

/// How long there is load before the fault and after the return.
const HEALTHY: Duration = Duration::from_millis(1_500);
/// How long the fault lasts: more than two windows.
const HOLD: Duration = Duration::from_millis(2_500);

/// A row of the matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<S: Stage> {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) plan: S::Plan,
    pub(super) notice: Notice,
    hold: Duration,
}

/// What the gateways are to make of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// Every one says that it is there, until it is repaired.
    All,
    /// It may be over before anybody notices, or come and go.
    Any,
    /// Nobody does.
    None,
}

// === impl Row ===

impl Row<Single> {
    /// A row about one Redis, whose fault every gateway must notice.
    pub(super) const fn new(number: u32, name: &'static str) -> Self {
        Self::on(number, name, Setup { arguments: &[], proxied: false, dead: false })
    }

    pub(super) const fn with(mut self, arguments: &'static [&'static str]) -> Self {
        self.plan.arguments = arguments;
        self
    }

    pub(super) const fn proxied(mut self) -> Self {
        self.plan.proxied = true;
        self
    }

    pub(super) const fn dead_at_start(mut self) -> Self {
        self.plan.dead = true;
        self
    }
}

impl<S: Stage> Row<S> {
    /// The same about another store.
    pub(super) const fn on(number: u32, name: &'static str, plan: S::Plan) -> Self {
        Self { number, name, plan, notice: Notice::All, hold: HOLD }
    }

    /// The fault may be over before anybody notices, or come and go.
    pub(super) const fn passing(mut self) -> Self {
        self.notice = Notice::Any;
        self
    }

    /// It is none to the gateways.
    pub(super) const fn unnoticed(mut self) -> Self {
        self.notice = Notice::None;
        self
    }

    /// Its repair begins at once: others than this test do it, and take their time.
    pub(super) const fn at_once(mut self) -> Self {
        self.hold = Duration::ZERO;
        self
    }

    pub(super) fn run(self, inject: impl FnOnce(&mut S), repair: impl FnOnce(&mut S)) {
        let dead = S::is_dead(self.plan);
        let mut scene = Scene::<S>::start(self.plan);
        let started = Instant::now();
        let watch = Watch::start(&scene.gateways);
        let load = scene.load();
        let began = Instant::now();
        if !dead {
            sleep(HEALTHY);
            scene.stage.assert_reached();
        }
        let healthy_until = Instant::now();
        let before = scene.admitted_locally();
        let injected = if dead { started } else { Instant::now() };
        inject(&mut scene.stage);
        let all_noticed = || watch.all_noticed_since(injected);
        if self.notice == Notice::All {
            wait_until("all gateways to notice", || all_noticed().is_some());
        }
        sleep(self.hold.saturating_sub(injected.elapsed()));
        let repairing = Instant::now();
        repair(&mut scene.stage);
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
        let until = if self.hold.is_zero() { returned } else { repairing };
        let noticed = all_noticed().filter(|at| *at < until);
        let unbroken = |at: &Instant| !watch.is_any_but(State::Away, *at, repairing);
        let away = watch.all_away_since(injected).filter(|at| *at < repairing && unbroken(at));
        let steady = noticed.is_some_and(|at| !watch.is_any(State::Up, at, repairing));
        let touched = watch.is_any_but(State::Up, injected, ended);
        let healthy = (healthy_until, healthy_from);
        let times =
            Times { began, healthy, injected, noticed, away, repairing, repaired, returned, ended };
        judge(&self, &scene, &samples, times, strays);
        assert!(self.notice != Notice::All || steady, "a gateway returned before the repair");
        // A machine that stands still makes every server silent, and that is a fault.
        let fair = !touched || scene.all_were_silent();
        assert!(self.notice != Notice::None || fair, "a gateway noticed what is no fault");
    }
}
