//! A gateway and those that take its place, one after the other.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gateway::{BINARY, Gateway};
use super::redis::wait_until;

static LINES: AtomicUsize = AtomicUsize::new(0);

/// The first of a line is its [`Gateway`]; the last one serves. All are killed when dropped.
pub(crate) struct Line {
    first: Gateway,
    folder: PathBuf,
    /// The successors so far, those that have failed included.
    pids: Vec<u32>,
    /// The one that serves.
    serving: u32,
}

impl Line {
    /// A gateway that can be upgraded, with `config` as [`Gateway::start`] has it.
    pub(crate) fn start(config: &str) -> Self {
        let number = LINES.fetch_add(1, Ordering::Relaxed);
        let name = format!("sluicegate-line-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for the line");
        let program = folder.join("sluicegate");
        symlink(BINARY, &program).expect("a link to the binary");
        let socket = folder.join("run/upgrade.sock");
        let config = format!("upgrade_socket = \"{}\"\n{config}", socket.display());
        let first = Gateway::start_program(&program, &config);
        let serving = first.process();
        Self { first, folder, pids: Vec::new(), serving }
    }

    /// The binary that an upgrade starts, from now on; a link can lead anywhere.
    pub(crate) fn replace_binary(&self, by: &Path) {
        let new = self.folder.join("new");
        symlink(by, &new).expect("a link");
        fs::rename(new, self.folder.join("sluicegate")).expect("it takes the name");
    }

    /// A file of the line's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where a new process asks for the sockets.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("run/upgrade.sock")
    }

    /// The process that serves.
    pub(crate) fn serving(&self) -> u32 {
        self.serving
    }

    /// Sends a signal to the process that serves.
    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.serving);
    }

    /// Tells the process that serves to upgrade, and gives the id of the new one, whatever becomes of
    /// it.
    pub(crate) fn begin(&mut self) -> u32 {
        let before = self.begun().len();
        self.signal("USR2");
        wait_until("a new process", || self.begun().len() > before);
        let pid = self.begun()[before];
        self.pids.push(pid);
        pid
    }

    /// Upgrades, and waits until the new process serves.
    pub(crate) fn upgrade(&mut self) {
        let before = self.said("this one serves in its place");
        let pid = self.begin();
        wait_until("the new process to serve", || {
            self.said("this one serves in its place") > before
        });
        self.serving = pid;
    }

    /// How often a line of the log has those words.
    pub(crate) fn said(&self, words: &str) -> usize {
        self.first.log().matches(words).count()
    }

    fn begun(&self) -> Vec<u32> {
        let log = self.first.log();
        let pids = log.split("upgrading pid=").skip(1);
        pids.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .collect()
    }
}

impl Deref for Line {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.first
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for pid in &self.pids {
            let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).output();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Sends a signal by name.
pub(crate) fn kill(signal: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// Whether that process runs; one that nobody has waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}
