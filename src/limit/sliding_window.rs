//! `sliding-window`: a log of sub-buckets that never admits more than the quota in any window.
//!
//! A window is cut into `resolution` ticks. An event counts from the moment it happens until the
//! *end* of its tick plus one window, so at every moment the count is at least the true number of
//! events of the last window: over-admission is impossible, and a single unit comes back at most
//! one tick late. (The two-counter approximation that many limiters use admits up to twice the
//! quota over a window's edge; so does interpolating more counters.)
//!
//! State: the tick length it was written with, and for each tick with events the units that were
//! admitted in it. A log of another tick length (a changed window or resolution) is re-read with
//! every record rounded up to the present ticks: never earlier, so nobody gets a fresh quota.

use super::quota::{LimitError, Quota};
use super::time::{Micros, Timestamp};

/// Ticks a window unless the policy says otherwise: a unit comes back at most 1/64 window late.
pub const RESOLUTION_DEFAULT: u64 = 64;
/// Most ticks a window: a record's tick is stored in one byte, modulo 256.
pub const RESOLUTION_MAX: u64 = 240;
/// The shortest tick: with it a tick's index fits six bytes for as long as microseconds since the
/// epoch are exact in Lua.
const TICK_MIN_US: u64 = 32;

/// The quota and the tick of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    quota: Quota,
    tick: u64,
    shares: u64,
}

/// What a store keeps for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The tick length in microseconds.
    pub tick: u64,
    /// Oldest first, each tick at most once.
    pub records: Vec<Record>,
}

/// The units admitted within one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The number of the tick: it ends at `index * tick` microseconds since the epoch.
    pub index: u64,
    /// Units admitted in it.
    pub units: u64,
}

/// The records that count at one moment, in the policy's own ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    records: Vec<Record>,
    used: u64,
    /// A record lay in the future: the clock stepped back, or the window was shortened. It has
    /// been moved to the present tick, and is to be written even on a denial.
    pub repaired: bool,
}

// === impl SlidingWindow ===

impl SlidingWindow {
    /// `quota` over any window, counted in `resolution` ticks.
    pub fn new(quota: Quota, resolution: u64) -> Result<Self, LimitError> {
        if resolution == 0 || resolution > RESOLUTION_MAX {
            return Err(LimitError::Resolution(resolution));
        }
        let tick = quota.window().get().div_ceil(resolution).max(TICK_MIN_US);
        Ok(Self { quota, tick, shares: 1 })
    }

    /// One of `shares` equal shares of this limit: the same log, but a unit counts as `shares`
    /// units. So a log of the whole limit is a log of the share, and what all shares admit on top
    /// of it is no more than the whole would. Who asks for more than the share, and for no more
    /// than the quota, is admitted by an empty log.
    #[must_use]
    pub const fn among(mut self, shares: u64) -> Self {
        self.shares = shares;
        self
    }

    /// The same limit with `units` a window.
    pub fn with_units(&self, units: u64) -> Result<Self, LimitError> {
        Ok(Self { quota: Quota::new(units, self.quota.window())?, ..*self })
    }

    /// The quota.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Between how many the limit is shared.
    pub const fn shares(&self) -> u64 {
        self.shares
    }

    /// Quota, window and tick: what the script is told.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.quota.units(), self.quota.window().get(), self.tick]
    }

    /// The part of `stored` that counts at `now`.
    pub fn read(&self, stored: Option<&Log>, now: Timestamp) -> Live {
        let mut live = Live { records: Vec::new(), used: 0, repaired: false };
        let Some(log) = stored else { return live };
        live.records.reserve_exact(log.records.len() + 1);
        let present = self.tick_of(now);
        for record in &log.records {
            let mut index = record.index;
            if log.tick != self.tick {
                index = (index * log.tick).div_ceil(self.tick);
            }
            if index > present {
                index = present;
                live.repaired = true;
            }
            if self.ends_at(index) > now {
                live.add(Record { index, units: record.units });
            }
        }
        live
    }

    /// Whether `cost` more units fit.
    pub const fn has_room(&self, live: &Live, cost: u64) -> bool {
        cost <= self.quota.units() && live.used + self.room_for(cost) <= self.quota.units()
    }

    /// Counts `cost` units at `now`.
    pub fn charge(&self, live: &mut Live, cost: u64, now: Timestamp) {
        live.add(Record { index: self.tick_of(now), units: cost * self.shares });
    }

    /// Counts `cost` units at `now`, or as many as there is room for if that is less.
    pub fn fill(&self, live: &mut Live, cost: u64, now: Timestamp) {
        let room = self.quota.units().saturating_sub(live.used);
        let units = cost.saturating_mul(self.shares).min(room);
        if units > 0 {
            live.add(Record { index: self.tick_of(now), units });
        }
    }

    /// Takes `units` units of the whole limit out of the tick of `at`, as far as they are there.
    pub fn refund(&self, live: &mut Live, units: u64, at: Timestamp) {
        live.remove(Record { index: self.tick_of(at), units });
    }

    /// What to store for `live`.
    pub fn state(&self, live: &Live) -> Log {
        Log { tick: self.tick, records: live.records.clone() }
    }

    /// Units left.
    pub const fn remaining(&self, live: &Live) -> u64 {
        let units = self.quota.units().saturating_sub(live.used) / self.shares;
        if units == 0 && live.used == 0 { 1 } else { units }
    }

    /// Time until `cost` units fit, if nothing else happens; `None` if they never will.
    pub fn retry_after(&self, live: &Live, cost: u64, now: Timestamp) -> Option<Micros> {
        if cost > self.quota.units() {
            return None;
        }
        let excess = (live.used + self.room_for(cost)).saturating_sub(self.quota.units());
        Some(self.time_until_freed(live, excess, now))
    }

    /// Time until one more unit is there than now; zero when nothing is used.
    pub fn reset_after(&self, live: &Live, now: Timestamp) -> Micros {
        let next = live.used + self.room_for(self.remaining(live) + 1);
        let excess = next.saturating_sub(self.quota.units());
        self.time_until_freed(live, excess.min(live.used), now)
    }

    /// Time until nothing counts any more.
    pub fn empty_after(&self, live: &Live, now: Timestamp) -> Micros {
        self.time_until_freed(live, live.used, now)
    }

    /// The share of the quota that is used, in millionths.
    pub const fn used_share(&self, live: &Live) -> u64 {
        (live.used as u128 * 1_000_000 / self.quota.units() as u128) as u64
    }

    /// For each tick the larger count of two logs.
    pub fn worse(a: &Live, b: &Live) -> Live {
        a.combined(b, u64::max)
    }

    /// `live` and besides what `later` was charged beyond `earlier`, counted as one of `parts`.
    pub fn carry(live: &Live, earlier: &Live, later: &Live, parts: u64) -> Live {
        let charged = later.combined(earlier, u64::saturating_sub);
        live.combined(&charged, |units, more| units + more.div_ceil(parts))
    }

    /// Units that must be free for `cost` units: all of them if they count for more.
    const fn room_for(&self, cost: u64) -> u64 {
        let units = cost * self.shares;
        if units < self.quota.units() { units } else { self.quota.units() }
    }

    /// Time until at least `units` of what is used no longer count.
    fn time_until_freed(&self, live: &Live, units: u64, now: Timestamp) -> Micros {
        let mut freed = 0;
        let mut wait = Micros::ZERO;
        for record in &live.records {
            if freed >= units {
                break;
            }
            freed += record.units;
            wait = self.ends_at(record.index).since(now);
        }
        wait
    }

    /// The tick in which `now` lies: the one that ends at or after it.
    const fn tick_of(&self, now: Timestamp) -> u64 {
        now.as_micros().div_ceil(self.tick)
    }

    /// When the units of a tick stop counting.
    const fn ends_at(&self, index: u64) -> Timestamp {
        Timestamp::from_micros(index * self.tick).after(self.quota.window())
    }
}

// === impl Live ===

impl Live {
    /// Units that count.
    pub const fn used(&self) -> u64 {
        self.used
    }

    fn add(&mut self, new: Record) {
        self.used += new.units;
        match self.records.last_mut() {
            Some(last) if last.index == new.index => last.units += new.units,
            _ => self.records.push(new),
        }
    }

    fn remove(&mut self, old: Record) {
        let Some(record) = self.records.iter_mut().find(|record| record.index == old.index) else {
            return;
        };
        let units = old.units.min(record.units);
        record.units -= units;
        self.used -= units;
        self.records.retain(|record| record.units > 0);
    }

    /// Both logs tick by tick: `units` of what this one and the other have in it.
    fn combined(&self, other: &Self, units: impl Fn(u64, u64) -> u64) -> Self {
        let repaired = self.repaired || other.repaired;
        let mut both = Self { records: Vec::new(), used: 0, repaired };
        let (mut mine, mut theirs) =
            (self.records.iter().peekable(), other.records.iter().peekable());
        loop {
            let index = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) => a.index.min(b.index),
                (Some(one), None) | (None, Some(one)) => one.index,
                (None, None) => return both,
            };
            let a = mine.next_if(|record| record.index == index).map_or(0, |record| record.units);
            let b = theirs.next_if(|record| record.index == index).map_or(0, |record| record.units);
            let units = units(a, b);
            if units > 0 {
                both.add(Record { index, units });
            }
        }
    }
}
