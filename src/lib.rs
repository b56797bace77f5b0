//! Sluicegate: a rate-limiting gateway.
//!
//! Modules stand in the order in which a request meets them: what a limit is, who asks, which
//! limits apply, who decides, what comes back; then the rim that does it all over sockets.
//! `ARCHITECTURE.md` is the map; `limit`, `limiter` and `proxy` together are the program.

pub mod limit;

pub mod client;
pub mod identity;
pub mod meter;
pub mod request;
pub mod rules;

pub mod body;
pub mod cli;
pub mod config;

pub mod limiter;
pub mod metering;
pub mod store;
pub mod upstream;

pub mod metrics;
pub mod response;
pub mod telemetry;

pub mod admin;
pub mod batches;
pub mod delivery;
pub mod demo;
pub mod explain;
pub mod guard;
pub mod proxy;
pub mod reload;
pub mod replay;
pub mod server;
pub mod tls;
