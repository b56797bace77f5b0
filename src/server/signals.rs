//! The signals of the process, and the life that they steer.
//!
//! SIGTERM and SIGINT stop, a second one ends it at once; SIGHUP reloads, and so does a changed file
//! of keys or of a certificate; SIGUSR2 upgrades.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::RunError;
use super::departure::Departure;
use super::handover::offer::Offer;
use super::handover::predecessor::Predecessor;
use super::manager::Manager;
use super::successor::{Failure, Program, Successor};
use crate::reload::{By, Reloader};

/// How often the gateway looks whether the configuration, a file with keys or a certificate has
/// changed.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_millis(500);

/// The life of the process, from its first connection on.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) reloader: Arc<Reloader>,
    pub(super) manager: Arc<Manager>,
    pub(super) departure: Departure,
    /// Whose sockets these are, if it was not always this process.
    pub(super) predecessor: Mutex<Option<Predecessor>>,
    /// What to start when a new binary is to take over; `None`: there is no way to.
    pub(super) program: Option<Program>,
}

/// How the life that all others share came to its end.
enum Turn {
    Stopped,
    HandedOver(Option<i32>),
}

/// The signals that the process listens to, from its first moment on: what nobody listens to ends it.
struct Signals {
    stops: Stops,
    hangup: Option<Signal>,
    upgrade: Option<Signal>,
}

/// The signals that stop the process.
pub(super) struct Stops {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

// === impl Life ===

#[async_trait]
impl ShutdownSignalWatch for Life {
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = Signals::listen();
        match self.live(&mut signals).await {
            // Nothing is under way by now, or is to be waited for. Pingora would wait for what still runs
            // in its own threads: a file or a name server that hangs.
            Ok(()) => exit(0),
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                exit(1)
            }
        }
    }
}

impl Life {
    async fn live(&self, signals: &mut Signals) -> Result<(), RunError> {
        tokio::select! {
            begun = self.begin() => begun?,
            () = signals.stops.next() => return Ok(()),
        }
        self.take_over().await?;
        let offer = self.offer();
        let turn = self.serve(signals, offer.as_ref()).await;
        let stops = &mut signals.stops;
        match turn {
            Turn::Stopped => {
                self.manager.stopping();
                self.departure.stop(offer, stops).await
            }
            Turn::HandedOver(pid) => {
                if let Some(pid) = pid.and_then(|pid| pid.try_into().ok()) {
                    self.manager.handed_over(pid);
                }
                self.departure.leave(pid, offer, stops).await
            }
        }
    }

    /// Returns when everything is prepared.
    async fn begin(&self) -> Result<(), RunError> {
        self.departure.stages.prepared().await;
        Ok(())
    }

    /// Opens the listeners, in the place of the process before where there was one. From here on a
    /// stop is one with requests.
    async fn take_over(&self) -> Result<(), RunError> {
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(predecessor) = predecessor else {
            self.open();
            return Ok(());
        };
        let leaver = predecessor.ready().await.map_err(RunError::Upgrade)?;
        self.open();
        let Some(leaver) = leaver else {
            tracing::warn!("the process before has ended: this one serves in its place");
            return Ok(());
        };
        match leaver.serving().await {
            Ok(()) => tracing::info!("the process before leaves: this one serves in its place"),
            // It has agreed before. Two that serve are better than none.
            Err(why) => tracing::warn!(why, "the process before has not said that it leaves"),
        }
        Ok(())
    }

    fn open(&self) {
        // Before the first sign of life, which follows the opening.
        self.manager.serving();
        self.departure.stages.open();
    }

    /// Everything between the first connection and the decision to take no more.
    async fn serve(&self, signals: &mut Signals, offer: Option<&Offer>) -> Turn {
        let Signals { stops, hangup, upgrade } = signals;
        let taken = taken(offer);
        // Beside all the rest: however long a file takes, a signal is heard.
        let configured = self.keep_configured(hangup);
        tokio::pin!(taken, configured);
        let mut successor = Successor::none();
        loop {
            tokio::select! {
                () = stops.next() => break Turn::Stopped,
                pid = &mut taken => break Turn::HandedOver(pid),
                never = &mut configured => match never {},
                () = next(upgrade) => {
                    if let Some(failure) = successor.ended_by_now().await {
                        self.bury(&mut successor, failure, offer);
                    }
                    if let Err(why) = successor.start(self.program.as_ref()).await {
                        self.departure.upgrade_failed(&why);
                    }
                }
                failure = successor.failed() => self.bury(&mut successor, failure, offer),
            }
        }
    }

    /// Complains of a new process that has failed, unless the other end of its conversation does.
    fn bury(&self, successor: &mut Successor, failure: Failure, offer: Option<&Offer>) {
        let is_heard = |pid| offer.is_some_and(|offer| offer.has_heard(Some(pid)));
        match failure {
            Failure::Ended(pid) if !is_heard(pid) => {
                self.departure.upgrade_failed("the new process has ended; its own line says why");
            }
            // It may serve already. If it does not it ends by itself, when nobody listens to it.
            Failure::Late(pid) if is_heard(pid) => successor.be_patient(),
            Failure::Late(_) => {
                successor.kill();
                let why = "the new process did not ask for the sockets in time";
                self.departure.upgrade_failed(why);
            }
            Failure::Ended(_) => {}
        }
    }

    /// Reloads when it is told to, and when a file has changed.
    async fn keep_configured(&self, hangup: &mut Option<Signal>) -> Infallible {
        let mut looks = interval(LOOK_AT_FILES_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = next(hangup) => {
                    self.manager.reloading();
                    let outcome = self.reloader.reload(By::Signal).await;
                    self.manager.reloaded(outcome.is_applied());
                }
                asked = self.reloader.asked() => self.reloader.answer(asked).await,
                _ = looks.tick() => self.reloader.look().await,
            }
        }
    }

    fn offer(&self) -> Option<Offer> {
        let path = self.departure.upgrade_socket.as_ref()?;
        let sockets = Arc::clone(&self.departure.sockets);
        let offer = Offer::new(path, sockets, Arc::clone(self.departure.metrics()));
        offer.inspect_err(|why| tracing::error!(why, "there will be no upgrade")).ok()
    }
}

/// The process that has taken over; never, if there is no way to.
async fn taken(offer: Option<&Offer>) -> Option<i32> {
    match offer {
        Some(offer) => offer.taken().await,
        None => std::future::pending().await,
    }
}

// === impl Signals ===

impl Signals {
    fn listen() -> Self {
        Self {
            stops: Stops::listen(),
            hangup: listen(SignalKind::hangup()),
            upgrade: listen(SignalKind::user_defined2()),
        }
    }
}

// === impl Stops ===

impl Stops {
    fn listen() -> Self {
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Self { terminate: listen(terminate), interrupt: listen(interrupt) }
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(%error, "cannot listen to a signal")).ok()
}

/// The next signal; never, if it cannot be listened to.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
