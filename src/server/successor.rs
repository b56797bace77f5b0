//! The new process that SIGUSR2 starts: the binary that by now has the name of this one.
//!
//! It is no child of this process: a shell starts it and ends, so that it becomes one of the service
//! manager's, as this one is. Of a main process that is another's child systemd learns too little: it
//! would kill it at a stop without waiting.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::handover::PREPARE_TIMEOUT;

/// Starts a program behind it, and says which process that is. What the program prints goes where its
/// log goes.
const APART: &str = "\"$@\" 1>&2 & echo $!";
const SHELL: &str = "/bin/sh";
/// Longest that the shell may take.
const SHELL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one that has failed may take to be gone.
const A_MOMENT: Duration = Duration::from_millis(300);
/// The first process of a container, whose end is the container's.
pub(super) const FIRST: u32 = 1;
/// What to do there in place of an upgrade.
pub(super) const REPLACE_WHOLE: &str =
    "this process is the first of its container, which ends with it: replace the container";
/// That of the service manager which watches this process: the new one is another.
const WATCHED: &str = "WATCHDOG_PID";

/// What is started.
#[derive(Debug)]
pub(super) struct Program {
    /// As this process was called: a link that leads to a new version by now is followed anew.
    name: OsString,
    config: PathBuf,
    /// Where this process hands its sockets over: the new configuration may name another place.
    socket: PathBuf,
}

/// A process that was started to take over, until it does or fails.
#[derive(Debug)]
pub(super) struct Successor(Option<Started>);

#[derive(Debug)]
struct Started {
    pid: Pid,
    /// Readable when it has ended.
    process: OwnedFd,
    /// When it should have spoken.
    deadline: Option<Instant>,
}

/// What has become of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    /// This process has ended.
    Ended(i32),
    /// This one takes too long.
    Late(i32),
}

// === impl Program ===

impl Program {
    /// The program of this process, with that configuration.
    pub(super) fn of_this_process(config: &Path, socket: &Path) -> Option<Self> {
        let name = std::env::args_os().next()?;
        Some(Self { name, config: config.to_owned(), socket: socket.to_owned() })
    }
}

// === impl Successor ===

impl Successor {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Starts one, if there is something to start and none is under way; or says why it cannot.
    pub(super) async fn start(&mut self, program: Option<&Program>) -> Result<(), String> {
        let refused = match program {
            None => "`server.upgrade_socket` is not set",
            Some(_) if std::process::id() == FIRST => REPLACE_WHOLE,
            Some(_) if self.0.is_some() => "one is under way",
            Some(program) => return self.spawn(program).await,
        };
        tracing::warn!("no upgrade: {refused}");
        Ok(())
    }

    async fn spawn(&mut self, program: &Program) -> Result<(), String> {
        let mut upgrade = OsString::from("--upgrade=");
        upgrade.push(&program.socket);
        let mut shell = Command::new(SHELL);
        shell.args(["-c", APART, SHELL]).arg(&program.name).arg("run").arg(upgrade);
        shell.arg("--config").arg(&program.config).env_remove(WATCHED);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let failed = |why: String| format!("cannot start {}: {why}", program.name.display());
        let shell = shell.spawn().map_err(|error| failed(error.to_string()))?;
        let said = timeout(SHELL_TIMEOUT, shell.wait_with_output()).await;
        let said = said.map_err(|_| failed("the shell hangs".to_owned()))?;
        let said = said.map_err(|error| failed(error.to_string()))?.stdout;
        let pid = String::from_utf8_lossy(&said).trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed("the shell does not say which process it is".into()))?;
        let process = pidfd_open(pid, PidfdFlags::NONBLOCK)
            .map_err(|_| failed("it has ended at once; its own line says why".into()))?;
        tracing::info!(pid = pid.as_raw_nonzero(), program = ?program.name, "upgrading");
        // It asks for the sockets first of all, so its time runs from about now.
        let deadline = Some(Instant::now() + PREPARE_TIMEOUT);
        self.0 = Some(Started { pid, process, deadline });
        Ok(())
    }

    /// Returns when something has become of it; never, while there is none.
    pub(super) async fn failed(&mut self) -> Failure {
        let Some(Started { pid, process, deadline }) = &self.0 else {
            return std::future::pending().await;
        };
        let pid = pid.as_raw_nonzero().get();
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(*deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ended(process) => {}
            () = late => return Failure::Late(pid),
        }
        self.0 = None;
        Failure::Ended(pid)
    }

    /// The end of one that is about to end anyway: whoever wants another need not wait for it.
    pub(super) async fn ended_by_now(&mut self) -> Option<Failure> {
        let Started { pid, process, .. } = self.0.as_ref()?;
        timeout(A_MOMENT, ended(process)).await.ok()?;
        let failure = Failure::Ended(pid.as_raw_nonzero().get());
        self.0 = None;
        Some(failure)
    }

    /// Waits on, for as long as it takes.
    pub(super) const fn be_patient(&mut self) {
        if let Some(started) = &mut self.0 {
            started.deadline = None;
        }
    }

    /// Ends it.
    pub(super) fn kill(&mut self) {
        if let Some(started) = self.0.take() {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&started.process, Signal::KILL);
        }
    }
}

/// Returns when the process has ended. It is no child, so no signal says so.
async fn ended(process: &OwnedFd) {
    loop {
        let mut asked = [PollFd::new(process, PollFlags::IN)];
        if !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0)) {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
