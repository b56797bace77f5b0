//! `[meters.NAME]`: what is counted, and how the application gets the counts.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::meter::Meter;

/// A meter, and where its counts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// What is counted.
    pub meter: Meter,
    /// Where batches are sent; `None`: they are taken by the command line.
    pub push: Option<Push>,
}

/// `[meters.NAME.push]`: where batches are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The place of the upstream among all upstreams.
    pub upstream: usize,
    /// The path, perhaps with a query.
    pub path: String,
    /// How often.
    pub every: Duration,
    /// The host; `None`: the upstream's own.
    pub host: Option<HeaderValue>,
    /// Further header fields. Their values are sensitive: `Debug` does not show them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}
