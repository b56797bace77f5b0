//! What a client sees of a verdict: the fields of an answer and the body of a refusal.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-10 (structured
//! field lists, RFC 9651), refusals RFC 9457 with the problem types of that draft.

pub mod accept;
pub mod answer;
pub mod fields;
pub mod grpc;
mod page;
pub mod refusal;

pub use answer::{Answer, Answers, Asked, Written};
pub use fields::FieldSettings;
pub use refusal::Refusal;
