//! `token-bucket`: GCRA, the generic cell rate algorithm, in exact rational arithmetic.
//!
//! Source: ITU-T I.371, annex A ("virtual scheduling"). The state of a key is one moment, the
//! theoretical arrival time (TAT): when the bucket will be full again. A check of cost `c` is
//! admitted if the debt `TAT - now`, grown by `c` emission intervals `T = window / quota`, stays
//! within `burst * T`.
//!
//! `T` is rarely a whole number of microseconds, so debts are counted in parts of a microsecond:
//! with `T = numerator / denominator` in lowest terms, one part is `1 / denominator` us, and a
//! unit costs `numerator` parts. Everything stays an integer below 2^53, exact here and in Lua.
//!
//! The state says in which rate it was written. A debt is so many units: under another rate it stays
//! as many, rounded up by less than 1/128 of one, whatever time it takes to pay them off. Else who is told
//! "100 an hour" instead of "100 a minute" would find the minute's debt to be next to nothing.
//!
//! Promise: in any span `t`, at most `burst + t * quota / window` units are admitted; within one
//! window that can be `burst + quota`. Who needs a hard cap per window takes `sliding-window`.

use super::quota::{LimitError, Quota, UNITS_MAX};
use super::time::{Micros, Timestamp};

/// Lua's largest exact integer; no debt grows beyond it.
const EXACT_MAX: u128 = 1 << 53;

/// Of a unit, what another rate made of it is exact to so many parts.
const PARTS_OF_UNIT: u128 = 256;

/// The rate and the burst of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    quota: Quota,
    burst: u64,
    rate: Rate,
    cap: u64,
    shares: u64,
}

/// What a store keeps for a key: when the bucket will be full, to the part of a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tat {
    /// Whole microseconds since the epoch.
    pub at: Timestamp,
    /// Parts of a microsecond on top, in the denominator of the policy that wrote them.
    pub parts: u64,
    /// The rate of that policy.
    pub rate: Rate,
}

/// How long a unit takes to come back: `numerator / denominator` microseconds, in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Parts that a unit costs.
    pub numerator: u64,
    /// Parts in a microsecond. Neither is zero.
    pub denominator: u64,
}

/// A key's debt at one moment, in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debt {
    parts: u64,
    /// The stored TAT lay further ahead than the burst allows: the clock stepped back, or the
    /// burst was lowered. It has been cut to a full debt, and is to be written even on a denial.
    pub repaired: bool,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// A bucket of `burst` units, refilled at `quota`.
    pub fn new(quota: Quota, burst: u64) -> Result<Self, LimitError> {
        if burst == 0 || burst > UNITS_MAX {
            return Err(LimitError::Burst(burst));
        }
        let divisor = gcd(quota.window().get(), quota.units());
        let numerator = quota.window().get() / divisor;
        // A full debt and one more burst on top of it must both be exact.
        let cap = u128::from(burst) * u128::from(numerator);
        let cap_max = EXACT_MAX / 2;
        if cap > cap_max {
            let burst_max = (cap_max / u128::from(numerator)) as u64;
            return Err(LimitError::Inexact { burst_max });
        }
        let rate = Rate { numerator, denominator: quota.units() / divisor };
        Ok(Self { quota, burst, rate, cap: cap as u64, shares: 1 })
    }

    /// One of `shares` equal shares of this bucket: the same debt, but a unit costs as much as
    /// `shares` units. So a state of the whole bucket is a state of the share, and what all shares
    /// admit from it is no more than the whole would. Who asks for more than the share, and for no
    /// more than the burst, is admitted by an empty bucket.
    #[must_use]
    pub const fn among(mut self, shares: u64) -> Self {
        self.shares = shares;
        self
    }

    /// The same limit with `units` a window, and the burst in the same ratio to them.
    pub fn with_units(&self, units: u64) -> Result<Self, LimitError> {
        let ratio = u128::from(units) * u128::from(self.burst);
        let burst = (ratio / u128::from(self.quota.units())).clamp(1, u128::from(UNITS_MAX) + 1);
        let bucket = Self::new(Quota::new(units, self.quota.window())?, burst as u64)?;
        Ok(bucket.among(self.shares))
    }

    /// The sustained rate.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Between how many the bucket is shared.
    pub const fn shares(&self) -> u64 {
        self.shares
    }

    /// Most units admitted at one instant.
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// Parts a unit costs, parts in a microsecond, parts of a full debt: what the script is told.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.rate.numerator, self.rate.denominator, self.cap]
    }

    /// How long a unit takes to come back.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The debt that `stored` amounts to at `now`.
    pub fn read(&self, stored: Option<&Tat>, now: Timestamp) -> Debt {
        let Some(tat) = stored else { return Debt { parts: 0, repaired: false } };
        let mut debt = u128::try_from(tat.debt(now)).unwrap_or(0);
        if tat.rate != self.rate {
            debt = self.converted(debt, tat.rate);
        }
        let worst = self.cap * self.shares;
        if debt > u128::from(worst) {
            return Debt { parts: worst, repaired: true };
        }
        Debt { parts: debt as u64, repaired: false }
    }

    /// A debt in parts of `rate` in parts of this one's: as many units, rounded up.
    fn converted(&self, debt: u128, rate: Rate) -> u128 {
        if debt >= EXACT_MAX {
            // No policy has such a debt: the clock stepped back.
            return u128::MAX;
        }
        let (was, is) = (u128::from(rate.numerator), u128::from(self.rate.numerator));
        let fraction = (debt % was * PARTS_OF_UNIT).div_ceil(was);
        debt / was * is + (fraction * is).div_ceil(PARTS_OF_UNIT)
    }

    /// Whether `cost` more units fit.
    pub const fn has_room(&self, debt: &Debt, cost: u64) -> bool {
        cost <= self.burst && debt.parts + self.room_for(cost) <= self.cap
    }

    /// The debt after `cost` more units. Only for a cost that [`Self::has_room`] for.
    pub const fn charge(&self, debt: &mut Debt, cost: u64) {
        debt.parts += self.price(cost);
    }

    /// The debt after `cost` more units, or a full one if that is less.
    pub fn fill(&self, debt: &mut Debt, cost: u64) {
        let full = self.cap.max(debt.parts);
        debt.parts = debt.parts.saturating_add(self.price(cost)).min(full);
    }

    /// The debt without `units` units of the whole bucket, of a charge that may be paid off in
    /// `ahead`, as far as it is not.
    pub fn refund(&self, debt: &mut Debt, units: u64, ahead: Micros) {
        let unpaid = ahead.get().saturating_mul(self.rate.denominator);
        let given_back = units.saturating_mul(self.rate.numerator).min(unpaid);
        debt.parts = debt.parts.saturating_sub(given_back);
    }

    /// When `cost` units that are charged at `now` are paid off if they are the first to be.
    pub const fn paid_off(&self, cost: u64, now: Timestamp) -> Timestamp {
        now.after(Micros::new(self.price(cost) / self.rate.denominator))
    }

    /// What to store for `debt`.
    pub const fn state(&self, debt: &Debt, now: Timestamp) -> Tat {
        Tat {
            at: now.after(Micros::new(debt.parts / self.rate.denominator)),
            parts: debt.parts % self.rate.denominator,
            rate: self.rate,
        }
    }

    /// Units admitted at once, now.
    pub const fn remaining(&self, debt: &Debt) -> u64 {
        let units = self.cap.saturating_sub(debt.parts) / self.price(1);
        if units == 0 && debt.parts == 0 { 1 } else { units }
    }

    /// Time until `cost` units fit; `None` if they never will.
    pub const fn retry_after(&self, debt: &Debt, cost: u64) -> Option<Micros> {
        if cost > self.burst {
            return None;
        }
        let over = (debt.parts + self.room_for(cost)).saturating_sub(self.cap);
        Some(Micros::new(over.div_ceil(self.rate.denominator)))
    }

    /// Time until one more unit is there than now; zero when the bucket is full.
    pub const fn reset_after(&self, debt: &Debt) -> Micros {
        let next = self.remaining(debt) + 1;
        let over = (debt.parts + self.room_for(next)).saturating_sub(self.cap);
        Micros::new(over.div_ceil(self.rate.denominator))
    }

    /// Time until nothing is left of `debt`.
    pub const fn empty_after(&self, debt: &Debt) -> Micros {
        Micros::new(debt.parts.div_ceil(self.rate.denominator))
    }

    /// The share of the bucket that is used, in millionths.
    pub const fn used_share(&self, debt: &Debt) -> u64 {
        (debt.parts as u128 * 1_000_000 / self.cap as u128) as u64
    }

    /// The larger of two debts.
    pub fn worse(a: Debt, b: Debt) -> Debt {
        Debt { parts: a.parts.max(b.parts), repaired: a.repaired || b.repaired }
    }

    /// `debt` and besides what `later` was charged beyond `earlier`, counted as one of `parts`.
    pub fn carry(&self, debt: Debt, earlier: Debt, later: Debt, parts: u64) -> Debt {
        let charged = later.parts.saturating_sub(earlier.parts).div_ceil(parts);
        Debt { parts: (debt.parts + charged).min(self.cap * self.shares), ..debt }
    }

    /// Parts that `cost` units cost.
    const fn price(&self, cost: u64) -> u64 {
        cost.saturating_mul(self.rate.numerator).saturating_mul(self.shares)
    }

    /// Parts that must be free for `cost` units: their price, or the whole bucket if that is less.
    const fn room_for(&self, cost: u64) -> u64 {
        let price = self.price(cost);
        if price < self.cap { price } else { self.cap }
    }
}

// === impl Tat ===

impl Tat {
    /// What is still to be paid off at `now`, in parts of its own rate; negative if that is over.
    fn debt(&self, now: Timestamp) -> i128 {
        // A fraction that this denominator cannot have comes from another quota: round it up.
        let whole = self.parts >= self.rate.denominator;
        let (at, parts) =
            if whole { (self.at.after(Micros::new(1)), 0) } else { (self.at, self.parts) };
        let ahead = i128::from(at.as_micros()) - i128::from(now.as_micros());
        ahead * i128::from(self.rate.denominator) + i128::from(parts)
    }
}

// === impl Debt ===

impl Debt {
    /// Parts of a microsecond.
    pub const fn parts(&self) -> u64 {
        self.parts
    }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
