//! `calendar`: a quota over one period of the calendar, a day or a month, that begins anew with the
//! next one.
//!
//! Which period a moment lies in takes a time zone and is not decided here: whoever makes a check
//! hands in the limit of the present period. Near its edge `now` may lie some milliseconds outside
//! of it; the period that was handed in decides then.
//!
//! State: the period that was counted in, and the units. An earlier period says nothing any more.
//! A period that overlaps the present one without being the same was counted under another calendar
//! (a changed window or time zone): all its units count in the present period, so nobody gets a
//! fresh quota, and it is written so, so that they count in no other.
//!
//! Promise: at most the quota within one period, and nobody is shut out longer than one period and
//! [`SKEW`], however the clock is set. Over the edge of two periods it can be twice the
//! quota within a short time: who needs a hard cap in any window takes `sliding-window`.

use std::cmp::Ordering;

use super::quota::{LimitError, Quota, WINDOW_MAX};
use super::time::{Micros, Timestamp};

/// What gateways may differ in their idea of the clock. A later period that begins within this time
/// has been begun by one that is a little ahead; if it begins later, the clock was set back. An
/// earlier period that lasts longer than this is not over: the gateway that says so is wrong.
pub const SKEW: Micros = Micros::new(10_000_000);
/// Lua's largest exact integer is one more. What no longer fits is far beyond every quota: full is
/// full.
pub const COUNT_MAX: u64 = (1 << 53) - 1;

/// The quota over one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    quota: Quota,
    period: Period,
    shares: u64,
}

/// From a moment up to another, which is no part of it. Both are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment of the next.
    pub end: Timestamp,
}

/// What a store keeps for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The period that was counted in.
    pub period: Period,
    /// The units admitted in it.
    pub units: u64,
}

/// The units that count at one moment, and in which period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    period: Period,
    used: u64,
    /// The stored period was another one. Its units have been moved to the present one, and that is
    /// to be written even on a denial.
    pub repaired: bool,
}

// === impl Period ===

impl Period {
    /// A period; its ends are whole seconds, and it is not empty and no longer than 366 days.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self, LimitError> {
        let whole = |at: Timestamp| at.as_micros().is_multiple_of(Micros::SECOND.get());
        if start < end && end.since(start) <= WINDOW_MAX && whole(start) && whole(end) {
            return Ok(Self { start, end });
        }
        Err(LimitError::Period { start, end })
    }

    /// Whether `at` lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        (self.start..self.end).contains(&at)
    }
}

// === impl Calendar ===

impl Calendar {
    /// `units` in `period`.
    pub fn new(units: u64, period: Period) -> Result<Self, LimitError> {
        let quota = Quota::new(units, period.end.since(period.start))?;
        Ok(Self { quota, period, shares: 1 })
    }

    /// The same quota over another period.
    pub fn over(&self, period: Period) -> Result<Self, LimitError> {
        Self::new(self.quota.units(), period)
    }

    /// The same limit with `units` a period.
    pub fn with_units(&self, units: u64) -> Result<Self, LimitError> {
        Ok(Self { quota: Quota::new(units, self.quota.window())?, ..*self })
    }

    /// The period.
    pub const fn period(&self) -> &Period {
        &self.period
    }

    /// One of `shares` equal shares of this limit: the same count, but a unit counts as `shares`
    /// units. So a count of the whole limit is a count of the share, and what all shares admit on
    /// top of it is no more than the whole would. Who asks for more than the share, and for no more
    /// than the quota, is admitted when nothing is used.
    #[must_use]
    pub const fn among(mut self, shares: u64) -> Self {
        self.shares = shares;
        self
    }

    /// Between how many the limit is shared.
    pub const fn shares(&self) -> u64 {
        self.shares
    }

    /// The quota; its window is the period's length.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Quota, beginning and end of the period: what the script is told.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.quota.units(), self.period.start.as_micros(), self.period.end.as_micros()]
    }

    /// The part of `stored` that counts at `now`.
    pub fn read(&self, stored: Option<&Count>, now: Timestamp) -> Tally {
        let none = Tally { period: self.period, used: 0, repaired: false };
        let Some(Count { period, units }) = stored.filter(|count| count.units > 0) else {
            return none;
        };
        let soon = now.after(SKEW);
        let earlier = period.end <= self.period.start;
        if earlier && period.end <= soon {
            return none;
        }
        // Somebody has begun a later period: the newest one wins. Or the present one is still to
        // come, for whoever made the check was wrong about the clock.
        if earlier || period.start >= self.period.end && period.start <= soon {
            return Tally { period: *period, used: *units, repaired: false };
        }
        Tally { used: *units, repaired: *period != self.period, ..none }
    }

    /// Whether `cost` more units fit.
    pub const fn has_room(&self, tally: &Tally, cost: u64) -> bool {
        cost <= self.quota.units() && tally.used + self.room_for(cost) <= self.quota.units()
    }

    /// Counts `cost` units. Only for a cost that [`Self::has_room`] for.
    pub const fn charge(&self, tally: &mut Tally, cost: u64) {
        tally.used += cost * self.shares;
    }

    /// Counts `cost` units, or as many as there is room for if that is less.
    pub fn fill(&self, tally: &mut Tally, cost: u64) {
        let room = self.quota.units().saturating_sub(tally.used);
        tally.used += cost.saturating_mul(self.shares).min(room);
    }

    /// Takes `units` units of the whole limit out of the period that ends at `until`, if it is the
    /// one that is counted in.
    pub fn refund(tally: &mut Tally, units: u64, until: Timestamp) {
        if tally.period.end == until {
            tally.used = tally.used.saturating_sub(units);
        }
    }

    /// What to store for `tally`.
    pub const fn state(tally: &Tally) -> Count {
        Count { period: tally.period, units: tally.used }
    }

    /// Units left.
    pub const fn remaining(&self, tally: &Tally) -> u64 {
        let units = self.quota.units().saturating_sub(tally.used) / self.shares;
        if units == 0 && tally.used == 0 { 1 } else { units }
    }

    /// Time until `cost` units fit, if nothing else happens; `None` if they never will.
    pub const fn retry_after(&self, tally: &Tally, cost: u64, now: Timestamp) -> Option<Micros> {
        if cost > self.quota.units() {
            return None;
        }
        Some(if self.has_room(tally, cost) { Micros::ZERO } else { tally.period.end.since(now) })
    }

    /// Time until one more unit is there than now; zero when nothing is used.
    pub const fn reset_after(tally: &Tally, now: Timestamp) -> Micros {
        Self::empty_after(tally, now)
    }

    /// Time until nothing counts any more.
    pub const fn empty_after(tally: &Tally, now: Timestamp) -> Micros {
        if tally.used == 0 { Micros::ZERO } else { tally.period.end.since(now) }
    }

    /// The share of the quota that is used, in millionths.
    pub const fn used_share(&self, tally: &Tally) -> u64 {
        (tally.used as u128 * 1_000_000 / self.quota.units() as u128) as u64
    }

    /// The tally of the newer period; of one period the larger.
    pub fn worse(a: Tally, b: Tally) -> Tally {
        let worse = if (b.counted(), b.used) > (a.counted(), a.used) { b } else { a };
        Tally { repaired: a.repaired || b.repaired, ..worse }
    }

    /// `tally` and besides what `later` was charged beyond `earlier`, counted as one of `parts`. A
    /// charge in a period that is over for `tally` no longer matters.
    pub fn carry(tally: Tally, earlier: Tally, later: Tally, parts: u64) -> Tally {
        let charged = match later.counted().cmp(&earlier.counted()) {
            Ordering::Less => 0,
            Ordering::Equal => later.used.saturating_sub(earlier.used).div_ceil(parts),
            Ordering::Greater => later.used.div_ceil(parts),
        };
        match later.counted().cmp(&tally.counted()) {
            Ordering::Greater if charged > 0 => Tally { used: charged, ..later },
            Ordering::Equal => {
                Tally { used: tally.used.saturating_add(charged).min(COUNT_MAX), ..tally }
            }
            Ordering::Less | Ordering::Greater => tally,
        }
    }

    /// Units that must be free for `cost` units: all of them if they count for more.
    const fn room_for(&self, cost: u64) -> u64 {
        let units = cost * self.shares;
        if units < self.quota.units() { units } else { self.quota.units() }
    }
}

// === impl Tally ===

impl Tally {
    /// The period that is counted in.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// The period, if anything is counted in it; what is empty is older than everything.
    fn counted(&self) -> Option<Period> {
        (self.used > 0).then_some(self.period)
    }
}
