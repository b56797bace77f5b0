//! From the listeners without TLS to those with it.
//!
//! Such an answer costs less than its decision would: no limit concerns it, and it has no route.

use std::net::IpAddr;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HOST, HeaderValue, LOCATION};
use http::request::Parts;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::{Context, Proxy, State, lines, refuse, secure};
use crate::request::reading::bare_host;
use crate::response::Refusal;

/// Where authorities look whether a host is its owner's (RFC 8555, section 8.3): without TLS, since
/// there may be no certificate yet.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
const HTTPS_PORT: u16 = 443;
/// The same method again, with the same body.
const PERMANENT: u16 = 308;

/// The port to which the request is sent instead of being answered; nothing if it is answered.
pub(super) fn port(session: &Session, peer: IpAddr, state: &State) -> Option<u16> {
    let port = state.redirect?;
    let head = session.req_header();
    let stays =
        secure::is_secure(session) || is_challenge(head, state) || came_secure(head, peer, state);
    (!stays).then_some(port)
}

fn is_challenge(head: &Parts, state: &State) -> bool {
    let spelled = state.reading.spelling.normalise(head.uri.path());
    spelled.is_ok_and(|path| path.starts_with(CHALLENGES))
}

/// Sends it there, on a connection that stays open if the request's body is small.
pub(super) async fn answer(
    proxy: &Proxy,
    session: &mut Session,
    ctx: &mut Context,
    port: u16,
) -> Result<()> {
    let head = session.req_header();
    let Some(location) = target(head, head.raw_path(), port) else {
        let refusal = Refusal::plain(StatusCode::BAD_REQUEST, "The Host header names no host.");
        return refuse::answer(proxy, session, ctx, &refusal).await;
    };
    if !refuse::drained(session).await {
        session.set_keepalive(None);
    }
    let mut head = ResponseHeader::build(PERMANENT, Some(4))?;
    head.insert_header(LOCATION, location)?;
    head.insert_header(CONTENT_LENGTH, 0)?;
    // A browser that keeps it would not ask again when it is no longer so.
    head.insert_header(CACHE_CONTROL, "no-store")?;
    session.write_response_header(Box::new(head), true).await
}

/// Whether a trusted proxy says that the client spoke TLS to it: sent away, it would come again.
fn came_secure(head: &Parts, peer: IpAddr, state: &State) -> bool {
    let client = state.clients.locate(peer, &head.headers);
    let proto = lines(&head.headers, "x-forwarded-proto").next();
    client.via_trusted_proxy && proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

/// The same target with TLS. A request that names no host cannot be sent anywhere.
fn target(head: &Parts, path: &[u8], port: u16) -> Option<HeaderValue> {
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let host = bare_host(named.or_else(|| lines(&head.headers, HOST.as_str()).next())?);
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let mut location = format!("https://{host}").into_bytes();
    if port != HTTPS_PORT {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    let own = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // An absolute target has its path behind the host.
    let path = if path.starts_with(b"/") { path } else { own.as_bytes() };
    location.extend_from_slice(if path.starts_with(b"/") { path } else { b"/" });
    HeaderValue::from_bytes(&location).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(target_: &str, host: Option<&str>, port: u16) -> Option<String> {
        let mut request = http::Request::builder().uri(target_);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let location = target(&head, target_.as_bytes(), port)?;
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_same_target_with_another_scheme() {
        for (target, host, port, location) in [
            ("/a?b=c", "Example.ORG", 443, "https://example.org/a?b=c"),
            ("/", "example.org:8080", 8443, "https://example.org:8443/"),
            ("//evil.example/x", "example.org", 443, "https://example.org//evil.example/x"),
            ("/", "[::1]:80", 443, "https://[::1]/"),
            ("http://example.org/a?b", "example.org", 443, "https://example.org/a?b"),
            ("*", "example.org", 443, "https://example.org/"),
        ] {
            assert_eq!(sent(target, Some(host), port).as_deref(), Some(location), "{target}");
        }
        assert_eq!(sent("/", None, 443), None, "to no host");
        assert_eq!(sent("/", Some(""), 443), None, "to no host");
    }
}
