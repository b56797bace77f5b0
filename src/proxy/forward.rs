//! What the application sees of the client, and the client of the verdict.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use pingora_error::{ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::{Context, State, lines, peer_address, secure};
use crate::client::{Client, is_address_claim};
use crate::identity::Identity;
use crate::response::fields::Field;

const REQUEST_ID: &str = "x-request-id";
/// Longest request id that is taken over from a trusted proxy.
const REQUEST_ID_MAX: usize = 128;
/// The application's own, older fields: it speaks of limits that we now keep.
const REPLACED: [&str; 3] = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// Headers that frame the message: naming them in `Connection` does not take them off.
const FRAMING: [&str; 5] = ["close", "content-length", "transfer-encoding", "trailer", "upgrade"];

/// The id that a trusted proxy gave the request, or a new one.
pub(super) fn request_id(client: &Client, headers: &HeaderMap) -> String {
    let given = lines(headers, REQUEST_ID).next().filter(|id| {
        client.via_trusted_proxy
            && id.len() <= REQUEST_ID_MAX
            && id.bytes().all(|b| b.is_ascii_graphic())
    });
    given.map_or_else(|| format!("{:032x}", fastrand::u128(..)), str::to_owned)
}

/// Whether the head of this answer is all of it, as far as the head says so.
pub(super) fn is_bodiless(method: &Method, response: &ResponseHeader) -> bool {
    let empty = response.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    let never = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    *method == Method::HEAD || never || empty && response.status != StatusCode::SWITCHING_PROTOCOLS
}

/// Writes who the client is into the request for the application. Headers that claim an address or
/// a user stay only if a trusted proxy sent them; those in which the gateway names the user never. This runs after Pingora has removed what the
/// client's `Connection` header names, so the client cannot remove what is set here.
pub(super) fn prepare(request: &mut RequestHeader, session: &Session, ctx: &Context) -> Result<()> {
    let trusted = ctx.client.as_ref().is_some_and(|client| client.via_trusted_proxy);
    let peer = peer_address(session).to_canonical().to_string();
    let received = &session.req_header().headers;
    let chain = match lines(received, "x-forwarded-for").collect::<Vec<_>>().join(", ") {
        chain if trusted && !chain.is_empty() => format!("{chain}, {peer}"),
        _ => peer,
    };
    let authority = session.req_header().uri.authority().map(http::uri::Authority::as_str);
    let host = lines(received, HOST.as_str()).next().or(authority).unwrap_or_default().to_owned();
    let forwarded_host = kept(received, "x-forwarded-host", trusted).unwrap_or(&host).to_owned();
    let proto = kept(received, "x-forwarded-proto", trusted);
    let proto = proto.unwrap_or(if secure::is_secure(session) { "https" } else { "http" });
    let proto = proto.to_owned();
    let identity = &ctx.state.clients.identity;
    remove_claims(request, identity, trusted);
    set_target(request, ctx)?;
    name_user(request, identity, ctx.client.as_ref())?;
    join_cookies(request)?;
    request.insert_header("x-forwarded-for", chain)?;
    request.insert_header("x-forwarded-proto", proto)?;
    if !forwarded_host.is_empty() {
        request.insert_header("x-forwarded-host", forwarded_host)?;
    }
    request.insert_header(REQUEST_ID, ctx.request_id.as_str())?;
    set_host(request, ctx)
}

/// Puts cookies that came in several lines into one, as HTTP/2 may split them and HTTP/1.1 may not
/// have them (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let lines: Vec<&[u8]> =
        request.headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if lines.len() < 2 {
        return Ok(());
    }
    let joined = lines.join(&b"; "[..]);
    request.insert_header(COOKIE, joined)
}

/// Says to the application who the user is, in place of anything that the request says itself.
fn name_user(
    request: &mut RequestHeader,
    identity: &Identity,
    client: Option<&Client>,
) -> Result<()> {
    let user = client.and_then(|client| client.user.as_deref());
    let tier = client.and_then(|client| client.tier.as_deref()).map(str::as_bytes);
    for (name, value) in [(&identity.user_header, user), (&identity.tier_header, tier)] {
        let Some(name) = name else { continue };
        request.remove_header(name.as_str());
        if let Some(value) = value {
            request.insert_header(name.clone(), value)?;
        }
    }
    Ok(())
}

/// Takes off headers like `X_User_Id`, which to a CGI-style application are `X-User-Id`, and from a
/// peer that is no trusted proxy all that belongs to proxies.
fn remove_claims(request: &mut RequestHeader, identity: &Identity, trusted: bool) {
    let known = || identity.claims().chain([REQUEST_ID]);
    let unwanted = |name: &str| {
        let plain = name.replace('_', "-");
        let claims = known().any(|claim| claim == name) || is_address_claim(name);
        let alike = known().any(|claim| claim.replace('_', "-") == plain);
        if claims { !trusted && name != REQUEST_ID } else { alike || is_address_claim(&plain) }
    };
    let names = request.headers.keys().map(http::HeaderName::as_str);
    let names: Vec<String> = names.filter(|name| unwanted(name)).map(str::to_owned).collect();
    for name in &names {
        request.remove_header(name.as_str());
    }
}

/// Gives the application a path where the client sent a whole URI, and the path in its one spelling
/// where that is asked for.
fn set_target(request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let target = request.raw_path();
    if !target.starts_with(b"/") && target != b"*" {
        request.set_uri(request.uri.clone());
    }
    let Some(path) = ctx.state.reading.forwarded(request.uri.path()) else { return Ok(()) };
    let target = match request.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let refused = || "the path in its one spelling";
    let target =
        PathAndQuery::try_from(target).or_err_with(ErrorType::InvalidHTTPHeader, refused)?;
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(target);
    let uri = Uri::from_parts(parts).or_err_with(ErrorType::InvalidHTTPHeader, refused)?;
    request.set_uri(uri);
    Ok(())
}

/// The client's `Host`, unless the route says otherwise or, in HTTP/1.0, there is none.
fn set_host(request: &mut RequestHeader, ctx: &Context) -> Result<()> {
    let preserved = ctx.route.as_ref().is_none_or(|route| route.preserve_host);
    if preserved && (request.headers.contains_key(HOST) || request.uri.authority().is_some()) {
        return Ok(());
    }
    let name = ctx.upstream().map(|upstream| upstream.host()).unwrap_or_default();
    request.insert_header(HOST, name)
}

fn kept<'a>(headers: &'a HeaderMap, name: &str, trusted: bool) -> Option<&'a str> {
    lines(headers, name).next().filter(|_| trusted)
}

/// Takes off what the application says to the next hop alone: Pingora does so for requests only.
/// What frames the message (`Transfer-Encoding`, `Upgrade`, `Connection` itself) is Pingora's.
pub(super) fn end_hop(response: &mut ResponseHeader) {
    let named: Vec<String> = lines(&response.headers, CONNECTION.as_str())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !FRAMING.contains(&name.as_str()))
        .collect();
    for name in named.iter().map(String::as_str).chain(["keep-alive", "proxy-connection"]) {
        response.remove_header(name);
    }
}

/// Takes off what the application says of costs: it is for nobody but the gateway.
pub(super) fn keep_costs(response: &mut ResponseHeader, state: &State) {
    for name in state.rules.cost_headers() {
        response.remove_header(name.as_str());
    }
}

/// Adds the fields to the application's answer. Its own `RateLimit` lists stay in front of ours.
pub(super) fn add_fields(response: &mut ResponseHeader, fields: Vec<Field>) -> Result<()> {
    if fields.iter().any(|(name, _)| REPLACED.contains(name)) {
        for name in REPLACED {
            response.remove_header(name);
        }
    }
    for (name, value) in fields {
        response.append_header(name, value)?;
    }
    Ok(())
}
