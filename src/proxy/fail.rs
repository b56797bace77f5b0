//! What becomes of a request that was let through and could not be answered.

use http::StatusCode;
use pingora_error::{Error, ErrorSource, ErrorType};
use pingora_http::ResponseHeader;
use pingora_proxy::{FailToProxy, Session};

use super::admit::TOO_LARGE;
use super::{Context, Proxy, refuse};
use crate::guard::Guarded;
use crate::limit::Clock;
use crate::response::Refusal;

/// Says so to the client, if there still is one and nothing has been said to it.
pub(super) async fn fail(
    proxy: &Proxy,
    session: &mut Session,
    error: &Error,
    ctx: &mut Context,
) -> FailToProxy {
    ctx.permits.free();
    ctx.attempts.leave();
    if *error.esource() == ErrorSource::Upstream {
        note(proxy, ctx, error);
    }
    let Some(status) = spoiled(proxy, session).or_else(|| status_of(error, ctx)) else {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    let message = match status {
        StatusCode::BAD_GATEWAY => {
            "The application broke off its answer, or is not who it should be."
        }
        StatusCode::SERVICE_UNAVAILABLE => "The application cannot be reached at the moment.",
        StatusCode::GATEWAY_TIMEOUT => "The application did not answer in time.",
        StatusCode::BAD_REQUEST => "The request could not be read.",
        StatusCode::REQUEST_TIMEOUT => "The request did not come in time.",
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
        _ => "The gateway failed.",
    };
    let refusal = Refusal::plain(status, message);
    let refusal = match ctx.upstream() {
        Some(upstream) if status == StatusCode::SERVICE_UNAVAILABLE => {
            refusal.retrying_after(upstream.retry_after(ctx.attempts.unavailable()))
        }
        _ => refusal,
    };
    // After a 101 the connection no longer speaks HTTP.
    let interim = |head: &ResponseHeader| {
        head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS
    };
    if session.response_written().is_none_or(interim) {
        session.set_keepalive(None);
        if *error.esource() == ErrorSource::Downstream {
            // Who spoils a request that the application may have is as who goes away.
            ctx.settle(proxy, None);
        }
        if let Err(error) = refuse::write(proxy, session, ctx, &refusal).await {
            tracing::debug!(%error, "the client did not take the answer");
        }
    }
    FailToProxy { error_code: status.as_u16(), can_reuse_downstream: false }
}

/// The status for a body that the guard could not read to its end.
pub(super) fn spoiled(proxy: &Proxy, session: &Session) -> Option<StatusCode> {
    let fault = Guarded::below(session.stream()?)?.fault()?;
    proxy.metrics.malformed(fault.word());
    Some(StatusCode::BAD_REQUEST)
}

fn note(proxy: &Proxy, ctx: &Context, error: &Error) {
    let Some(upstream) = ctx.upstream() else { return };
    proxy.metrics.upstream_failed(upstream.name(), failure_kind(error, ctx));
    if let Some(held_back) = proxy.failures.pass(proxy.clock.now()) {
        let upstream = upstream.name();
        tracing::warn!(upstream, %error, held_back, "the upstream failed");
    }
}

/// The word of a metric for what an upstream failed by.
fn failure_kind(error: &Error, ctx: &Context) -> &'static str {
    if let Some(why) = ctx.attempts.unavailable() {
        return why.word();
    }
    match error.etype() {
        ErrorType::ConnectTimedout => "connect-timeout",
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => "timeout",
        ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
            "connect"
        }
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::InvalidCert => "tls",
        _ => "broken",
    }
}

/// The status for a request that could not be proxied; nothing if there is nobody to answer.
fn status_of(error: &Error, ctx: &Context) -> Option<StatusCode> {
    if let ErrorType::HTTPStatus(code) = error.etype() {
        return StatusCode::from_u16(*code).ok();
    }
    match (error.esource(), error.etype()) {
        // Nobody has seen the request: whoever sends it again does no harm.
        (ErrorSource::Upstream, _) if ctx.attempts.in_vain() => {
            Some(StatusCode::SERVICE_UNAVAILABLE)
        }
        (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
            Some(StatusCode::GATEWAY_TIMEOUT)
        }
        (ErrorSource::Upstream, _) => Some(StatusCode::BAD_GATEWAY),
        (
            ErrorSource::Downstream,
            ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
        ) => None,
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => Some(StatusCode::REQUEST_TIMEOUT),
        (ErrorSource::Downstream, _) => Some(StatusCode::BAD_REQUEST),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
