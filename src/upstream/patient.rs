//! Connections for upgrades (WebSocket), patient enough for Pingora.
//!
//! Pingora 0.9.1 ends a tunnel right after its 101 if it reads that 101 before it has noticed that
//! the request has no body (cloudflare/pingora#946): under load, a fast application loses some of
//! its sockets. The notice is taken within a few turns of the request's own task. So the first
//! read after the request was written lets a few turns go by before it reads. Under TLS nobody can
//! tell from below which write that is, so there the first reads after each of the first writes do.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Turns of the task that go by before the first read. Two would do; a turn costs about a
/// microsecond.
const TURNS: u8 = 16;

/// Reads after a write that are patient: in plain the first answers the request.
const PLAIN_ANSWERS: u8 = 1;
/// Over TLS up to three belong to the handshake: to the hello, to a second one if the server wants
/// it, and what TLS 1.3 sends behind.
const TLS_ANSWERS: u8 = 4;

/// Connects to upstreams for requests that want an upgrade.
#[derive(Debug)]
pub(super) struct PatientConnect {
    pub(super) longest: Duration,
    pub(super) tls: bool,
}

struct Patient<S> {
    socket: S,
    /// Before the next read.
    turns_left: u8,
    /// How many more writes are followed by a patient read.
    answers_left: u8,
    /// Something was written since the last read.
    asked: bool,
}

// === impl PatientConnect ===

#[async_trait]
impl L4Connect for PatientConnect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let answers = if self.tls { TLS_ANSWERS } else { PLAIN_ANSWERS };
        let connecting = async {
            Ok::<_, io::Error>(match address {
                SocketAddr::Inet(address) => {
                    let socket = TcpStream::connect(address).await?;
                    socket.set_nodelay(true)?;
                    virtual_stream(socket, answers)
                }
                SocketAddr::Unix(address) => {
                    let path = address.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
                    virtual_stream(UnixStream::connect(path).await?, answers)
                }
            })
        };
        let connected = timeout(self.longest, connecting)
            .await
            .map_err(|_| Error::new_up(ErrorType::ConnectTimedout))?;
        connected
            .or_err(ErrorType::ConnectError, "connecting for an upgrade")
            .map_err(Error::into_up)
    }
}

fn virtual_stream(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static,
    answers_left: u8,
) -> Stream {
    let patient = Patient { socket, turns_left: 0, answers_left, asked: false };
    Stream::from(VirtualSocketStream::new(Box::new(patient)))
}

// === impl Patient ===

impl<S> fmt::Debug for Patient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patient").field("turns_left", &self.turns_left).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> VirtualSocket for Patient<S> {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        // `TCP_NODELAY` is set already; a tunnel ends with the client's keep-alive or its own.
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.asked && self.answers_left > 0 {
            self.answers_left -= 1;
            self.turns_left = TURNS;
        }
        self.asked = false;
        if self.turns_left > 0 {
            self.turns_left -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
