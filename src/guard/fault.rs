//! What is wrong with a message that no rule gets to see, and the answer to it.

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
    /// Every fault, for the series.
    pub const ALL: [Self; 19] = [
        Self::HeaderTimeout,
        Self::HeaderSize,
        Self::HeaderCount,
        Self::TargetSize,
        Self::Incomplete,
        Self::RequestLine,
        Self::Version,
        Self::HeaderName,
        Self::Folded,
        Self::BareLf,
        Self::BareCr,
        Self::Control,
        Self::ContentLength,
        Self::TransferEncoding,
        Self::TwoLengths,
        Self::Host,
        Self::Target,
        Self::Method,
        Self::Chunk,
    ];

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

    const fn status(self) -> (&'static str, &'static str) {
        match self {
            Self::HeaderTimeout => ("408 Request Timeout", "The head did not come in time."),
            Self::HeaderSize => {
                ("431 Request Header Fields Too Large", "The header fields are too large.")
            }
            Self::HeaderCount => {
                ("431 Request Header Fields Too Large", "There are too many header fields.")
            }
            Self::TargetSize => ("414 URI Too Long", "The request target is too long."),
            Self::Incomplete => ("400 Bad Request", "The head is not complete."),
            Self::RequestLine => ("400 Bad Request", "The request line is malformed."),
            Self::Version => ("400 Bad Request", "The version is neither HTTP/1.0 nor HTTP/1.1."),
            Self::HeaderName => ("400 Bad Request", "A header field has a malformed name."),
            Self::Folded => ("400 Bad Request", "A header field is folded over two lines."),
            Self::BareLf => ("400 Bad Request", "A line ends in LF without CR."),
            Self::BareCr => ("400 Bad Request", "A CR stands without LF."),
            Self::Control => ("400 Bad Request", "The head has a control byte."),
            Self::ContentLength => ("400 Bad Request", "Content-Length is not one number."),
            Self::TransferEncoding => {
                ("400 Bad Request", "Transfer-Encoding is not `chunked` alone.")
            }
            Self::TwoLengths => {
                ("400 Bad Request", "There are both Content-Length and Transfer-Encoding.")
            }
            Self::Host => ("400 Bad Request", "The request names more than one host."),
            Self::Target => ("400 Bad Request", "The request target is not a path."),
            Self::Method => ("405 Method Not Allowed", "There are no tunnels here."),
            Self::Chunk => ("400 Bad Request", "The chunks of the body are malformed."),
        }
    }

    /// The whole answer: small, fixed, and with nothing of the request in it.
    pub fn answer(self) -> String {
        let (line, detail) = self.status();
        let (code, title) = line.split_once(' ').unwrap_or((line, line));
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{code},\
             \"detail\":\"{detail}\"}}"
        );
        format!(
            "HTTP/1.1 {line}\r\nContent-Type: application/problem+json\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
