//! Where states live: shared between gateways in Redis, or in this process.
//!
//! Both stores answer the same question (all checks of a request, all or nothing) with the same
//! semantics; one suite of tests runs against both.

pub mod answers;
pub mod breaker;
pub mod denials;
pub mod deny_cache;
pub mod instances;
pub mod local;
pub mod redis;
pub mod script;
mod value;
