//! A Redis server of one's own, or whatever speaks like one: started on a free port, ended with the
//! value.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, IntoConnectionInfo, RedisResult};

/// How long a process may take to listen on a busy machine.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Names the program that all tests start as their server, in place of `redis-server`.
const PROGRAM: &str = "SLUICEGATE_TEST_REDIS";

/// Below the ports that Linux gives out by itself, from 32768 on.
const PORT_RANGE: std::ops::Range<u16> = 20_000..32_000;

static SERVERS: AtomicUsize = AtomicUsize::new(0);
static PORTS: AtomicUsize = AtomicUsize::new(0);

/// A running server; killed when dropped.
pub(crate) struct RedisServer {
    port: u16,
    /// Of the test's own connections, as in a URL: `user:password@`, or nothing.
    login: String,
    arguments: Vec<String>,
    folder: PathBuf,
    child: Child,
    /// The test's own connection, kept open so that it is there when no other gets in.
    admin: Mutex<Option<redis::Connection>>,
}

impl RedisServer {
    /// Starts a server without persistence and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments, which come last and so win: `["--appendonly", "yes"]`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_as("", arguments)
    }

    /// The same where the test itself has to log in, with what stands so in a URL: `:password@`.
    pub(crate) fn start_as(login: &str, arguments: &[&str]) -> Self {
        Self::start_at(free_port(), login, arguments)
    }

    /// The same on a port that the test knows before.
    pub(crate) fn start_at(port: u16, login: &str, arguments: &[&str]) -> Self {
        let text = port.to_string();
        let own = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let all = own.iter().chain(arguments).map(|&text| text.to_owned());
        Self::launch(port, login, new_folder(), all.collect())
    }

    /// Starts a Sentinel with these lines of its configuration, in a file that it rewrites.
    pub(crate) fn start_sentinel(port: u16, login: &str, lines: &str) -> Self {
        let folder = new_folder();
        let file = folder.join("sentinel.conf");
        fs::write(&file, format!("port {port}\nbind 127.0.0.1\n{lines}")).expect("its file");
        let file = file.to_str().expect("a plain path").to_owned();
        Self::launch(port, login, folder, vec![file, "--sentinel".to_owned()])
    }

    fn launch(port: u16, login: &str, folder: PathBuf, arguments: Vec<String>) -> Self {
        let child = spawn(port, &folder, &arguments);
        Self { port, login: login.to_owned(), arguments, folder, child, admin: Mutex::new(None) }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// A connection of the test's own. It greets without CLIENT SETINFO, which this server does not
    /// know: what the server refuses is then the gateway's.
    pub(crate) fn connect(&self) -> redis::Connection {
        self.try_connect().expect("the server listens")
    }

    /// The same, where nobody may be there.
    pub(crate) fn try_connect(&self) -> RedisResult<redis::Connection> {
        let url = self.url().replace("redis://", &format!("redis://{}", self.login));
        let info = url.into_connection_info().expect("a valid address");
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = redis::Client::open(info.set_redis_settings(settings)).expect("an address");
        client.get_connection()
    }

    /// Opens the connection of [`Self::command`] now, while the server still lets it in.
    pub(crate) fn reserve_admin(&self) {
        self.command::<String>(&["PING"]);
    }

    /// Sends a command, as in `["CONFIG", "SET", "maxmemory", "1"]`, on a connection that is kept.
    pub(crate) fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, where an error reply is an answer too.
    pub(crate) fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = admin.get_or_insert_with(|| self.connect());
        redis::cmd(words[0]).arg(&words[1..]).query(connection)
    }

    /// What a section of its INFO says of that name.
    pub(crate) fn info(&self, section: &str, name: &str) -> Option<String> {
        let text: String = self.command(&["INFO", section]);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
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
        self.admin = Mutex::new(None);
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Starts it again on the same port, with the same arguments and whatever data it has left on
    /// disk: nothing, unless an argument or a SAVE saw to it.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.arguments);
    }

    /// Starts it again without its data.
    pub(crate) fn restart_empty(&mut self) {
        fs::remove_dir_all(&self.folder).expect("its folder");
        fs::create_dir_all(&self.folder).expect("its folder");
        self.restart();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The server program of all tests.
fn program() -> OsString {
    std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into())
}

fn new_folder() -> PathBuf {
    let number = SERVERS.fetch_add(1, Ordering::Relaxed);
    let name = format!("sluicegate-redis-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).expect("a folder for the server");
    folder
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let program = program();
    let mut command = Command::new(&program);
    // In its folder: so it needs no `--dir`, which a Sentinel would not take.
    command.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| {
        panic!("{}: {error} (`make test` installs redis-server)", program.display())
    });
    wait_for_listener(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    child
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Ports that nobody listens on, each another. They lie below those that the system gives out by
/// itself, to listeners on port 0 and to connections: so nobody takes one before its server is up.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    [(); N].map(|()| {
        std::iter::repeat_with(next_port).find(is_free).expect("it looks until there is one")
    })
}

/// Another port each time, and of another test run another one first.
fn next_port() -> u16 {
    let number = PORTS.fetch_add(1, Ordering::Relaxed) + std::process::id() as usize * 61;
    let count = usize::from(PORT_RANGE.end - PORT_RANGE.start);
    PORT_RANGE.start + u16::try_from(number % count).expect("it is less than their count")
}

/// Waits until something accepts connections at `address`.
pub(crate) fn wait_for_listener(address: SocketAddr) {
    wait_until(&format!("a listener at {address}"), || TcpStream::connect(address).is_ok());
}

/// Waits until `condition` holds; fails after a generous time.
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_within(START_TIMEOUT, what, condition);
}

/// The same for what may take longer than a process' start.
pub(crate) fn wait_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
