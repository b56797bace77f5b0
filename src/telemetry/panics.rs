//! A panic ends the request it is in; it is counted, and told in one line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Logs;

/// Characters of a panic's message that are told: some messages quote what could not be taken.
const MESSAGE_MAX: usize = 200;

/// Counts panics in `logs` from now on, and tells of them as of everything: at the rate of a kind.
pub(super) fn note(logs: Arc<Logs>) {
    set_hook(Box::new(move |panic| {
        logs.panics.fetch_add(1, Ordering::Relaxed);
        tell(panic);
    }));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let words = payload.downcast_ref::<&str>().copied();
    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message: String = words.unwrap_or("it says nothing").chars().take(MESSAGE_MAX).collect();
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    // Only with RUST_BACKTRACE: taking one is slow, and clients may be able to ask for many.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(at, panic = message, %backtrace, "a panic: the request it was in has ended");
    } else {
        tracing::error!(at, panic = message, "a panic: the request it was in has ended");
    }
}
