//! The new process: it takes the sockets of the old one, and says when it serves.

use std::io::{self, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use tokio::net::UnixStream;

use super::offer::is_taken;
use super::{
    ANSWER_TIMEOUT, GO, LEAVING, LINE_MAX, READY, SERVING, SOCKETS, TAKE_OVER, folder, lines,
};
use crate::server::sockets::{Named, SOCKETS_MAX};

/// The process whose sockets these are.
#[derive(Debug)]
pub(in crate::server) struct Predecessor {
    stream: BlockingStream,
    path: PathBuf,
}

/// One that has let this process go.
#[derive(Debug)]
pub(in crate::server) struct Leaver(UnixStream);

// === impl Predecessor ===

impl Predecessor {
    /// Asks the process at `path` for its sockets. Blocks for a moment.
    pub(in crate::server) fn ask(path: &Path) -> Result<(Self, Vec<Named>), String> {
        folder::keep_private(path)?;
        let mut stream = BlockingStream::connect(path).map_err(|error| {
            format!("no gateway to take over from listens on {}: {error}", path.display())
        })?;
        let sockets = take(&mut stream).map_err(|error| {
            format!("the gateway at {} did not hand its sockets over: {error}", path.display())
        })?;
        Ok((Self { stream, path: path.to_owned() }, sockets))
    }

    /// Says that this process could serve, and waits for the old one's leave; `None` if there is no
    /// old one any more, whose place is free then. Runs within a tokio runtime.
    pub(in crate::server) async fn ready(self) -> Result<Option<Leaver>, String> {
        let failed = |error: io::Error| error.to_string();
        self.stream.set_nonblocking(true).map_err(failed)?;
        let mut stream = UnixStream::from_std(self.stream).map_err(failed)?;
        match say_ready(&mut stream).await {
            Ok(()) => Ok(Some(Leaver(stream))),
            Err(_) if !is_taken(&self.path) => Ok(None),
            Err(why) => Err(format!("the gateway at {}: {why}", self.path.display())),
        }
    }
}

async fn say_ready(stream: &mut UnixStream) -> Result<(), String> {
    lines::write(stream, READY).await?;
    lines::expect(stream, GO, ANSWER_TIMEOUT).await
}

// === impl Leaver ===

impl Leaver {
    /// Says that this process serves. After that there is no way back.
    pub(in crate::server) async fn serving(mut self) -> Result<(), String> {
        lines::write(&mut self.0, SERVING).await?;
        lines::expect(&mut self.0, LEAVING, ANSWER_TIMEOUT).await
    }
}

fn take(stream: &mut BlockingStream) -> io::Result<Vec<Named>> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(format!("{TAKE_OVER}\n").as_bytes())?;
    let mut line = vec![0; LINE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        &*stream,
        &mut [IoSliceMut::new(&mut line)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let sockets: Vec<TcpListener> = descriptors.flatten().map(TcpListener::from).collect();
    let line = String::from_utf8_lossy(&line[..received.bytes]);
    named(&line, sockets).ok_or_else(|| {
        // The usual reason: an old process that does not like this one closes without a word.
        let said = if line.is_empty() { "nothing".to_owned() } else { format!("{line:?}") };
        io::Error::other(format!("it says {said}; its log says why"))
    })
}

/// The sockets by their addresses, if they are what `line` says.
fn named(line: &str, sockets: Vec<TcpListener>) -> Option<Vec<Named>> {
    let addresses = line.strip_suffix('\n')?.strip_prefix(SOCKETS)?.split_whitespace();
    let addresses: Vec<SocketAddr> =
        addresses.map(|address| address.parse().ok()).collect::<Option<_>>()?;
    let is_right = addresses.len() == sockets.len()
        && sockets.iter().all(|socket| sockopt::socket_acceptconn(socket).unwrap_or(false));
    is_right.then(|| addresses.into_iter().zip(sockets).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_to_be_what_the_line_says() {
        let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
        let count = |line, sockets| named(line, sockets).map(|named| named.len());
        assert_eq!(count("sockets 127.0.0.1:80 [::]:81\n", vec![socket(), socket()]), Some(2));
        assert_eq!(count("sockets\n", vec![]), Some(0));
        assert_eq!(count("sockets 127.0.0.1:80\n", vec![]), None);
        assert_eq!(count("sockets 127.0.0.1:80", vec![socket()]), None);
        assert_eq!(count("sockets here\n", vec![socket()]), None);
        assert_eq!(count("no\n", vec![]), None);
    }
}
