//! `[meters.NAME.push]`.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::routes::unknown;
use crate::config::sections::target;
use crate::config::sections::{Definition, place};
use crate::config::value::quote;
use crate::config::{Push, Upstream};

/// Most further header fields.
const HEADERS_MAX: usize = 16;
const EVERY_MIN: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(7 * 86_400);
const EVERY_DEFAULT: Duration = Duration::from_secs(3_600);
/// Headers that the gateway writes itself, or that belong to the connection.
const OWN: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Reads the table; one that is absent says nothing.
pub(super) fn push(mut section: Section<'_>, upstreams: &[Definition<Upstream>]) -> Option<Push> {
    section.require("upstream", "\"app\"");
    section.require("path", "\"/internal/views\"");
    let upstream = section.parsed("upstream", |text| {
        place(upstreams, text).ok_or_else(|| unknown("upstream", text, upstreams))
    });
    let path = section.parsed("path", target::path);
    let every = section.duration("every", EVERY_MIN..=EVERY_MAX).unwrap_or(EVERY_DEFAULT);
    let host = section.parsed("host", target::host);
    let headers = headers(&mut section);
    section.finish();
    Some(Push { upstream: upstream?, path: path?, every, host, headers })
}

/// The further header fields. No message quotes a value: it may be a secret.
fn headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, span, text) in section.texts("headers", HEADERS_MAX) {
        let Ok(header) = HeaderName::try_from(name.as_str()) else {
            let mistake = Mistake::new(format!("not the name of a header: {}", quote(&name)))
                .help("letters, digits and `-`, as in `authorization`");
            section.error(&span, mistake);
            continue;
        };
        if OWN.contains(&header.as_str()) {
            let mistake = Mistake::new(format!("the gateway sets this header: {}", quote(&name)))
                .help("leave it out; for `host` there is a key of its own");
            section.error(&span, mistake);
            continue;
        }
        match HeaderValue::from_str(&text.value) {
            Ok(mut value) if !text.value.is_empty() => {
                value.set_sensitive(true);
                headers.push((header, value));
            }
            _ => {
                let mistake = Mistake::new(format!("not the value of the header {}", quote(&name)))
                    .help("visible ASCII characters and blanks, at least one");
                section.error(&text.span, mistake);
            }
        }
    }
    headers
}
