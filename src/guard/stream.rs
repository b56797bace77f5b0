//! A client's connection as Pingora reads it: one message at a time.
//!
//! The guard reads a head itself, whole and checked, before Pingora is given a byte of it. What
//! Pingora reads then is that head, the bytes of its body as they come, and after them nothing: the
//! next request waits here until this one is answered. So both always agree where a message ends.

mod facts;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::GuardSettings;
use super::connections::Permit;
use super::fault::Fault;
use super::framing::Framing;
use super::linger::linger;

/// Bytes that are read at once where they have to be looked at.
const READ_SIZE: usize = 8 * 1024;

/// A connection that gives out one message at a time.
#[derive(Debug)]
pub struct Guarded {
    /// Taken only when the connection ends.
    transport: Option<Stream>,
    /// Read and not yet given out.
    buffer: BytesMut,
    /// How much of it belongs to the message that Pingora reads.
    ready: usize,
    stage: Stage,
    http2: bool,
    /// Why the body cannot be read on.
    fault: Option<Fault>,
    /// How long a client that has closed its side still gets an answer.
    half_close: Duration,
    closing: Option<Pin<Box<Sleep>>>,
    /// Longest wait for the client to take bytes, whatever they are: Pingora bounds bodies alone.
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether nothing more comes, or is waited for.
    ended: bool,
    passing: AtomicBool,
    waiting: Mutex<Option<Waker>>,
    permit: Option<Permit>,
}

/// How long a client is waited for once its requests are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// One that has closed its side.
    pub(super) half_close: Duration,
    /// One that takes nothing of what is sent.
    pub(super) write: Duration,
}

/// What the bytes of the connection are.
#[derive(Debug)]
enum Stage {
    /// A request whose body ends where this says.
    Message(Framing),
    /// Not ours to understand: HTTP/2, or what an upgrade has agreed upon.
    Opaque,
}

// === impl Patience ===

impl Patience {
    /// That of `settings`.
    pub(super) const fn of(settings: &GuardSettings) -> Self {
        Self { half_close: settings.half_close_timeout, write: settings.write_timeout }
    }
}

// === impl Guarded ===

impl Guarded {
    pub(super) fn new(transport: Stream, permit: Permit, patience: Patience) -> Self {
        Self {
            transport: Some(transport),
            buffer: BytesMut::new(),
            ready: 0,
            stage: Stage::Message(Framing::length(0)),
            http2: false,
            fault: None,
            half_close: patience.half_close,
            closing: None,
            write_timeout: patience.write,
            stalled: None,
            ended: false,
            passing: AtomicBool::new(false),
            waiting: Mutex::default(),
            permit: Some(permit),
        }
    }

    /// From now on the client is waited for so long.
    pub(super) fn be_patient(&mut self, patience: Patience) {
        (self.half_close, self.write_timeout) = (patience.half_close, patience.write);
    }

    /// The connection below a stream that Pingora holds, if it is one of ours.
    pub fn below(stream: &Stream) -> Option<&Self> {
        (**stream).as_any().downcast_ref()
    }

    /// From now on the connection is no longer HTTP: both sides have agreed to an upgrade.
    pub fn pass_through(&self) {
        self.passing.store(true, Ordering::Release);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Why the body of the present request cannot be read on, if that is so.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// What has been read and not yet given out.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads more, to look at; 0 bytes at the end.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_SIZE);
        let Some(transport) = &mut self.transport else { return Ok(0) };
        let read = transport.read_buf(&mut self.buffer).await;
        self.ended = !matches!(read, Ok(1..));
        read
    }

    /// Closes at once: nobody waits for what was said last.
    pub(super) const fn abandon(&mut self) {
        self.ended = true;
    }

    /// Whether the client has sent all of its request: what follows is a next one.
    pub(super) const fn is_between_messages(&self) -> bool {
        matches!(&self.stage, Stage::Message(framing) if framing.is_done()) && self.ready == 0
    }

    /// Gives out the head that the first `head` bytes are, and then its body.
    pub(super) fn begin(&mut self, head: usize, framing: Framing) {
        self.ready = head;
        self.stage = Stage::Message(framing);
    }

    /// Gives out everything as it comes, as HTTP/2.
    pub(super) fn begin_http2(&mut self) {
        self.http2 = true;
        self.stage = Stage::Opaque;
    }

    /// The connection itself, and the permit that goes with it.
    pub(super) fn into_parts(mut self) -> (Option<Stream>, Option<Permit>) {
        (self.transport.take(), self.permit.take())
    }

    fn give(&mut self, out: &mut ReadBuf<'_>) {
        let bytes = self.ready.min(out.remaining());
        out.put_slice(&self.buffer[..bytes]);
        self.buffer.advance(bytes);
        self.ready -= bytes;
    }

    fn poll_transport(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(())) };
        let before = out.filled().len();
        let read = ready!(Pin::new(&mut **transport).poll_read(cx, out));
        self.ended = read.is_err() || out.filled().len() == before;
        Poll::Ready(read)
    }

    /// Reads into the buffer. False at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; READ_SIZE];
        let mut read = ReadBuf::new(&mut space);
        ready!(self.poll_transport(cx, &mut read))?;
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(!read.filled().is_empty()))
    }

    /// The message has been read. Nothing more is given out; that the client closes its side is
    /// told only after a while, so that one which has nothing more to say still gets its answer.
    fn poll_after(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            *waiting = Some(cx.waker().clone());
        }
        if let Some(closing) = &mut self.closing {
            return closing.as_mut().poll(cx).map(Ok);
        }
        // Also behind a next request, as far as there is room for it: that the client goes away
        // must be seen.
        while self.buffer.len() < READ_SIZE {
            if !ready!(self.poll_fill(cx))? {
                return self.poll_closing(cx);
            }
        }
        Poll::Pending
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut closing = Box::pin(sleep(self.half_close));
        let closed = closing.as_mut().poll(cx).map(Ok);
        self.closing = Some(closing);
        closed
    }

    /// Gives up on a client that takes nothing of what waits for it.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let most = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(most)));
        ready!(stalled.as_mut().poll(cx));
        self.ended = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.word())));
        }
        loop {
            if self.ready > 0 {
                self.give(out);
                return Poll::Ready(Ok(()));
            }
            let Stage::Message(framing) = &mut self.stage else {
                return self.poll_opaque(cx, out);
            };
            if framing.is_done() {
                return self.poll_after(cx);
            }
            if self.buffer.is_empty() {
                if let Framing::Length(left) = *framing {
                    return self.poll_length(left, cx, out);
                }
                if !ready!(self.poll_fill(cx))? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            match framing.advance(&self.buffer) {
                Ok(bytes) => self.ready = bytes,
                Err(fault) => {
                    self.fault = Some(fault);
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        fault.word(),
                    )));
                }
            }
        }
    }

    /// Bytes of a body that need not be looked at go straight to the reader.
    fn poll_length(
        &mut self,
        left: u64,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.remaining());
        let mut part = ReadBuf::new(out.initialize_unfilled_to(most));
        ready!(self.poll_transport(cx, &mut part))?;
        let read = part.filled().len();
        out.advance(read);
        self.stage = Stage::Message(Framing::length(left - read as u64));
        Poll::Ready(Ok(()))
    }

    fn poll_opaque(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            return self.poll_transport(cx, out);
        }
        self.ready = self.buffer.len();
        self.give(out);
        self.ready = 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ready == 0 && this.passing.load(Ordering::Acquire) {
            this.stage = Stage::Opaque;
        }
        this.poll_message(cx, out)
    }
}

/// What is said of a connection that has ended.
fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(transport) = self.transport.take().filter(|_| !self.ended && !self.http2) {
            linger(transport, self.permit.take());
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(transport) = &mut this.transport else { return gone() };
        let done = Pin::new(&mut **transport).poll_write(cx, bytes);
        this.in_time(cx, done)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(transport) = &mut this.transport else { return gone() };
        let done = Pin::new(&mut **transport).poll_flush(cx);
        this.in_time(cx, done)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(transport) = &mut this.transport else { return gone() };
        let done = Pin::new(&mut **transport).poll_shutdown(cx);
        this.in_time(cx, done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(transport) = &mut this.transport else { return gone() };
        let done = Pin::new(&mut **transport).poll_write_vectored(cx, bytes);
        this.in_time(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
