//! How a new process takes the listening sockets over from an old one, so that no connection is
//! refused in between and none is lost if the new one fails.
//!
//! The old process listens on a Unix socket in a folder that nobody else can enter. What is said
//! there, a line each:
//!
//! ```text
//! new: sluicegate take-over 1          it wants to
//! old: sockets 127.0.0.1:8080 ...      and with that line the sockets themselves
//! new: ready                           it has read its configuration, met Redis, looked names up
//! old: go                              it has not given up waiting
//! new: serving                         it accepts
//! old: leaving                         and the old one does not any more
//! ```
//!
//! Until `serving` the old process accepts as ever, whatever becomes of the new one; from `go` on
//! both do, which loses nothing, since they share the sockets and what waits in them. Nothing else
//! is handed over: not the local table (the new process learns from Redis, as one that starts), not
//! the deny cache, not what is told to Redis at the end, for which the old one stays.

pub(super) mod folder;
mod lines;
pub(super) mod offer;
pub(super) mod predecessor;

use std::time::Duration;

use super::sockets::SOCKETS_MAX;

/// What a new process says first. The number is that of this conversation: who speaks another is
/// not talked to.
const TAKE_OVER: &str = "sluicegate take-over 1";
/// Before the addresses.
const SOCKETS: &str = "sockets";
const READY: &str = "ready";
const GO: &str = "go";
const SERVING: &str = "serving";
const LEAVING: &str = "leaving";

/// Longest line: each address has 47 bytes at most.
const LINE_MAX: usize = 64 * SOCKETS_MAX;
/// Longest wait for an answer that takes no time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new process may take to get ready: it reads files, resolves names and meets Redis.
pub(super) const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
