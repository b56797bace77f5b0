//! What goes on for long, or comes in masses: a flood, a long outage, a spray of keys.

mod flood;
mod outage;
mod spray;

/// Whether this is `make soak`, which asks for all of it.
fn soaking() -> bool {
    std::env::var_os("SLUICEGATE_SOAK").is_some()
}
