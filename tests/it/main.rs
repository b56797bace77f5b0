//! All end-to-end tests, in one binary: real processes, real sockets, nothing shared.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::float_cmp,
    clippy::format_push_string,
    reason = "a test fails by panicking, tells what it measured, waits for processes, compares counters, and writes configurations"
)]

mod support;

mod answers;
mod applications;
mod attacks;
mod calendar;
mod cluster;
mod concurrency;
mod config;
mod connections;
mod core;
mod costs;
mod endurance;
mod evasions;
mod examples;
mod explain;
mod fallback;
mod faults;
mod grpc;
mod guard;
mod identity;
mod lies;
mod memory;
mod meters;
mod operate;
mod outage;
mod panics;
mod penalties;
mod people;
mod proxying;
mod reload;
mod replay;
mod return_to_redis;
mod rule9;
mod rules;
mod scripts;
mod sentinel;
mod services;
mod shared;
mod stop;
mod tls;
mod together;
mod traffic;
mod upgrade;
mod upstream_tls;
mod upstreams;
