//! The old process: it offers its sockets, and says when somebody else serves on them.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::{
    ANSWER_TIMEOUT, GO, LEAVING, PREPARE_TIMEOUT, READY, SERVING, SOCKETS, TAKE_OVER, folder, lines,
};
use crate::metrics::{Metrics, Upgrade};
use crate::server::sockets::{SOCKETS_MAX, Sockets};
use crate::server::successor::{FIRST, REPLACE_WHOLE};

/// A device and the number of a file on it.
type File = (u64, u64);

/// No process has this id.
const NOBODY: i32 = 0;
/// Pause after an error of the socket itself.
const ERROR_PAUSE: Duration = Duration::from_secs(1);

/// What is offered, and where.
#[derive(Debug)]
pub(in crate::server) struct Offer {
    listener: UnixListener,
    sockets: Arc<Sockets>,
    metrics: Arc<Metrics>,
    /// The process that has spoken here last, or [`NOBODY`].
    heard: AtomicI32,
    path: PathBuf,
    /// The file of the socket, as the system tells it from others.
    file: File,
}

// === impl Offer ===

impl Offer {
    /// Listens on `path`, in place of whoever did before. Runs within a tokio runtime.
    pub(in crate::server) fn new(
        path: &Path,
        sockets: Arc<Sockets>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        folder::keep_private(path)?;
        let failed = |error: io::Error| format!("cannot listen on {}: {error}", path.display());
        // Under another name first: the one that counts always leads to somebody who answers.
        let new = aside(path);
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(failed)?;
        let file = file_at(&new).ok_or_else(|| format!("{} has gone", new.display()))?;
        fs::rename(&new, path).map_err(failed)?;
        Ok(Self {
            listener,
            sockets,
            metrics,
            heard: AtomicI32::new(NOBODY),
            path: path.to_owned(),
            file,
        })
    }

    /// Returns the id of the process that has taken the sockets over and serves. Whoever fails
    /// before is complained of, and changes nothing.
    pub(in crate::server) async fn taken(&self) -> Option<i32> {
        loop {
            let mut stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "cannot hear of upgrades");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            match self.hand_over(&mut stream, pid).await {
                // Somebody has looked whether anybody is here.
                Ok(false) => {}
                Ok(true) => {
                    self.metrics.upgraded(Upgrade::HandedOver);
                    return pid;
                }
                Err(why) => {
                    self.metrics.upgraded(Upgrade::Failed);
                    tracing::error!(pid, why, "the new process does not serve: this one goes on");
                }
            }
        }
    }

    /// Whether that process has spoken here: then what becomes of it is said here.
    pub(in crate::server) fn has_heard(&self, pid: Option<i32>) -> bool {
        pid == Some(self.heard.load(Ordering::Relaxed))
    }

    /// Takes the socket away, unless its place is another process' by now. The listener lives until
    /// then: as long as it does, no other file can pass for its own.
    pub(in crate::server) fn withdraw(self) {
        if file_at(&self.path) == Some(self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// False if nobody has said a word.
    async fn hand_over(&self, stream: &mut UnixStream, pid: Option<i32>) -> Result<bool, String> {
        if !lines::begins(stream, ANSWER_TIMEOUT).await {
            return Ok(false);
        }
        self.heard.store(pid.unwrap_or(NOBODY), Ordering::Relaxed);
        let peer = stream.peer_cred().map_err(|error| error.to_string())?;
        // Root may enter any folder.
        if peer.uid() != geteuid().as_raw() && peer.uid() != 0 {
            return Err(format!("it is of user {}", peer.uid()));
        }
        if std::process::id() == FIRST {
            return Err(format!("no upgrade: {REPLACE_WHOLE}"));
        }
        lines::expect(stream, TAKE_OVER, ANSWER_TIMEOUT).await?;
        tracing::info!(pid = peer.pid(), "a new process takes the sockets over");
        self.send_sockets(stream).await.map_err(|error| error.to_string())?;
        lines::expect(stream, READY, PREPARE_TIMEOUT).await?;
        lines::write(stream, GO).await?;
        // From here on it may serve. So it is believed to be about to for as long as it is there: this
        // process accepts as well until then.
        lines::expect(stream, SERVING, Duration::MAX).await?;
        // From here on the other one serves, whether it hears this or not.
        let _ = lines::write(stream, LEAVING).await;
        Ok(true)
    }

    async fn send_sockets(&self, stream: &UnixStream) -> io::Result<()> {
        let copies = self.sockets.copies()?;
        let addresses: Vec<_> = copies.iter().map(|(address, _)| address.to_string()).collect();
        let line = format!("{SOCKETS} {}\n", addresses.join(" "));
        let pass = || {
            let descriptors: Vec<_> = copies.iter().map(|(_, socket)| socket.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
                return Err(io::Error::other("too many sockets"));
            }
            let bytes = [IoSlice::new(line.as_bytes())];
            Ok(sendmsg(stream, &bytes, &mut control, SendFlags::NOSIGNAL)?)
        };
        match stream.async_io(Interest::WRITABLE, pass).await? {
            sent if sent == line.len() => Ok(()),
            _ => Err(io::Error::other("the sockets could not be sent in one piece")),
        }
    }
}

/// The file at `path`, as the system tells it from others.
fn file_at(path: &Path) -> Option<File> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Whether somebody listens on `path`.
pub(in crate::server) fn is_taken(path: &Path) -> bool {
    BlockingStream::connect(path).is_ok()
}

/// Where the socket of this process is made.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}
