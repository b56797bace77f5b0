//! What is wrong with a message that no rule gets to see, and the answer to it.

use http::StatusCode;
use serde_json::json;

/// Why a message is not taken. Each is answered once, and the connection closed: where a message
/// ends that cannot be read nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The head did not come in time.
    HeaderTimeout,
    /// The head is larger than `server.max_header_size`.
    HeaderSize,
    /// There are more header fields than `server.max_headers`.
    HeaderCount,
    /// The target is longer than `server.max_target_size`.
    TargetSize,
    /// The client closed in the middle of the head.
    Incomplete,
    /// The line is no method, target and version.
    RequestLine,
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    Version,
    /// A name of a header field is none, or a space stands before its colon.
    HeaderName,
    /// A header field goes on in a second line, which some read and others do not.
    Folded,
    /// A line ends in LF without CR.
    BareLf,
    /// A CR stands without LF.
    BareCr,
    /// A control byte.
    Control,
    /// `Content-Length` is no number, or several that differ.
    ContentLength,
    /// `Transfer-Encoding` is not `chunked` alone, or comes with HTTP/1.0.
    TransferEncoding,
    /// Both of them.
    TwoLengths,
    /// There are two `Host`, or the target names another host.
    Host,
    /// The target has a sign that may not stand there.
    Target,
    /// A tunnel is asked for.
    Method,
    /// A chunk's size or end, or a trailer field, is malformed or too long.
    Chunk,
}

// === impl Fault ===

impl Fault {
    /// The word of a metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::HeaderTimeout => "header-timeout",
            Self::HeaderSize => "header-size",
            Self::HeaderCount => "header-count",
            Self::TargetSize => "target-size",
            Self::Incomplete => "incomplete",
            Self::RequestLine => "request-line",
            Self::Version => "version",
            Self::HeaderName => "header-name",
            Self::Folded => "folded",
            Self::BareLf => "bare-lf",
            Self::BareCr => "bare-cr",
            Self::Control => "control",
            Self::ContentLength => "content-length",
            Self::TransferEncoding => "transfer-encoding",
            Self::TwoLengths => "two-lengths",
            Self::Host => "host",
            Self::Target => "target",
            Self::Method => "method",
            Self::Chunk => "chunk",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::HeaderTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeaderSize | Self::HeaderCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetSize => StatusCode::URI_TOO_LONG,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::HeaderTimeout => "The head did not come in time.",
            Self::HeaderSize => "The header fields are too large.",
            Self::HeaderCount => "There are too many header fields.",
            Self::TargetSize => "The request target is too long.",
            Self::Incomplete => "The head is not complete.",
            Self::RequestLine => "The request line is malformed.",
            Self::Version => "The version is neither HTTP/1.0 nor HTTP/1.1.",
            Self::HeaderName => "A header field has a malformed name.",
            Self::Folded => "A header field is folded over two lines.",
            Self::BareLf => "A line ends in LF without CR.",
            Self::BareCr => "A CR stands without LF.",
            Self::Control => "The head has a control byte.",
            Self::ContentLength => "Content-Length is not one number.",
            Self::TransferEncoding => "Transfer-Encoding is not `chunked` alone.",
            Self::TwoLengths => "There are both Content-Length and Transfer-Encoding.",
            Self::Host => "The request names more than one host.",
            Self::Target => "The request target is not a path.",
            Self::Method => "There are no tunnels here.",
            Self::Chunk => "The chunks of the body are malformed.",
        }
    }

    /// The whole answer: small, fixed, and with nothing of the request in it.
    pub fn answer(self) -> String {
        let status = self.status();
        let body = format!(
            "{}\n",
            json!({
                "type": "about:blank",
                "title": status.canonical_reason(),
                "status": status.as_u16(),
                "detail": self.detail(),
            })
        );
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_and_says_how_long_it_is() {
        let answer = Fault::TransferEncoding.answer();
        assert_eq!(
            answer,
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n\
             Content-Length: 111\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n\
             {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\
             \"detail\":\"Transfer-Encoding is not `chunked` alone.\"}\n"
        );
    }
}
