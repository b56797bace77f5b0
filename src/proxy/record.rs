//! The end of a request: what it cost, the metrics, its views, the access line. Written from the
//! verdict that came back, however the request ended.

use http::StatusCode;
use pingora_proxy::Session;

use super::count::count;
use super::{Context, NO_ROUTE, Proxy};
use crate::limit::{Clock, Verdict};
use crate::metrics::Finished;
use crate::telemetry::{self, Access};

/// Settles what is open and records the request.
pub(super) fn record(proxy: &Proxy, session: &Session, ctx: &mut Context) {
    let now = proxy.clock.now();
    let status = session.response_written().map(|head| head.status);
    // Who goes away after a provisional answer has got none.
    let answered =
        status.filter(|s| !s.is_informational() || *s == StatusCode::SWITCHING_PROTOCOLS);
    ctx.settle(proxy, answered.map(|status| status.as_u16()));
    let status = status.map_or(0, |status| status.as_u16());
    let route = ctx.route.as_ref().map_or(NO_ROUTE, |route| route.path.as_str());
    let took = now.since(ctx.started).into();
    let added = ctx.decided.map(|decided| decided.since(ctx.started).into());
    proxy.metrics.finished(Finished { route, status, took, added });
    count(proxy, session, ctx, status);
    if !ctx.state.access_log {
        return;
    }
    let head = session.req_header();
    let denials = ctx.verdict.iter().flat_map(Verdict::denials);
    let mut denied_by: Vec<&str> = denials.map(|outcome| outcome.policy.name.as_str()).collect();
    // A policy and its ban.
    denied_by.dedup();
    telemetry::access(Access {
        client: ctx.client.as_ref().map(|client| client.address),
        method: head.method.as_str(),
        path: head.uri.path(),
        route,
        status,
        took,
        request_id: &ctx.request_id,
        denied_by: &denied_by.join(","),
    });
}
