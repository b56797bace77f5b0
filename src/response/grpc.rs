//! What a gRPC client gets besides a status: the details of an error, as gRPC's own services send
//! them, and a wait that clients keep by themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::refusal::Refusal;

/// The type of the one detail there is.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// Protocol Buffers: the kind of a field, in the three low bits of its number.
const VARINT: u8 = 0;
const BYTES: u8 = 2;

/// gRPC's own codes for what the gateway refuses. Whatever status a policy gives its refusals, to
/// gRPC it is an exhausted resource.
pub fn code(refusal: &Refusal) -> u8 {
    match refusal.status {
        _ if refusal.exceeds_quota() => 8, // RESOURCE_EXHAUSTED
        400 | 500 => 13,                   // INTERNAL
        401 => 16,                         // UNAUTHENTICATED
        403 => 7,                          // PERMISSION_DENIED
        404 => 12,                         // UNIMPLEMENTED
        502 | 503 => 14,                   // UNAVAILABLE
        408 | 504 => 4,                    // DEADLINE_EXCEEDED
        _ => 8,                            // RESOURCE_EXHAUSTED
    }
}

/// The status that a code stands for, as everybody maps them: what counts as a failure in HTTP does
/// in gRPC. An unknown code is one of the application's own making.
pub fn http_status(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,          // CANCELLED
        3 | 9 | 11 => 400, // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
        4 => 504,          // DEADLINE_EXCEEDED
        5 => 404,          // NOT_FOUND
        6 | 10 => 409,     // ALREADY_EXISTS, ABORTED
        7 => 403,          // PERMISSION_DENIED
        8 => 429,          // RESOURCE_EXHAUSTED
        12 => 501,         // UNIMPLEMENTED
        14 => 503,         // UNAVAILABLE
        16 => 401,         // UNAUTHENTICATED
        _ => 500,          // UNKNOWN, INTERNAL, DATA_LOSS
    }
}

/// `grpc-status-details-bin`: a `google.rpc.Status` with a `RetryInfo`, where a wait is known.
pub fn details(refusal: &Refusal) -> Option<String> {
    let seconds = refusal.retry_after()?;
    let delay = number(1, seconds);
    let info = bytes(1, &delay);
    let any = [bytes(1, RETRY_INFO.as_bytes()), bytes(2, &info)].concat();
    let code = number(1, u64::from(code(refusal)));
    let status = [code, bytes(2, refusal.message.as_bytes()), bytes(3, &any)].concat();
    Some(STANDARD_NO_PAD.encode(status))
}

fn number(field: u8, value: u64) -> Vec<u8> {
    let mut out = vec![field << 3 | VARINT];
    varint(&mut out, value);
    out
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | BYTES];
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// Seven bits a byte, the lowest first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
