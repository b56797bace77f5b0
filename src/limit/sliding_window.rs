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
        Ok(Self { quota, tick: quota.window().get().div_ceil(resolution).max(TICK_MIN_US) })
    }

    /// The quota.
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Quota, window and tick: what the script is told.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.quota.units(), self.quota.window().get(), self.tick]
    }

    /// The part of `stored` that counts at `now`.
    pub fn read(&self, stored: Option<&Log>, now: Timestamp) -> Live {
        let mut live = Live { records: Vec::new(), used: 0, repaired: false };
        let Some(log) = stored else { return live };
        let present = self.tick_of(now);
        for record in &log.records {
            let mut index = (record.index * log.tick).div_ceil(self.tick);
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
        live.used + cost <= self.quota.units()
    }

    /// Counts `cost` units at `now`.
    pub fn charge(&self, live: &mut Live, cost: u64, now: Timestamp) {
        live.add(Record { index: self.tick_of(now), units: cost });
    }

    /// What to store for `live`.
    pub fn state(&self, live: &Live) -> Log {
        Log { tick: self.tick, records: live.records.clone() }
    }

    /// Units left.
    pub const fn remaining(&self, live: &Live) -> u64 {
        self.quota.units().saturating_sub(live.used)
    }

    /// Time until `cost` units fit, if nothing else happens; `None` if they never will.
    pub fn retry_after(&self, live: &Live, cost: u64, now: Timestamp) -> Option<Micros> {
        if cost > self.quota.units() {
            return None;
        }
        let excess = (live.used + cost).saturating_sub(self.quota.units());
        Some(self.time_until_freed(live, excess, now))
    }

    /// Time until one more unit is there than now; zero when nothing is used.
    pub fn reset_after(&self, live: &Live, now: Timestamp) -> Micros {
        let above = live.used.saturating_sub(self.quota.units());
        self.time_until_freed(live, (above + 1).min(live.used), now)
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
}
