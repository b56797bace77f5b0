//! What reads bytes of strangers, under bytes of nobody: heads and bodies of requests, the path
//! normaliser, the forwarding header, the configuration, the store's replies, and partition keys.
//!
//! `cargo test` tries the committed corpora (`__fuzz__/TARGET/corpus`) and a few thousand random
//! inputs; `make fuzz` goes on for millions, guided by what the inputs reach. `docs/security.md`
//! says what came of it. Inputs are read as text with a dictionary (`text`), so that a corpus can be
//! read and written by hand, and random bytes soon mean something.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod config;
mod forwarded;
mod guard;
mod keys;
mod path;
mod replies;
mod text;

/// Random inputs of each target in `cargo test`, unless `BOLERO_RANDOM_ITERATIONS` says otherwise.
const ITERATIONS: usize = 4_000;
