//! The configuration: what is read, and what is said of every mistake.

mod invalid;
mod meters;
mod mutated;
mod secrets;
mod tls;
mod topologies;
mod upstreams;
mod valid;

use sluicegate::config::{Config, Problem, Problems};

/// Everything that can be said, and nothing at its default; but for `[store.tls]`, which names files
/// that have to be there.
const FULL: &str = include_str!("config/full.toml");

/// Reads `text` as `gateway.toml`, in an environment of `variables`.
fn parse(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Vec<Problem>), Problems> {
    let env = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Config::parse(text, "gateway.toml", &env, 7)
}
