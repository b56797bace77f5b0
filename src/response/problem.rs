//! The body of a refusal, and of every other answer that the gateway gives by itself.

use http::StatusCode;
use serde_json::{Value, json};

use super::fields::retry_after_secs;
use crate::limit::Verdict;
use crate::limit::decision::Ruling;

/// Problem types of the `RateLimit` draft.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// How the bodies of refusals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `application/problem+json`.
    Problem,
    /// The message alone, as plain text.
    Text,
}

/// An answer that the gateway gives instead of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// The sentence for people, also the `grpc-message`.
    pub message: String,
}

// === impl Refusal ===

impl Refusal {
    /// The refusal that `verdict` calls for; nothing if the request passes.
    pub fn of(verdict: &Verdict, body: Body) -> Option<Self> {
        let (kind, title) = match verdict.ruling {
            Ruling::Pass => return None,
            Ruling::Deny => (QUOTA_EXCEEDED, "Quota exceeded"),
            Ruling::Unavailable => (REDUCED_CAPACITY, "Temporarily reduced capacity"),
        };
        let policy = &verdict.longest_denial()?.policy;
        let (status, message) = match verdict.ruling {
            Ruling::Unavailable => (503, "Limits cannot be checked at present; try again later."),
            Ruling::Deny | Ruling::Pass => (policy.status, policy.message.as_str()),
        };
        let mut violated: Vec<&str> = Vec::new();
        for outcome in verdict.denials() {
            if !violated.contains(&outcome.policy.name.as_str()) {
                violated.push(&outcome.policy.name);
            }
        }
        let mut problem = json!({
            "type": kind,
            "title": title,
            "status": status,
            "detail": message,
            "violated-policies": violated,
        });
        if let Some(seconds) = retry_after_secs(verdict) {
            problem["retry-after"] = Value::from(seconds);
        }
        Some(Self::new(status, message, &problem, body))
    }

    /// An answer about a request that no verdict refused: no such route, the application away.
    pub fn plain(status: StatusCode, message: &str, body: Body) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let problem = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "detail": message,
        });
        Self::new(status.as_u16(), message, &problem, body)
    }

    fn new(status: u16, message: &str, problem: &Value, body: Body) -> Self {
        let message = message.to_owned();
        match body {
            Body::Problem => Self {
                status,
                content_type: "application/problem+json",
                body: format!("{problem}\n"),
                message,
            },
            Body::Text => Self {
                status,
                content_type: "text/plain; charset=utf-8",
                body: format!("{message}\n"),
                message,
            },
        }
    }
}
