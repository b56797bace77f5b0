//! Steady traffic of real clients through a gateway, judged strictly, while a test reloads, upgrades
//! or stops it.
//!
//! No client repeats anything: a request that got no whole, right answer is a failure. What clients
//! of each kind take for right is said where they are. The application behind the gateway is
//! [`Application`]; the gateway needs `h2c = true` for [`Kind::Http2`].
//!
//! The clients pause now and then, so that connections are idle at times, and the application takes
//! its time: so something is under way at every moment. No judgement depends on how long.

pub(crate) mod app;
mod http1;
mod http2;
mod order;
pub(crate) mod report;
mod sockets;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

pub(crate) use app::Application;
use report::{Notes, Report, Reporter};

use super::redis::wait_until;

/// Clients stop by themselves after this, whatever the test forgets.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// A client that hears nothing for so long gives up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between a failure and the next try, so that nobody is flooded.
const AFTER_A_FAILURE: Duration = Duration::from_millis(20);
/// Ordinary pauses are short, one in so many is long.
const PAUSE_MAX_MS: u64 = 15;
const LONG_PAUSE_EVERY: u32 = 30;
const LONG_PAUSE_MAX_MS: u64 = 400;
/// Every kind gets on by so many steps before [`Traffic::wait_for_progress`] returns.
const PROGRESS: u64 = 10;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Small requests of HTTP/1.1 on connections that stay.
    KeepAlive,
    /// Many streams of HTTP/2 at once, some of them long.
    Http2,
    /// A WebSocket that echoes messages the whole time.
    WebSocket,
    /// Downloads of two seconds.
    Download,
    /// Uploads of nearly a second.
    Upload,
}

/// Clients at work; they stop when dropped.
pub(crate) struct Traffic {
    notes: Arc<Notes>,
    clients: Vec<JoinHandle<()>>,
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::KeepAlive, Self::Http2, Self::WebSocket, Self::Download, Self::Upload];

    /// How many clients there are unless the test says so.
    const fn clients(self) -> usize {
        match self {
            Self::KeepAlive => 8,
            Self::Http2 | Self::Upload => 2,
            Self::WebSocket | Self::Download => 4,
        }
    }

    const fn client(self) -> fn(SocketAddr, &Reporter) {
        match self {
            Self::KeepAlive => http1::ask_and_ask,
            Self::Http2 => http2::multiplex,
            Self::WebSocket => sockets::talk,
            Self::Download => http1::download,
            Self::Upload => http1::upload,
        }
    }
}

// === impl Traffic ===

impl Traffic {
    /// Starts the clients of these kinds. `gateway` is its public address.
    pub(crate) fn start(gateway: SocketAddr, kinds: &[Kind]) -> Self {
        let numbers: Vec<_> = kinds.iter().map(|kind| (*kind, kind.clients())).collect();
        Self::of(gateway, &numbers)
    }

    /// The same with so many clients of each kind.
    pub(crate) fn of(gateway: SocketAddr, numbers: &[(Kind, usize)]) -> Self {
        let notes = Arc::new(Notes::new(numbers.iter().map(|(kind, _)| *kind)));
        let all = numbers.iter().flat_map(|(kind, number)| (0..*number).map(|at| (*kind, at)));
        let clients = all.map(|(kind, client)| {
            let reporter = Reporter { notes: Arc::clone(&notes), kind, client };
            spawn(move || kind.client()(gateway, &reporter))
        });
        let clients = clients.collect();
        Self { notes, clients }
    }

    /// What has come of it until now.
    pub(crate) fn report(&self) -> Report {
        self.notes.report()
    }

    /// Waits until every kind has got on since now: so what the test has done before has met all.
    pub(crate) fn wait_for_progress(&self) {
        let before: Vec<_> = self.notes.steps().collect();
        wait_until("all kinds of traffic to get on", || {
            self.notes.steps().zip(&before).all(|((_, now), (_, then))| now >= then + PROGRESS)
        });
    }

    /// Lets what is under way come to its end, begins nothing more, and says what came of it all.
    pub(crate) fn stop(mut self) -> Report {
        self.notes.stop();
        for client in std::mem::take(&mut self.clients) {
            client.join().expect("no client panics");
        }
        self.notes.report()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.notes.stop();
    }
}

/// Between two requests of a client.
fn pause() {
    let most =
        if fastrand::u32(..LONG_PAUSE_EVERY) == 0 { LONG_PAUSE_MAX_MS } else { PAUSE_MAX_MS };
    sleep(Duration::from_millis(fastrand::u64(..most)));
}
