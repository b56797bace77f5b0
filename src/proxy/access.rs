//! The line of the access log.

use std::time::Duration;

use pingora_proxy::Session;

use super::Context;
use crate::limit::Verdict;
use crate::telemetry::{self, Access};

/// Writes the line of a request that has ended.
pub(super) fn write(session: &Session, ctx: &Context, route: &str, status: u16, took: Duration) {
    let head = session.req_header();
    let denied_by: Vec<&str> = ctx
        .verdict
        .iter()
        .flat_map(Verdict::denials)
        .map(|outcome| outcome.policy.name.as_str())
        .collect();
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
