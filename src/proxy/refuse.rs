//! Answers that the gateway gives instead of the application.

pub(super) mod grpc;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use pingora_core::protocols::http::ServerSession as HttpSession;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::timeout;

use super::{Context, Proxy, cors, fail, lines, secure};
use crate::request::content_length;
use crate::response::{Asked, Refusal, Written};

/// Most bytes of an unread request body that are read to keep the connection; with more to come
/// the connection is closed.
const DRAIN_MAX: usize = 64 * 1024;
/// What goes with a 401 (RFC 6750): that the credential is not valid, and not why.
const CHALLENGE: &str = "Bearer error=\"invalid_token\"";
/// Longest time that this may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers with `refusal`, on a connection that stays open if the request's body is small.
pub(super) async fn answer(
    proxy: &Proxy,
    session: &mut Session,
    ctx: &mut Context,
    refusal: &Refusal,
) -> Result<()> {
    // A stream of HTTP/2 has no rest that would be in the way of others.
    let alone = session.req_header().version == Version::HTTP_2;
    if !alone && !drained(session).await {
        // A body that cannot be read is counted, whatever its request is refused for.
        fail::spoiled(proxy, session);
        session.set_keepalive(None);
    }
    write(proxy, session, ctx, refusal).await
}

/// Writes `refusal` with the fields of the verdict, if there is one. What is open is settled by its
/// status before, whatever that becomes for the client: to gRPC all of them are 200.
pub(super) async fn write(
    proxy: &Proxy,
    session: &mut Session,
    ctx: &mut Context,
    refusal: &Refusal,
) -> Result<()> {
    ctx.settle(proxy, Some(refusal.status));
    if proxy.draining.load(Ordering::Relaxed) {
        session.set_keepalive(None);
    }
    let request = session.req_header();
    let by_grpc = grpc::is_grpc(&request.headers);
    let bodiless = by_grpc || request.method == Method::HEAD;
    let (mut head, body) = if by_grpc {
        (grpc::head(refusal)?, String::new())
    } else {
        let accept = joined(request);
        let (request_id, path) = (&ctx.request_id, request.uri.path());
        let asked = Asked { accept: accept.as_deref(), request_id, path };
        let written = ctx.state.answers.write(refusal, &asked);
        proxy.note_body(written.fault.as_deref());
        (http_head(refusal, &written)?, written.body)
    };
    head.insert_header(CACHE_CONTROL, "no-store")?;
    if let Some(seconds) = refusal.own_wait() {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    let verdict = ctx.verdict.as_ref();
    let fields = verdict.map(|verdict| ctx.state.answers.fields(verdict)).unwrap_or_default();
    for (name, value) in &fields {
        head.append_header(*name, value.as_str())?;
    }
    secure::promise(&mut head, session, &ctx.state)?;
    cors::permit(&mut head, &request.headers, &ctx.state.cors, &fields)?;
    if ctx.forgery && refusal.status == StatusCode::UNAUTHORIZED.as_u16() {
        head.insert_header(WWW_AUTHENTICATE, CHALLENGE)?;
    }
    if bodiless {
        return write_alone(session, head).await;
    }
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(Bytes::from(body)), true).await
}

/// Writes a head that is the whole answer. Over HTTP/2 its frame says so itself: a gRPC client takes
/// an end in a frame of its own for a broken call.
async fn write_alone(session: &mut Session, head: ResponseHeader) -> Result<()> {
    match session.as_mut() {
        HttpSession::H2(stream) => stream.write_response_header(Box::new(head), true),
        _ => session.write_response_header(Box::new(head), true).await,
    }
}

/// All `Accept` lines as one, as HTTP joins them; nothing without any.
fn joined(request: &Parts) -> Option<String> {
    let lines: Vec<&str> = lines(&request.headers, ACCEPT.as_str()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn http_head(refusal: &Refusal, written: &Written) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(refusal.status, Some(12))?;
    head.insert_header(CONTENT_TYPE, written.content_type)?;
    head.insert_header(CONTENT_LENGTH, written.body.len())?;
    if written.by_accept {
        head.insert_header(VARY, "Accept")?;
    }
    Ok(head)
}

/// Reads what little is left of the request. False if there is too much or it does not come; a
/// client that waits for a `100 Continue` sends nothing and is not waited for.
pub(super) async fn drained(session: &mut Session) -> bool {
    if session.is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    let long = content_length(headers).is_some_and(|length| length > DRAIN_MAX as u64);
    if headers.contains_key(EXPECT) || long {
        return false;
    }
    timeout(DRAIN_TIMEOUT, read_up_to_max(session)).await.unwrap_or(false)
}

async fn read_up_to_max(session: &mut Session) -> bool {
    let mut read = 0;
    while read <= DRAIN_MAX {
        match session.read_request_body().await {
            Ok(Some(chunk)) => read += chunk.len(),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
    false
}
