//! The built binary with a configuration of the test's own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use serde_json::Value;

use super::redis::{RedisServer, free_ports, wait_until};

/// The binary that this test run has built.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sluicegate");
/// No request of a test takes longer, unless something hangs.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

static GATEWAYS: AtomicUsize = AtomicUsize::new(0);

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    /// The child has started the gateway and waits for it.
    wrapped: bool,
    folder: PathBuf,
    public: SocketAddr,
    admin: SocketAddr,
    client: Client,
}

impl Gateway {
    /// Starts a gateway with its own listeners and `config` (everything but `[server]` and
    /// `[admin]`), and waits until it is ready. Further keys of `[server]` may come first.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_program(Path::new(BINARY), config)
    }

    /// The same, of the binary that has this name.
    pub(crate) fn start_program(program: &Path, config: &str) -> Self {
        let [public, admin] = free_listeners();
        let text =
            format!("[server]\nlisten = [\"{public}\"]\n{config}\n[admin]\nlisten = \"{admin}\"\n");
        Self::spawn(program, &text, &[], [public, admin]).ready()
    }

    /// Starts a gateway with the whole of `text`, which takes its listeners from the variables
    /// `LISTEN` and `ADMIN`, and others from `variables`.
    pub(crate) fn start_whole(text: &str, variables: &[(&str, &str)]) -> Self {
        let listeners = free_listeners();
        let [listen, admin] = listeners.map(|address| address.to_string());
        let own = [("LISTEN", listen.as_str()), ("ADMIN", admin.as_str())];
        let variables = [&own, variables].concat();
        Self::spawn(Path::new(BINARY), text, &variables, listeners).ready()
    }

    /// Starts a gateway as [`Self::start`] does, through a program that ends with it.
    pub(crate) fn start_through(wrapper: &[&str], config: &str) -> Self {
        let [public, admin] = free_listeners();
        let text =
            format!("[server]\nlisten = [\"{public}\"]\n{config}\n[admin]\nlisten = \"{admin}\"\n");
        Self::spawn_through(wrapper, Path::new(BINARY), &text, &[], [public, admin]).ready()
    }

    /// Ends it at once, like `kill -9`, and starts another one in its place.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.child = launch(&[OsStr::new(BINARY)], &self.folder, &[]);
        self.wait_until_ready();
    }

    fn ready(mut self) -> Self {
        self.wait_until_ready();
        self
    }

    fn wait_until_ready(&mut self) {
        let readyz = self.admin_url("/readyz");
        let client = self.client.clone();
        wait_until("the gateway to listen", || {
            assert!(
                self.child.try_wait().expect("it can be waited for").is_none(),
                "the gateway ended:\n{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
            client.get(&readyz).send().is_ok()
        });
        super::redis::wait_for_listener(self.public);
    }

    /// Starts a gateway and waits until Redis decides.
    pub(crate) fn with_redis(redis: &RedisServer, store: &str, config: &str) -> Self {
        let store = format!("[store]\nurl = \"{}\"\n{store}\n{config}", redis.url());
        let gateway = Self::start(&store);
        gateway.wait_for_store("up");
        gateway
    }

    fn spawn(
        program: &Path,
        text: &str,
        variables: &[(&str, &str)],
        listeners: [SocketAddr; 2],
    ) -> Self {
        Self::spawn_through(&[], program, text, variables, listeners)
    }

    fn spawn_through(
        wrapper: &[&str],
        program: &Path,
        text: &str,
        variables: &[(&str, &str)],
        [public, admin]: [SocketAddr; 2],
    ) -> Self {
        let number = GATEWAYS.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("sluicegate-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        fs::write(folder.join("gateway.toml"), text).expect("the configuration is written");
        let words = wrapper.iter().map(OsStr::new).chain([program.as_os_str()]);
        let child = launch(&words.collect::<Vec<_>>(), &folder, variables);
        let client =
            Client::builder().timeout(CLIENT_TIMEOUT).no_proxy().build().expect("a client");
        Self { child, wrapped: !wrapper.is_empty(), folder, public, admin, client }
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        let child = self.child.id();
        if !self.wrapped {
            return child;
        }
        let children = fs::read_to_string(format!("/proc/{child}/task/{child}/children"));
        children.expect("it runs").trim().parse().expect("one child")
    }

    /// Where the operator's listener listens.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it holds of the machine's memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kibibytes.expect("a size") * 1024
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().expect("the gateway answers")
    }

    /// Waits until the readiness report gives the shared store's state as `state`.
    pub(crate) fn wait_for_store(&self, state: &str) {
        wait_until(&format!("the store to be {state}"), || {
            self.readiness()["store"]["state"] == state
        });
    }

    pub(crate) fn readiness(&self) -> Value {
        let response = self.client.get(self.admin_url("/readyz")).send().expect("admin answers");
        serde_json::from_str(&response.text().expect("a body")).expect("JSON")
    }

    pub(crate) fn metrics(&self) -> String {
        let response = self.client.get(self.admin_url("/metrics")).send().expect("admin answers");
        response.text().expect("a body")
    }

    /// The sum of all series of that name whose labels hold all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics();
        let series = text.lines().filter(|line| {
            let end = line.find(['{', ' ']).unwrap_or(0);
            &line[..end] == name && labels.iter().all(|label| line.contains(label))
        });
        series
            .map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number"))
            .sum()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("the log")
    }

    /// Replaces text in the configuration file.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.folder.join("gateway.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        assert!(text.contains(from), "`{from}` is not in the configuration");
        fs::write(path, text.replace(from, to)).expect("the configuration is written");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let child = &mut self.child;
        wait_until("the gateway to end", || {
            child.try_wait().expect("it can be waited for").is_some()
        });
        self.child.wait().expect("it has ended").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- the gateway's log:\n{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a gateway by this program and what stands behind it, in that folder; its log goes on where
/// the last one's ended.
fn launch(program: &[&OsStr], folder: &Path, variables: &[(&str, &str)]) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log"));
    let log = log.expect("a log file");
    Command::new(program[0])
        .args(&program[1..])
        .args(["run", "--config"])
        .arg(folder.join("gateway.toml"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the binary starts")
}

fn free_listeners() -> [SocketAddr; 2] {
    free_ports().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// An upstream `app` at `address` that takes every request.
pub(crate) fn app_at(address: SocketAddr) -> String {
    format!(
        "[upstreams.app]\nservers = [\"{address}\"]\n[[routes]]\npath = \"/**\"\nupstream = \"app\"\n"
    )
}
