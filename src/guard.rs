//! What stands between the internet and Pingora: it opens the door, and looks at every request
//! before anything else does.
//!
//! A connection takes a permit, says whose it is where a proxy passes it on (PROXY protocol), makes
//! its TLS handshake, and sends a head: each under a deadline, within bounds, and read strictly.
//! Only then does Pingora see it. What is refused here no rule has met and no limit has counted; it
//! is counted by reason.

mod connections;
mod counts;
mod fault;
pub mod framing;
pub mod head;
mod http2;
mod linger;
mod preamble;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::protocols::l4::stream::Stream as Plain;
use pingora_core::protocols::{ALPN, GetSocketDigest, Stream};
use pingora_core::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::metrics::Metrics;
use crate::tls::Handshakes;
use connections::{Connections, Permit};
use counts::Counted;
pub use counts::Counts;
pub use fault::Fault;
pub use head::HeadBounds;
use head::Scanner;
use http2::Http2;
use linger::linger;
pub use stream::Guarded;
use stream::Patience;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What may come before a request without being one.
const EMPTY_LINES: &[u8] = b"\r\n\r\n";
/// Longest time that a refusal written here may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The network that limits count it by.
    pub network: IpAddr,
    /// Whether it is a trusted proxy, which has the connections of many.
    pub is_trusted: bool,
}

/// What the guard holds connections to: looked up for each connection and for each head, so a
/// reload acts on open connections from their next request on.
#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// Connections open at once.
    pub connections: usize,
    /// The same of one client; 0: no bound of its own.
    pub connections_each: usize,
    /// How large a head may be.
    pub head: HeadBounds,
    /// How long a preamble, a handshake and a head may take, each.
    pub header_timeout: Duration,
    /// How long a connection stays open without a request.
    pub keepalive_timeout: Duration,
    /// How long a client that has closed its side still gets an answer.
    pub half_close_timeout: Duration,
    /// How long one is waited for that takes nothing of what is sent to it.
    pub write_timeout: Duration,
    /// Whether trusted proxies begin connections with the PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is spoken without TLS.
    pub h2c: bool,
}

/// What connections are told when the process is about to end.
#[derive(Clone, Debug)]
pub struct Leave {
    /// True once they are asked to close behind what is under way on them.
    pub asked: ShutdownWatch,
    /// What the end of the process waits for.
    pub counts: Arc<Counts>,
}

/// The doors of a gateway: all its listeners share them.
pub struct Doors {
    settings: Box<dyn Fn() -> GuardSettings + Send + Sync>,
    connections: Arc<Connections>,
    caller: Box<dyn Fn(IpAddr) -> Caller + Send + Sync>,
    leave: Leave,
    http2: fn(usize) -> H2Options,
    metrics: Arc<Metrics>,
}

/// The guard of one listener.
pub struct Guard<A> {
    app: Arc<A>,
    doors: Arc<Doors>,
    /// With it the listener speaks TLS.
    tls: Option<Handshakes>,
}

/// What came of waiting for a request.
enum Next {
    Request,
    Http2,
    Closed,
    Fault(Fault),
}

// === impl Doors ===

impl Doors {
    /// `settings` says what connections are held to at the moment, `caller` who has an address,
    /// and `http2` how HTTP/2 is spoken where a head may have so many bytes.
    pub fn new(
        settings: impl Fn() -> GuardSettings + Send + Sync + 'static,
        caller: impl Fn(IpAddr) -> Caller + Send + Sync + 'static,
        http2: fn(usize) -> H2Options,
        leave: Leave,
        metrics: Arc<Metrics>,
    ) -> Self {
        let connections =
            Connections::new(metrics.connections().clone(), Arc::clone(&leave.counts));
        let connections = Arc::new(connections);
        let (settings, caller) = (Box::new(settings), Box::new(caller));
        Self { settings, connections, caller, leave, http2, metrics }
    }

    fn settings(&self) -> GuardSettings {
        (self.settings)()
    }

    /// Something has begun to come that is to be waited for.
    fn begun(&self) -> Counted {
        Counted::new(&self.leave.counts, |counts| &counts.begun)
    }

    fn refused(&self, reason: &'static str) {
        self.metrics.connection_refused(reason);
    }

    /// Lets a connection in, if there is room for it and it says whose it is.
    async fn admit(&self, connection: &mut Plain) -> Option<Permit> {
        let settings = self.settings();
        let Some(mut permit) = self.connections.enter(settings.connections) else {
            self.refused("total");
            return None;
        };
        let mut caller = (self.caller)(address_of(connection)?);
        if settings.proxy_protocol && caller.is_trusted {
            let _begun = self.begun();
            let told = timeout(settings.header_timeout, preamble::take(connection)).await;
            if told != Ok(true) {
                self.refused("proxy-protocol");
                return None;
            }
            caller = (self.caller)(address_of(connection)?);
        }
        if !caller.is_trusted && !permit.count_for(caller.network, settings.connections_each) {
            self.refused("address");
            return None;
        }
        Some(permit)
    }

    /// Waits for the next head. A connection that has nothing to say is closed without a word.
    async fn next(&self, connection: &mut Guarded, first: bool, may_be_http2: bool) -> Next {
        let settings = self.settings();
        let idle = if first { settings.header_timeout } else { settings.keepalive_timeout };
        let begun = Instant::now() + idle;
        // An empty line behind a request begins no other.
        while EMPTY_LINES.starts_with(connection.unread()) {
            match timeout_at(begun, connection.fill()).await {
                Ok(Ok(1..)) => {}
                _ => return Next::Closed,
            }
        }
        // It may have changed while the connection was idle.
        let settings = self.settings();
        let _begun = self.begun();
        let deadline = Instant::now() + settings.header_timeout;
        let head = read_head(connection, settings.head, first && may_be_http2);
        timeout_at(deadline, head).await.unwrap_or(Next::Fault(Fault::HeaderTimeout))
    }

    /// Answers what cannot be read, and closes.
    async fn refuse(&self, connection: Guarded, fault: Fault) {
        self.metrics.malformed(fault.word());
        let (Some(mut transport), permit) = connection.into_parts() else { return };
        let answer = fault.answer();
        let written = async {
            transport.write_all(answer.as_bytes()).await?;
            transport.flush().await
        };
        if matches!(timeout(ANSWER_TIMEOUT, written).await, Ok(Ok(()))) {
            linger(transport, permit);
        }
    }
}

// === impl Guard ===

impl<A> Guard<A> {
    /// A listener's guard, in front of `app`; with `tls` it makes handshakes first.
    pub const fn new(app: Arc<A>, doors: Arc<Doors>, tls: Option<Handshakes>) -> Self {
        Self { app, doors, tls }
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Guard<A> {
    /// One request after the other, as long as both sides want. A connection without a request stays
    /// open also when the process is about to end: who sends one just now gets an answer.
    async fn serve_http1(&self, first: Guarded) {
        let (mut connection, mut kept, mut is_first) = (first, None, true);
        let leaving = &self.doors.leave.asked;
        // With TLS both sides have agreed upon it before.
        let may_be_http2 = self.doors.settings().h2c && self.tls.is_none();
        loop {
            connection.be_patient(Patience::of(&self.doors.settings()));
            match self.doors.next(&mut connection, is_first, may_be_http2).await {
                Next::Request => {}
                Next::Closed => return connection.abandon(),
                Next::Fault(fault) => return self.doors.refuse(connection, fault).await,
                Next::Http2 => return self.serve_http2(connection).await,
            }
            let session = session(connection, kept.take(), *leaving.borrow());
            let Some(reused) = self.app.process_new_http(session, leaving).await else { return };
            let (stream, settings) = reused.consume();
            let Ok(guarded) = stream.into_any().downcast::<Guarded>() else { return };
            if !guarded.is_between_messages() {
                return;
            }
            (connection, kept, is_first) = (*guarded, settings, false);
        }
    }

    /// Pingora's own loop: the connection says that it is HTTP/2.
    async fn serve_http2(&self, mut connection: Guarded) {
        let leave = &self.doors.leave;
        let _open = Counted::new(&leave.counts, |counts| &counts.multiplexed);
        connection.begin_http2();
        let settings = self.doors.settings();
        let options = (self.doors.http2)(settings.head.bytes);
        let app = Http2::new(Arc::clone(&self.app), options, settings.keepalive_timeout);
        ServerApp::process_new(&Arc::new(app), Box::new(connection), &leave.asked).await;
    }

    /// Waits for what an HTTP/2 connection begins with, which nobody else would wait for in time.
    async fn has_preface(&self, connection: &mut Guarded) -> bool {
        let preface = async {
            while connection.unread().len() < PREFACE.len() {
                if !matches!(connection.fill().await, Ok(1..)) {
                    return false;
                }
            }
            connection.unread().starts_with(PREFACE)
        };
        timeout(self.doors.settings().header_timeout, preface).await.unwrap_or(false)
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        // The listener is plain, so this is a plain connection.
        let mut connection = *stream.into_any().downcast::<Plain>().ok()?;
        let permit = self.doors.admit(&mut connection).await?;
        let patience = Patience::of(&self.doors.settings());
        let Some(tls) = &self.tls else {
            let guarded = Guarded::new(Box::new(connection), permit, patience);
            self.serve_http1(guarded).await;
            return None;
        };
        let begun = self.doors.begun();
        let connection = tls.shake(connection, self.doors.settings().header_timeout).await?;
        drop(begun);
        let http2 = connection.selected_alpn_proto() == Some(ALPN::H2);
        let mut guarded = Guarded::new(connection, permit, patience);
        if !http2 {
            self.serve_http1(guarded).await;
        } else if self.has_preface(&mut guarded).await {
            self.serve_http2(guarded).await;
        }
        None
    }

    // No `cleanup`: when the listeners end, Pingora would drop the requests that it is about to read.
}

/// Reads a head, or what HTTP/2 begins with.
async fn read_head(connection: &mut Guarded, bounds: HeadBounds, may_be_http2: bool) -> Next {
    let undecided = |unread: &[u8]| unread.len() < PREFACE.len() && PREFACE.starts_with(unread);
    while may_be_http2 && undecided(connection.unread()) {
        if !matches!(connection.fill().await, Ok(1..)) {
            return Next::Closed;
        }
    }
    if may_be_http2 && connection.unread().starts_with(PREFACE) {
        return Next::Http2;
    }
    let (mut scanner, mut seen) = (Scanner::new(bounds), 0);
    loop {
        let unread = connection.unread();
        match scanner.scan(&unread[seen..]) {
            Ok(Some(end)) => {
                let head = seen + end;
                return match head::examine(&unread[..head]) {
                    Ok(framing) => {
                        connection.begin(head, framing);
                        Next::Request
                    }
                    Err(fault) => Next::Fault(fault),
                };
            }
            Ok(None) => seen = unread.len(),
            Err(fault) => return Next::Fault(fault),
        }
        match connection.fill().await {
            Ok(1..) => {}
            Ok(_) => return Next::Fault(Fault::Incomplete),
            Err(_) => return Next::Closed,
        }
    }
}

fn session(
    connection: Guarded,
    kept: Option<HttpPersistentSettings>,
    stopping: bool,
) -> ServerSession {
    let mut session = ServerSession::new_http1(Box::new(connection));
    if let Some(kept) = kept {
        kept.apply_to_session(&mut session);
    }
    if stopping {
        session.set_keepalive(None);
    }
    session
}

/// The address of the other end, or of whom it speaks for.
fn address_of(connection: &Plain) -> Option<IpAddr> {
    let digest = connection.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
}
