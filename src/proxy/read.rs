//! From the head as it came to the head that everybody reads alike.

use http::header::CONTENT_LENGTH;
use pingora_error::Result;
use pingora_proxy::Session;

use super::{Context, Proxy};
use crate::request::reading::Changes;
use crate::response::Refusal;

/// Brings the head of the request into its one form, for rules and application alike; or says why
/// there is none.
pub(super) fn read(proxy: &Proxy, session: &mut Session, ctx: &Context) -> Result<Option<Refusal>> {
    let head = session.req_header();
    match ctx.state.reading.read(head, head.raw_path()) {
        Ok(changes) => {
            proxy.metrics.headers_dropped("underscore", changes.underscores);
            change(session, &changes).map(|()| None)
        }
        Err(malformed) => {
            proxy.metrics.malformed(malformed.as_str());
            // What follows on this connection may be meant as a part of this request.
            session.set_keepalive(None);
            let message = sentence(&malformed.to_string());
            Ok(Some(Refusal::plain(malformed.status(), &message)))
        }
    }
}

fn change(session: &mut Session, changes: &Changes) -> Result<()> {
    let head = session.req_header_mut();
    for name in &changes.off {
        head.remove_header(name);
    }
    changes.length.map_or(Ok(()), |length| head.insert_header(CONTENT_LENGTH, length))
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{}.", first.map(String::from).unwrap_or_default(), letters.as_str())
}
