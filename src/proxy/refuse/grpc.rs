//! Refusals of gRPC calls. A client takes no 429: it gets trailers only, in a 200.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora_error::Result;
use pingora_http::ResponseHeader;

use crate::response::{Refusal, grpc};

/// What a `grpc-message` escapes.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');
const STATUS: &str = "grpc-status";

/// Whether a message with these headers is gRPC's, and not that of gRPC-Web.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

pub(super) fn head(refusal: &Refusal) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(200, Some(12))?;
    head.insert_header(CONTENT_TYPE, "application/grpc")?;
    head.insert_header(CONTENT_LENGTH, 0)?;
    head.insert_header(STATUS, grpc::code(refusal).to_string())?;
    let message = utf8_percent_encode(&refusal.message, ESCAPED).to_string();
    head.insert_header("grpc-message", message)?;
    if let Some(details) = grpc::details(refusal) {
        head.insert_header("grpc-status-details-bin", details)?;
    }
    // A client that repeats calls by itself waits so long first, in milliseconds (gRFC A6).
    if let Some(seconds) = refusal.retry_after() {
        head.insert_header("grpc-retry-pushback-ms", seconds.saturating_mul(1000))?;
    }
    Ok(head)
}

/// The status of an answer: of a gRPC call that failed at once, what its code stands for. One that
/// fails later says so behind its body, when all is settled.
pub(crate) fn status_of(response: &ResponseHeader) -> u16 {
    let status = response.status.as_u16();
    let code = response.headers.get(STATUS).filter(|_| is_grpc(&response.headers));
    let code = code.and_then(|code| code.to_str().ok()?.parse::<u8>().ok());
    code.filter(|_| status == 200).map_or(status, grpc::http_status)
}
