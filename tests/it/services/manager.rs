//! What systemd, or whatever speaks like it, hears of a gateway.

use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::line::kill;

/// Only a hang runs into it.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A service manager; its socket is removed when dropped.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listening(name: &str) -> Self {
        let name = format!("sluicegate-notify-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let socket = UnixDatagram::bind(&path).expect("a free name");
        socket.set_read_timeout(Some(MESSAGE_TIMEOUT)).expect("a valid timeout");
        Self { socket, path }
    }

    /// A gateway that it watches.
    fn start(&self, app: &App) -> Gateway {
        let text = format!(
            "[server]\nlisten = [\"${{LISTEN}}\"]\nwatch_config = false\n[admin]\nlisten = \"${{ADMIN}}\"\n[store]\n\
             kind = \"local\"\n{}",
            app_at(app.address())
        );
        let path = self.path.to_str().expect("a plain path");
        Gateway::start_whole(&text, &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "100000")])
    }

    /// The next message that is no sign of life.
    fn hears(&self) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message != "WATCHDOG=1").expect("one")
    }

    fn next(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.socket.recv(&mut bytes).expect("a message comes");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn a_service_manager_hears_of_each_turn() {
    let app = App::start();
    let manager = Manager::listening("turns");
    let mut gateway = manager.start(&app);
    assert_eq!(manager.next(), "READY=1\nSTATUS=serving", "before any sign of life");
    assert!(TcpStream::connect(gateway.public()).is_ok());
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1", "and it goes on");
    }

    gateway.signal("HUP");
    assert!(manager.hears().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving");

    gateway.edit("kind = \"local\"", "kind = \"nowhere\"");
    gateway.signal("HUP");
    assert!(manager.hears().starts_with("RELOADING=1\n"));
    let failed = manager.hears();
    assert_eq!(failed, "READY=1\nSTATUS=serving; the last reload failed, see the log");
    assert_eq!(gateway.get("/").status(), 200);

    gateway.signal("TERM");
    assert!(manager.hears().starts_with("STOPPING=1\n"));
    assert_eq!(gateway.wait(), Some(0));
}

/// Nobody may read what is said: the socket is full after ten messages or some hundred, and a
/// gateway that waited would hang.
#[test]
fn a_manager_that_does_not_listen_holds_nothing_up() {
    let app = App::start();
    let manager = Manager::listening("deaf");
    let mut gateway = manager.start(&app);
    let result = |result: &str| {
        gateway.metric("sluicegate_config_reloads_total", &[&format!("result=\"{result}\"")])
    };
    // Half of the interval is a message too, so it fills up by itself as well.
    for round in 1..=20 {
        gateway.signal("HUP");
        crate::support::redis::wait_until("a reload", || result("applied") >= f64::from(round));
    }
    assert_eq!(gateway.get("/").status(), 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_service_manager_hears_which_process_is_the_service_now() {
    let app = App::start();
    let manager = Manager::listening("upgrade");
    let folder = std::env::temp_dir().join(format!("sluicegate-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let socket = folder.join("run/upgrade.sock");
    let text = format!(
        "[server]\nlisten = [\"${{LISTEN}}\"]\nwatch_config = false\nupgrade_socket = \"{}\"\n\
         [admin]\nlisten = \"${{ADMIN}}\"\n[store]\nkind = \"local\"\n{}",
        socket.display(),
        app_at(app.address())
    );
    let path = manager.path.to_str().expect("a plain path");
    let variables = [("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "100000")];
    let mut gateway = Gateway::start_whole(&text, &variables);
    assert_eq!(manager.hears(), "READY=1\nSTATUS=serving");
    gateway.signal("USR2");
    // The new one says that it serves, and the old one who that is: in whatever order they come.
    let said = [manager.hears(), manager.hears()];
    let main = said.iter().find_map(|message| message.strip_prefix("MAINPID="));
    let main = main.unwrap_or_else(|| panic!("{said:?}"));
    assert!(said.iter().any(|message| message == "READY=1\nSTATUS=serving"), "{said:?}");
    let (pid, rest) = main.split_once('\n').expect("more than that");
    assert_eq!(rest, "STATUS=serving\nWATCHDOG=1", "with a last sign of life");
    assert_eq!(gateway.wait(), Some(0));
    assert_eq!(manager.next(), "WATCHDOG=1", "the new one goes on with them");
    kill("TERM", pid.parse().expect("a number"));
    assert!(manager.hears().starts_with("STOPPING=1\n"));
    std::fs::remove_dir_all(&folder).expect("it is there");
}
