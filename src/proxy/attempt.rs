//! The attempts of a request: at which servers it was tried, and whether it is tried once more.

use std::sync::Arc;

use http::header::UPGRADE;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_proxy::Session;

use super::Context;
use crate::upstream::{Lease, RETRIES_MAX, Server, Unavailable, Upstream};

/// Attempts of a request, over all servers of its upstream.
pub const ATTEMPTS_MAX: usize = 1 + RETRIES_MAX;

/// The attempts so far.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: usize,
    /// The place at the server where it is now.
    lease: Option<Lease>,
    /// Where it has failed.
    tried: Vec<Arc<Server>>,
    /// The server that has failed may be asked again, if there is no other.
    again: bool,
    /// Some server may have seen the request, or has at least taken the connection.
    reached: bool,
    /// Something of an answer came.
    heard: bool,
    /// Why no server was asked in the end.
    unavailable: Option<Unavailable>,
}

// === impl Attempts ===

impl Attempts {
    /// Notes that the head of an answer came, be it a provisional one.
    pub(super) const fn hear(&mut self) {
        self.heard = true;
    }

    /// Whether no attempt has reached a server.
    pub(super) const fn in_vain(&self) -> bool {
        !self.reached
    }

    /// Why no server was asked, if none was in the end.
    pub(super) const fn unavailable(&self) -> Option<Unavailable> {
        self.unavailable
    }

    /// The answer is over: the server has done its work, and its place is free.
    pub(super) fn succeed(&mut self, upstream: Option<&Upstream>) {
        let (Some(lease), Some(upstream)) = (self.lease.take(), upstream) else { return };
        upstream.succeeded(lease.server());
    }

    /// A conversation has begun, which may last: the server has done what it was asked for, and keeps
    /// its place.
    pub(super) fn converse(&self, upstream: Option<&Upstream>) {
        if let Some((lease, upstream)) = self.lease.as_ref().zip(upstream) {
            upstream.succeeded(lease.server());
        }
    }

    /// Gives the place back.
    pub(super) fn leave(&mut self) {
        self.lease = None;
    }

    /// Decides what becomes of the request after `failure`.
    fn fail(&mut self, upstream: &Upstream, failure: &Failure) -> bool {
        let Some(lease) = self.lease.take() else { return false };
        if failure.is_the_servers {
            upstream.failed(lease.server());
        }
        if !self.tried.iter().any(|tried| Arc::ptr_eq(tried, lease.server())) {
            self.tried.push(Arc::clone(lease.server()));
        }
        // Others may take the place meanwhile.
        drop(lease);
        self.again = failure.again;
        failure.repeatable && upstream.retries(self.made, &self.tried, self.again)
    }
}

/// What an attempt failed by.
struct Failure {
    /// The server is to blame.
    is_the_servers: bool,
    /// Nothing was done, or doing it twice does no harm.
    repeatable: bool,
    /// The same server may well take it.
    again: bool,
}

/// The way to the next server.
pub(super) fn begin(session: &Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
    let upstream = ctx.upstream().map(Arc::clone);
    let upstream = upstream.ok_or_else(|| Error::new(ErrorType::InternalError))?;
    let attempts = &mut ctx.attempts;
    attempts.made += 1;
    attempts.heard = false;
    attempts.leave();
    let lease = match upstream.lease(&attempts.tried, attempts.again) {
        Ok(lease) => lease,
        Err(why) => {
            attempts.unavailable = Some(why);
            return nobody("no server of the upstream can be asked");
        }
    };
    let upgrade = session.req_header().headers.get(UPGRADE);
    let websocket = upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let peer = if websocket { upstream.peer_for_upgrade(&lease) } else { upstream.peer(&lease) };
    attempts.lease = Some(lease);
    peer.map_or_else(|| nobody("the server has no name that could be verified"), Ok)
}

fn nobody<T>(why: &'static str) -> Result<T> {
    let (kind, source) = (ErrorType::ConnectNoRoute, ErrorSource::Upstream);
    Err(Error::create(kind, source, Some(why.into()), None))
}

/// After a failed connect. Nothing was sent, so whatever the method, another server may be tried;
/// and the same one where an HTTP/2 connection was closed just as it was to take one more stream.
pub(super) fn not_connected(ctx: &mut Context, error: &mut Error) {
    let closed = *error.etype() == ErrorType::H2Error;
    ctx.attempts.reached |= !is_unreachable(error.etype());
    let failure = Failure { is_the_servers: !closed, repeatable: true, again: closed };
    let again = decide(ctx, &failure);
    error.set_retry(again);
}

/// After a failure on a connection.
pub(super) fn broken(session: &Session, ctx: &mut Context, error: &mut Error, reused: bool) {
    ctx.attempts.reached = true;
    // HTTP/2 may say that a request was not touched: by a GOAWAY that leaves the stream out, or
    // `REFUSED_STREAM`. Whatever broke before an answer, doing twice what reads or replaces does no
    // harm (RFC 9110, 9.2.2). What writes may have been done, and is never asked again.
    let by_server = *error.esource() == ErrorSource::Upstream;
    let untouched =
        *error.etype() == ErrorType::H2Error && matches!(error.retry, RetryType::Decided(true));
    let unheard = !ctx.attempts.heard && session.response_written().is_none();
    let idempotent = session.req_header().method.is_idempotent();
    let broke = untouched || (is_break(error.etype()) && idempotent);
    let failure = Failure {
        // A pooled connection may be closed at any time, and a stream be turned away.
        is_the_servers: by_server && !untouched && !(reused && unheard && is_break(error.etype())),
        repeatable: by_server && unheard && broke && !session.as_ref().retry_buffer_truncated(),
        again: reused || untouched,
    };
    let again = decide(ctx, &failure);
    error.set_retry(again);
}

fn decide(ctx: &mut Context, failure: &Failure) -> bool {
    let Some(upstream) = ctx.upstream().map(Arc::clone) else { return false };
    ctx.attempts.fail(&upstream, failure)
}

/// Whether no connection was there: not even a broken one.
const fn is_unreachable(error: &ErrorType) -> bool {
    matches!(
        error,
        ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::SocketError
            | ErrorType::BindError
    )
}

/// Whether the connection ended. An answer that is none, or that does not come, is another matter.
const fn is_break(error: &ErrorType) -> bool {
    matches!(
        error,
        ErrorType::ConnectionClosed
            | ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::H2Error
    )
}
