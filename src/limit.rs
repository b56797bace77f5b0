//! The pure core: what a limit is, and what it decides.
//!
//! Nothing here performs I/O, awaits, locks or reads a clock (but for
//! [`time::SystemClock`], which only the composition root makes). Every function is handed the
//! time and the stored state and returns values. The Lua scripts in `lua/` are the same functions
//! written a second time; a property test holds the two equal.
//!
//! Reading order: [`time`], [`quota`], the algorithms, [`ban`], then [`policy`], [`check`] and
//! [`decision`], which put them together.

pub mod algorithm;
pub mod ban;
pub mod calendar;
pub mod check;
pub mod concurrency;
pub mod decision;
pub mod policy;
pub mod quota;
pub mod settlement;
pub mod sliding_window;
pub mod standing;
pub mod time;
pub mod token_bucket;

pub use algorithm::Limit;
pub use ban::Ban;
pub use check::{Check, Key};
pub use concurrency::{Concurrency, Offer, PermitId};
pub use decision::{Decision, Provenance, Retry, Verdict};
pub use policy::{Mode, OnStoreError, Policy};
pub use quota::{LimitError, Quota};
pub use settlement::{Receipt, Settlement};
pub use standing::{Standing, State};
pub use time::{Clock, Micros, SystemClock, Timestamp};
