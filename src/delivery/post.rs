//! A batch as JSON, and one attempt to hand it over.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_http::RequestHeader;
use serde_json::json;
use tokio::time::timeout;

use super::Push;
use crate::store::redis::Batch;

/// Longest that an attempt may take, answer included.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);
/// Answers before the final one that are read at most.
const INTERIM_MAX: usize = 8;

/// A batch of a meter for the application.
pub fn document(meter: &str, name: &str, batch: &Batch) -> String {
    let document = json!({
        "batch": name,
        "meter": meter,
        "from": batch.from_ms,
        "until": batch.until_ms,
        "counts": batch.counts,
    });
    document.to_string()
}

/// The status that the application answered with, or why there is none.
pub(super) async fn post(
    connector: &Connector,
    push: &Push,
    name: &str,
    body: String,
) -> Result<u16, String> {
    match timeout(ATTEMPT_MAX, attempt(connector, push, name, body)).await {
        Ok(Ok(Some(status))) => Ok(status),
        Ok(Ok(None)) => Err("no server of the upstream can be asked, or it gave no status".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it did not answer in time".into()),
    }
}

async fn attempt(
    connector: &Connector,
    push: &Push,
    name: &str,
    body: String,
) -> Result<Option<u16>> {
    let upstream = &push.upstream;
    let Ok(lease) = upstream.lease(&[], false) else { return Ok(None) };
    let Some(peer) = upstream.peer(&lease) else { return Ok(None) };
    let result = send(connector, push, &peer, (name, body)).await;
    match &result {
        Ok(Some(_)) => upstream.succeeded(lease.server()),
        Ok(None) => {}
        Err(_) => upstream.failed(lease.server()),
    }
    result
}

async fn send(
    connector: &Connector,
    push: &Push,
    peer: &HttpPeer,
    (name, body): (&str, String),
) -> Result<Option<u16>> {
    let head = head(push, name, body.len())?;
    let (mut session, _) = connector.get_http_session(peer).await?;
    session.set_read_timeout(peer.options.read_timeout);
    session.set_write_timeout(peer.options.write_timeout);
    session.write_request_header(Box::new(head)).await?;
    session.write_request_body(Bytes::from(body), true).await?;
    session.finish_request_body().await?;
    for _ in 0..INTERIM_MAX {
        session.read_response_header().await?;
        let status = session.response_header().map(|head| head.status);
        if status.is_none_or(|status| !status.is_informational()) {
            // The connection is not used again: an hour lies between two batches.
            return Ok(status.map(|status| status.as_u16()));
        }
    }
    Ok(None)
}

fn head(push: &Push, name: &str, length: usize) -> Result<RequestHeader> {
    let mut head = RequestHeader::build("POST", push.path.as_bytes(), None)?;
    match &push.host {
        Some(host) => head.insert_header(HOST, host.clone())?,
        None => head.insert_header(HOST, push.upstream.host())?,
    }
    head.insert_header(CONTENT_TYPE, "application/json")?;
    head.insert_header(CONTENT_LENGTH, length)?;
    head.insert_header(USER_AGENT, concat!("sluicegate/", env!("CARGO_PKG_VERSION")))?;
    head.insert_header("idempotency-key", name)?;
    for (header, value) in &push.headers {
        head.insert_header(header.clone(), value.clone())?;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_line_of_json_in_the_order_of_its_items() {
        let counts = [("/b\"", 2), ("/a", 1)].map(|(item, count)| (item.to_owned(), count)).into();
        let batch = Batch { from_ms: 1, until_ms: 2, counts };
        assert_eq!(
            document("views", "2-0a", &batch),
            r#"{"batch":"2-0a","meter":"views","from":1,"until":2,"counts":{"/a":1,"/b\"":2}}"#
        );
    }
}
