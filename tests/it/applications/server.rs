//! The applications' processes: started on free ports, ended with the value.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::redis::{free_port, wait_until};

/// Where the applications are, and what they need.
/// How long an application may take to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/applications");

static SERVERS: AtomicUsize = AtomicUsize::new(0);

/// The environment of all Python servers, beside what cargo builds.
static PYTHON: LazyLock<Result<PathBuf, String>> = LazyLock::new(make_environment);

/// A running server with a folder of its own; ended when dropped.
pub(crate) struct Server {
    command: Command,
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

/// A folder of a server's own.
pub(crate) fn folder() -> PathBuf {
    let number = SERVERS.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("sluicegate-server-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the server");
    folder
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

/// gunicorn with a worker of threads and `wsgi.py`.
pub(crate) fn gunicorn() -> Server {
    let address = free_address();
    let mut command = python("gunicorn");
    command.args(["wsgi:application", "--worker-class", "gthread", "--threads", "8"]);
    // A kept connection outlives the gateway's pool, and a header may have 8 KiB and its name.
    command.args(["--keep-alive", "10", "--limit-request-field_size", "16384"]);
    // Without the socket that it would put into the user's home.
    command.args(["--graceful-timeout", "1", "--no-control-socket"]);
    command.args(["--chdir", SOURCES, "--bind", &address.to_string()]);
    Server::start(command, address, folder())
}

/// uvicorn with `asgi.py`.
pub(crate) fn uvicorn() -> Server {
    uvicorn_with(|_| ())
}

/// The same with further arguments.
pub(crate) fn uvicorn_with(more: impl FnOnce(&mut Command)) -> Server {
    let address = free_address();
    let mut command = python("uvicorn");
    command.args(["asgi:application", "--app-dir", SOURCES, "--http", "h11", "--ws", "wsproto"]);
    command.args(["--timeout-graceful-shutdown", "1", "--timeout-keep-alive", "10"]);
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
    more(&mut command);
    Server::start(command, address, folder())
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(mut command: Command, address: SocketAddr, folder: PathBuf) -> Self {
        let log = File::create(folder.join("log")).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = spawn(&mut command);
        let mut server = Self { command, child, address, folder };
        server.wait_until_it_listens();
        server
    }

    /// Ends it and starts it again, on the same address.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.child = spawn(&mut self.command);
        self.wait_until_it_listens();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn wait_until_it_listens(&mut self) {
        let Self { child, address, .. } = self;
        wait_until(&format!("a listener at {address}"), || {
            let ended = child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "the server could not be started");
            TcpStream::connect(*address).is_ok()
        });
    }

    fn end(&mut self) {
        // All of them take this as: at once, and with your workers.
        let _ = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        // But one that serves a call without end may wait for it.
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!(
                "--- the server's log:\n{}",
                fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(command: &mut Command) -> Child {
    let (child, program) = (command.spawn(), command.get_program().display());
    assert!(child.is_ok(), "{program} is needed (`make test` installs it): {child:?}");
    child.expect("it is")
}

/// `python -m module`, in the environment.
pub(crate) fn python(module: &str) -> Command {
    let python = PYTHON.as_ref();
    assert!(python.is_ok(), "{}", python.err().map_or("", String::as_str));
    let mut command = Command::new(python.expect("it is"));
    // No cache appears between the sources.
    command.args(["-m", module]).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn make_environment() -> Result<PathBuf, String> {
    let built =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the folder that cargo builds in");
    let environment = built.join("test-venv");
    let made = Command::new("python3")
        .arg(format!("{SOURCES}/environment.py"))
        .arg(&environment)
        .arg(format!("{SOURCES}/requirements.txt"))
        .output()
        .map_err(|error| {
            format!("python3 and python3-venv are needed (`make test` installs them): {error}")
        })?;
    if made.status.success() {
        return Ok(environment.join("bin/python"));
    }
    Err(format!("no Python environment: {}", String::from_utf8_lossy(&made.stderr)))
}
