//! Where the gateway itself sends a request: a path and a host.

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};

use crate::config::diagnostic::Mistake;
use crate::config::value::Text;

const PATH_MAX: usize = 1024;

pub(super) fn path(text: &Text) -> Result<String, Mistake> {
    let value = text.value.as_str();
    let plain = value.starts_with('/') && value.len() <= PATH_MAX && !value.contains('#');
    if plain && value.parse::<PathAndQuery>().is_ok() {
        return Ok(value.to_owned());
    }
    Err(Mistake::new(format!("not a path to send to: {}", text.shown()))
        .help("as in `/internal/views`; it is no pattern, and has no host"))
}

pub(super) fn host(text: &Text) -> Result<HeaderValue, Mistake> {
    let authority = text.value.parse::<Authority>().ok();
    let plain = authority.filter(|authority| !authority.as_str().contains('@'));
    let value = plain.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    value.ok_or_else(|| {
        Mistake::new(format!("not a host: {}", text.shown()))
            .help("a name and perhaps a port, as in `app.internal:3000`")
    })
}
