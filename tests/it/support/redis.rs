//! A `redis-server` of one's own: started on a free port, ended with the value.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::IntoConnectionInfo;

/// How long a process may take to listen on a busy machine.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
pub(crate) struct RedisServer {
    port: u16,
    settings: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts a server without persistence and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with further settings, as the command line of `redis-server` takes them.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let port = free_port();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Self { port, child: spawn(port, &settings), settings }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own. It greets without CLIENT SETINFO, which this server does not
    /// know: what the server refuses is then the gateway's.
    pub(crate) fn connect(&self) -> redis::Connection {
        let info = self.url().into_connection_info().expect("a valid address");
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = redis::Client::open(info.set_redis_settings(settings)).expect("an address");
        client.get_connection().expect("the server listens")
    }

    /// How often it has run the script: each call reads its keys once.
    pub(crate) fn script_calls(&self) -> u64 {
        let stats: String =
            redis::cmd("INFO").arg("commandstats").query(&mut self.connect()).expect("it answers");
        let line = stats.lines().find(|line| line.starts_with("cmdstat_mget"));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server ends");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Starts it again, empty, on the same port.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.settings);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, settings: &[String]) -> Child {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "no", "--dir", "/tmp"])
        .args(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed (`make test` sees to it)");
    wait_for_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    child
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits until something accepts connections at `address`.
pub(crate) fn wait_for_listener(address: SocketAddr) {
    wait_until(&format!("a listener at {address}"), || TcpStream::connect(address).is_ok());
}

/// Waits until `condition` holds; fails after a generous time.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + START_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
