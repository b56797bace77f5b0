//! Settlement: what a check turned out to cost when its request is over, against what was taken
//! for it before.
//!
//! What it cost more is charged on top, as far as the limit has room: a full limit is full. What it
//! cost less is given back, but only as far as it still counts. So nothing is admitted that would
//! not have been admitted had the true cost been taken at once:
//!
//! - A `token-bucket` may have paid it off first of all, from the moment when it was taken up to
//!   `until`: as far as that is still ahead it is unpaid for certain. (What a queue of debts would
//!   still owe is too much when debts ahead in it have been given back meanwhile.)
//!   What was taken for a request that was then denied elsewhere is given back as a whole: else
//!   most of it would be lost on the way. So a bucket may admit so much more than it should, for
//!   each request that is denied so at this moment.
//! - In a `sliding-window` the units are taken out of the tick in which they were counted.
//! - In a `calendar` they are taken out of the period in which they were counted.
//!
//! Not promised: that all of it is given back where the policy was reloaded with another window in
//! between, or the clock was set.

use super::algorithm::Limit;
use super::check::Check;
use super::time::{Micros, Timestamp};

/// How long it may take to give back as a whole what a denied request took from a bucket.
const UNUSED_LIFE: Micros = Micros::new(60_000_000);

/// What a charge has taken, as far as it takes to give it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When.
    pub at: Timestamp,
    /// In a calendar, the end of the period that it was counted in; of a bucket, when it may have
    /// been paid off at the earliest; else the same moment.
    pub until: Timestamp,
    /// As how many units of the whole limit each unit was counted: in a share it is dearer.
    pub dearness: u64,
}

/// What a check cost in the end.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The check, with the cost that was taken.
    pub check: Check,
    /// What was taken.
    pub receipt: Receipt,
    /// What it cost.
    pub cost: u64,
}

/// What is to be done to a state to settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Take so many units more, as far as there is room.
    Charge(u64),
    /// Give so many units of the whole limit back.
    Refund(u64, Receipt),
}

// === impl Settlement ===

impl Settlement {
    /// What is to be done; nothing if the cost is the one that was taken.
    pub const fn adjustment(&self) -> Option<Adjustment> {
        Adjustment::between(self.check.cost, self.cost, self.receipt)
    }
}

// === impl Receipt ===

impl Receipt {
    /// What it takes to give back to `limit` what no request has used.
    #[must_use]
    pub fn unused(self, limit: &Limit) -> Self {
        match limit {
            Limit::TokenBucket(_) => Self { until: self.until.after(UNUSED_LIFE), ..self },
            _ => self,
        }
    }
}

// === impl Adjustment ===

impl Adjustment {
    /// From what was taken to what it cost; nothing if that is the same.
    pub const fn between(taken: u64, cost: u64, receipt: Receipt) -> Option<Self> {
        if cost > taken {
            return Some(Self::Charge(cost - taken));
        }
        if cost == taken {
            return None;
        }
        let units = (taken - cost).saturating_mul(receipt.dearness);
        Some(Self::Refund(units, receipt))
    }
}
