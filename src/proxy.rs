//! The way of a request through Pingora's phases. The only module (with its parts) that sees a
//! session; it decides nothing.
//!
//! `request_filter` asks for the verdict and refuses; `upstream_request_filter` writes the
//! application's view of the client; `response_filter` adds the fields; `logging`, which always
//! runs, records.

mod admit;
mod attempt;
mod bounds;
mod context;
mod cors;
mod count;
mod fail;
mod forward;
mod intake;
mod read;
mod record;
mod redirect;
mod refuse;
mod secure;
mod state;
mod switch;
mod tab;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::guard::Guarded;
use crate::limit::{Clock, SystemClock};
use crate::limiter::Limiter;
use crate::metering::Metering;
use crate::metrics::Metrics;
use crate::rules::Enforcement;
use crate::telemetry::Gate;

pub use attempt::ATTEMPTS_MAX;
pub use bounds::Bounds;
pub use context::Context;
pub use cors::Cors;
use intake::Intake;
pub use state::{Delays, State};
use switch::Switch;
pub use switch::switched;

/// Longest time that the rest of an answered request is read, to keep its connection.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The name of the route that requests take which no route takes.
const NO_ROUTE: &str = "none";

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    /// The configuration in force.
    pub state: ArcSwap<State>,
    /// The decision path.
    pub limiter: Arc<Limiter<SystemClock>>,
    /// The series.
    pub metrics: Arc<Metrics>,
    /// Views that are to be counted.
    pub metering: Arc<Metering>,
    /// The clock of the process.
    pub clock: SystemClock,
    /// Set when the process is about to end: connections are closed after their answer.
    pub draining: Arc<AtomicBool>,
    /// Set when the gateway is about to end and no other process takes its place: it is not ready.
    pub stopping: Arc<AtomicBool>,
    failures: Gate,
    bodies: Gate,
    switch: Switch,
}

/// Pingora's phases, over a proxy that others hold too.
#[derive(Clone, Debug)]
pub struct Phases(pub Arc<Proxy>);

// === impl Proxy ===

impl Proxy {
    /// A proxy with this first state.
    pub fn new(
        state: State,
        limiter: Arc<Limiter<SystemClock>>,
        metrics: Arc<Metrics>,
        clock: SystemClock,
    ) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
            limiter,
            metrics,
            metering: Arc::new(Metering::new(clock)),
            clock,
            draining: Arc::default(),
            stopping: Arc::default(),
            failures: Gate::new(),
            bodies: Gate::new(),
            switch: Switch::new(),
        }
    }

    /// How far limits are enforced at present.
    pub fn enforcement(&self) -> Enforcement {
        self.switch.applied(self.state.load().enforcement)
    }

    /// Says why a client got our body instead of the operator's own.
    fn note_body(&self, fault: Option<&str>) {
        let Some(fault) = fault else { return };
        if let Some(held_back) = self.bodies.pass(self.clock.now()) {
            tracing::warn!(fault, held_back, "a body of `files` cannot be filled in");
        }
    }
}

// === impl Phases ===

impl Deref for Phases {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.0
    }
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let in_flight = self.metrics.in_flight();
        Context::new(self.state.load_full(), self.clock.now(), in_flight)
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        let bounds = ctx.state.bounds;
        // `None` means that Pingora will close: because the client asked for it, or because the
        // request's framing is ambiguous. That stays.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(bounds.keepalive.as_secs()));
        }
        session.set_read_timeout(Some(bounds.read));
        session.set_write_timeout(Some(bounds.write));
        // Of a request body that an early answer has left unread.
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let peer = peer_address(session);
        if let Some(refusal) = read::read(self, session, ctx)? {
            return refuse::write(self, session, ctx, &refusal).await.map(|()| true);
        }
        if let Some(port) = redirect::port(session, peer, &ctx.state) {
            return redirect::answer(self, session, ctx, port).await.map(|()| true);
        }
        ctx.certificate = secure::certificate(session);
        let head = session.req_header();
        let Some(refusal) = admit::admit(self, peer, head, ctx).await else { return Ok(false) };
        // Nothing is under way: who is refused may take his time to read why.
        ctx.permits.free();
        refuse::answer(self, session, ctx, &refusal).await.map(|()| true)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        if let Some(tab) = &mut ctx.tab {
            tab.begin_again();
        }
        // What was read of the body is read again.
        ctx.intake = Intake::default();
        attempt::begin(session, ctx)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        attempt::not_connected(ctx, &mut error);
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        attempt::broken(session, ctx, &mut error, reused);
        error
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        // What both sides have agreed upon is no body: it may be quiet, and has no end.
        if !session.was_upgraded() {
            let bytes = body.as_ref().map_or(0, Bytes::len);
            let after = self.clock.now().since(ctx.started);
            // A conversation has its pauses.
            let head = session.req_header();
            let calls = session.is_http2() && refuse::grpc::is_grpc(&head.headers);
            let final_ = |head: &ResponseHeader| !head.status.is_informational();
            let talks = calls || session.response_written().is_some_and(final_);
            let rate = if talks { 0 } else { ctx.state.bounds.body_rate };
            ctx.intake.take(bytes, after, ctx.body_most(), rate)?;
        }
        if let Some((tab, body)) = ctx.tab.as_mut().zip(body.as_ref()) {
            tab.read(body.len());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        forward::prepare(request, session, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if self.draining.load(Ordering::Relaxed) {
            // Also where that was not so when the request came.
            session.set_keepalive(None);
        }
        ctx.attempts.hear();
        if session.req_header().version == http::Version::HTTP_10 {
            // An HTTP/1.0 client knows no chunks: the end of the connection is the end of the body.
            response.remove_header(&http::header::TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
            return Err(Error::explain(
                ErrorType::InvalidHTTPHeader,
                "a 101 that nobody asked for",
            )
            .into_up());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            ctx.attempts.converse(ctx.upstream().map(|upstream| &**upstream));
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(connection) = session.stream().and_then(Guarded::below)
        {
            connection.pass_through();
        }
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS
        {
            forward::keep_costs(response, &ctx.state);
            return Ok(());
        }
        if forward::is_bodiless(&session.req_header().method, response) {
            ctx.free();
        }
        forward::end_hop(response);
        secure::promise(response, session, &ctx.state)?;
        if let Some(tab) = &mut ctx.tab {
            tab.hear(response);
            if tab.is_complete() {
                ctx.settle(self, Some(refuse::grpc::status_of(response)));
            }
        }
        forward::keep_costs(response, &ctx.state);
        let Some(verdict) = &ctx.verdict else { return Ok(()) };
        let fields = ctx.state.answers.fields(verdict);
        cors::expose_to_readers(response, &fields)?;
        forward::add_fields(response, fields)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if end_of_stream {
            // Before the client gets the last bytes: its next request finds what was held free.
            ctx.free();
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        _: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        ctx.free();
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        fail::fail(self, session, error, ctx).await
    }

    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        // One line for every client that goes away would be a flood that clients control;
        // failures of the upstream are logged in `note_failure`, at a bounded rate.
        true
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if error.is_none() {
            ctx.free();
        }
        record::record(self, session, ctx);
    }
}

/// The address of the connection's other end. Only TCP is listened on, so there always is one.
fn peer_address(session: &Session) -> IpAddr {
    let inet = session.client_addr().and_then(|address| address.as_inet());
    inet.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), std::net::SocketAddr::ip)
}

/// The lines of a header, as text where they are text.
fn lines<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|line| line.to_str().ok())
}
