//! What a request costs under a rule: what is taken before it is forwarded, and what it has cost
//! when it is over.

use http::HeaderMap;
use http::header::TRANSFER_ENCODING;

use crate::client::Client;
use crate::limit::quota::UNITS_MAX;
use crate::request::{RequestView, content_length, one_number};

/// How a rule prices requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    /// Units where nothing below says otherwise, and of a body at least.
    pub fixed: u64,
    /// What says it before the request is forwarded.
    pub from: Option<CostFrom>,
    /// The header of the application's answer that says it in the end.
    pub settled_by: Option<String>,
}

/// Where the cost of a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CostFrom {
    /// In a header of the request, if a trusted proxy has sent it.
    Header(String),
    /// In the size of its body: one unit for each begun so many bytes.
    Body {
        /// Bytes a unit; at least 1.
        bytes: u64,
    },
}

/// What is known of a request when it is over.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The status of its answer; `None`: it got none.
    pub status: Option<u16>,
    /// The header of its answer, if the application gave one.
    pub headers: Option<&'a HeaderMap>,
    /// Bytes of its body.
    pub body: u64,
}

// === impl Pricing ===

impl Pricing {
    /// The same cost for every request.
    pub const fn fixed(units: u64) -> Self {
        Self { fixed: units, from: None, settled_by: None }
    }

    /// Units to take before the request is forwarded; zero: the rule asks for nothing.
    pub fn taken(&self, view: &RequestView<'_>, client: &Client) -> u64 {
        match &self.from {
            Some(CostFrom::Header(name)) if client.via_trusted_proxy => {
                units(view.headers(), name).unwrap_or(self.fixed)
            }
            Some(CostFrom::Body { bytes }) => {
                length(view.headers()).map_or(self.fixed, |length| self.of_body(length, *bytes))
            }
            Some(CostFrom::Header(_)) | None => self.fixed,
        }
    }

    /// Whether the cost is known only when the request is over.
    pub fn is_open(&self, view: &RequestView<'_>) -> bool {
        self.settled_by.is_some() || self.waits_for_body() && length(view.headers()).is_none()
    }

    /// What a request for which `taken` units were taken has cost.
    pub fn ended(&self, taken: u64, ended: &Ended<'_>) -> u64 {
        if let Some(said) = self.said(ended.headers) {
            return said;
        }
        match self.from {
            Some(CostFrom::Body { bytes }) => taken.max(self.of_body(ended.body, bytes)),
            Some(CostFrom::Header(_)) | None => taken,
        }
    }

    /// What the application says in the header of its answer that a request has cost.
    pub fn said(&self, headers: Option<&HeaderMap>) -> Option<u64> {
        let (name, headers) = self.settled_by.as_ref().zip(headers)?;
        units(headers, name)
    }

    /// Whether the size of the request's body matters.
    pub const fn waits_for_body(&self) -> bool {
        matches!(self.from, Some(CostFrom::Body { .. }))
    }

    fn of_body(&self, length: u64, bytes: u64) -> u64 {
        length.div_ceil(bytes).max(self.fixed).min(UNITS_MAX)
    }
}

/// The units that a header says, if it says so once and clearly.
fn units(headers: &HeaderMap, name: &str) -> Option<u64> {
    one_number(headers, name).map(|units| units.min(UNITS_MAX))
}

/// The length of the body, if the header of the request tells it.
fn length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    content_length(headers)
}
