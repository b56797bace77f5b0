//! The service manager that has started this process, if one has: systemd, or whatever speaks like
//! it (`sd_notify(3)`). It is told what the process is about, and at intervals that it is alive.
//!
//! Nothing here fails the gateway, and nothing waits: a manager that does not take a message misses
//! it. What is not promised: that a manager which looks has heard already.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

/// Where messages go: a path, or `@` and a name that is no file.
const SOCKET: &str = "NOTIFY_SOCKET";
/// After how many microseconds of silence the manager takes the process for hung.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whom that concerns; absent: whoever reads it.
const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// A shorter interval than this is none: the signs of life would be all that the process does.
const WATCHDOG_MIN: Duration = Duration::from_millis(20);

/// The service manager, or nobody.
#[derive(Debug, Default)]
pub(super) struct Manager {
    line: Option<Line>,
    watchdog: Option<Duration>,
    /// Another process is the service now: what becomes of this one is no news of it.
    silent: AtomicBool,
}

/// The way to the manager.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

// === impl Manager ===

impl Manager {
    /// The manager that the environment names, for the process `pid`.
    pub(super) fn from_env(variable: impl Fn(&str) -> Option<String>, pid: u32) -> Self {
        let Some(name) = variable(SOCKET).filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let line = Line::to(&name)
            .inspect_err(|error| tracing::warn!(%error, "{SOCKET} leads to no service manager"));
        let is_ours = variable(WATCHDOG_PID).is_none_or(|other| other.parse() == Ok(pid));
        let watchdog = variable(WATCHDOG).filter(|_| is_ours).and_then(|span| span.parse().ok());
        let watchdog = watchdog.map(Duration::from_micros).filter(|span| *span >= WATCHDOG_MIN);
        Self { line: line.ok(), watchdog, silent: AtomicBool::new(false) }
    }

    /// The listeners accept.
    pub(super) fn serving(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// A new configuration is being read. Whatever comes of it, [`Self::reloaded`] follows.
    pub(super) fn reloading(&self) {
        // By this the manager tells this reload from an earlier one. It wants the clock that never
        // steps, which std reads but does not show.
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"));
    }

    /// It is in force, or the one before still is.
    pub(super) fn reloaded(&self, applied: bool) {
        self.tell(if applied {
            "READY=1\nSTATUS=serving"
        } else {
            "READY=1\nSTATUS=serving; the last reload failed, see the log"
        });
    }

    /// The process is about to end, and with it the service.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=ending when the last request has");
    }

    /// The process `pid` is the service from now on. Nothing more is said from here: that this one
    /// ends would be taken for the end of the service.
    pub(super) fn handed_over(&self, pid: u32) {
        // The sign of life is the last from here: the next is to come from there.
        self.tell(&format!("MAINPID={pid}\nSTATUS=serving\nWATCHDOG=1"));
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Shows at half the interval that the runtime it runs on still runs tasks. Ends at once where
    /// nobody wants to know.
    pub(super) async fn watch(self: Arc<Self>) {
        let Some(span) = self.watchdog else { return };
        let mut beats = interval(span / 2);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.silent.load(Ordering::SeqCst) {
            beats.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, message: &str) {
        let Some(line) = self.line.as_ref().filter(|_| !self.silent.load(Ordering::SeqCst)) else {
            return;
        };
        if let Err(error) = line.socket.send_to_addr(message.as_bytes(), &line.address) {
            tracing::debug!(%error, "the service manager does not take a message");
        }
    }
}

// === impl Line ===

impl Line {
    fn to(name: &str) -> io::Result<Self> {
        let address = match name.strip_prefix('@') {
            Some(name) => nameless(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }
}

/// An address that is no file.
#[cfg(target_os = "linux")]
fn nameless(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u32 = 4711;

    /// A service manager in a file of its own; removed when dropped.
    struct Listener {
        socket: UnixDatagram,
        path: std::path::PathBuf,
    }

    impl Listener {
        fn new(name: &str) -> Self {
            let name = format!("sluicegate-manager-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let socket = UnixDatagram::bind(&path).expect("a free name");
            socket.set_nonblocking(true).expect("an open socket");
            Self { socket, path }
        }

        fn manager(&self, watchdog: &[(&str, &str)]) -> Manager {
            let path = self.path.to_str().expect("a plain path");
            manager(&[&[(SOCKET, path)], watchdog].concat())
        }

        fn heard(&self) -> Option<String> {
            heard(&self.socket)
        }
    }

    impl Drop for Listener {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn manager(variables: &[(&str, &str)]) -> Manager {
        let value = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted);
        Manager::from_env(|name| value(name).map(|(_, value)| (*value).to_owned()), PID)
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).expect("text"))
    }

    #[test]
    fn each_turn_is_told() {
        let listener = Listener::new("turns");
        let manager = listener.manager(&[]);
        manager.serving();
        assert_eq!(listener.heard().as_deref(), Some("READY=1\nSTATUS=serving"));
        manager.reloading();
        let heard = listener.heard().expect("a message");
        let micros = heard.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("that is first");
        let micros = micros.strip_suffix("\nSTATUS=reloading").expect("that is last");
        assert!(micros.parse::<u64>().expect("a number") > 0);
        manager.reloaded(true);
        assert_eq!(listener.heard().as_deref(), Some("READY=1\nSTATUS=serving"));
        manager.reloaded(false);
        let failed = "READY=1\nSTATUS=serving; the last reload failed, see the log";
        assert_eq!(listener.heard().as_deref(), Some(failed));
        manager.stopping();
        assert!(listener.heard().expect("a message").starts_with("STOPPING=1\n"));
    }

    #[test]
    fn nothing_is_said_of_a_service_that_is_anothers() {
        let listener = Listener::new("another");
        let manager = listener.manager(&[]);
        manager.handed_over(12);
        assert_eq!(listener.heard().as_deref(), Some("MAINPID=12\nSTATUS=serving\nWATCHDOG=1"));
        manager.stopping();
        manager.serving();
        assert_eq!(listener.heard(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_address_need_not_be_a_file() {
        let name = format!("sluicegate-manager-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&nameless(&name).expect("a short name"));
        let socket = socket.expect("a free name");
        socket.set_nonblocking(true).expect("an open socket");
        manager(&[(SOCKET, &format!("@{name}"))]).serving();
        assert_eq!(heard(&socket).as_deref(), Some("READY=1\nSTATUS=serving"));
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let gone = std::env::temp_dir().join("sluicegate-manager-that-is-not-there");
        let gone = gone.to_str().expect("a plain path").to_owned();
        let long = "x".repeat(200);
        for variables in [&[][..], &[(SOCKET, "")], &[(SOCKET, &gone)], &[(SOCKET, &long)]] {
            let manager = manager(variables);
            manager.serving();
            manager.handed_over(1);
            assert_eq!(manager.watchdog, None);
        }
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let listener = Listener::new("watched");
        let span = |watchdog: &[(&str, &str)]| listener.manager(watchdog).watchdog;
        let second = Some(Duration::from_secs(1));
        assert_eq!(span(&[(WATCHDOG, "1000000")]), second);
        assert_eq!(span(&[(WATCHDOG, "1000000"), (WATCHDOG_PID, "4711")]), second);
        assert_eq!(span(&[(WATCHDOG, "1000000"), (WATCHDOG_PID, "4712")]), None);
        assert_eq!(span(&[(WATCHDOG, "0")]), None);
        assert_eq!(span(&[(WATCHDOG, "soon")]), None);
    }

    /// In the runtime's own time, which nobody waits for.
    #[test]
    fn signs_of_life_come_until_the_service_is_anothers() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let listener = Listener::new("alive");
            let manager = Arc::new(listener.manager(&[(WATCHDOG, "20000")]));
            let watch = tokio::spawn(Arc::clone(&manager).watch());
            for _ in 0..3 {
                while listener.heard().as_deref() != Some("WATCHDOG=1") {
                    tokio::task::yield_now().await;
                }
            }
            manager.handed_over(12);
            watch.await.expect("it ends");
            let after = std::iter::from_fn(|| listener.heard()).last();
            assert_eq!(after.as_deref(), Some("MAINPID=12\nSTATUS=serving\nWATCHDOG=1"));
        });
    }
}
