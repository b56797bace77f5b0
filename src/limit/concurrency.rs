//! `concurrency`: so many requests under way at once.
//!
//! Source: a counting semaphore whose permits are leases (C. Gray and D. Cheriton, "Leases", 1989).
//! A request takes one permit, whatever its cost, and gives it back when it ends. A permit is an id
//! that ends by itself [`LIFE`] after it was last renewed, so what a crashed gateway held comes free.
//! The shared store keeps the ids with their ends and counts those that have not ended; a gateway
//! by itself counts what it holds.
//!
//! Promise: never more than the quota are under way at once, as far as their permits are renewed in
//! time. Not promised: who comes next when a permit is given back, and when one will be.

use super::quota::LimitError;
use super::time::Micros;

/// The largest quota. Each permit held is told again every [`RENEW_EVERY`] and takes some hundred
/// bytes in each store: with more, renewing alone would keep a Redis busy.
pub const QUOTA_MAX: u64 = 100_000;
/// How long a permit lasts that is not renewed.
pub const LIFE: Micros = Micros::new(30_000_000);
/// How often a permit is renewed: two attempts may fail.
pub const RENEW_EVERY: Micros = Micros::new(10_000_000);
/// How long who is denied is told to wait: nobody knows when a permit comes free.
pub const RETRY_AFTER: Micros = Micros::SECOND;
/// Ids below this are exact in Lua.
const ID_END: u64 = 1 << 53;

/// So many permits for a partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    units: u64,
    shares: u64,
}

/// A permit. Whoever makes one takes a random number, so that no two gateways make the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermitId(u64);

/// What a request offers to hold while it is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The permit.
    pub id: PermitId,
    /// Permits of the same key that this gateway has given back and the shared store may still
    /// count, `id` among them if it is one: they are not under way.
    pub freed: Vec<PermitId>,
}

// === impl Concurrency ===

impl Concurrency {
    /// `units` permits.
    pub const fn new(units: u64) -> Result<Self, LimitError> {
        if units == 0 || units > QUOTA_MAX {
            return Err(LimitError::Permits(units));
        }
        Ok(Self { units, shares: 1 })
    }

    /// Permits of the whole limit.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// One of `shares` equal shares: so many permits, rounded down, and one at least.
    #[must_use]
    pub const fn among(mut self, shares: u64) -> Self {
        self.shares = shares;
        self
    }

    /// Quota and life: what the script is told. The third number is a check's own.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.units, LIFE.get(), 0]
    }

    /// Whether one more fits beside `in_flight`.
    pub const fn has_room(&self, in_flight: u64) -> bool {
        in_flight < self.most()
    }

    /// Permits left.
    pub const fn remaining(&self, in_flight: u64) -> u64 {
        self.most().saturating_sub(in_flight)
    }

    /// The share of the permits that is held, in millionths.
    pub const fn used_share(&self, in_flight: u64) -> u64 {
        (in_flight as u128 * 1_000_000 / self.units as u128) as u64
    }

    const fn most(&self) -> u64 {
        let share = self.units / self.shares;
        if share == 0 { 1 } else { share }
    }
}

// === impl PermitId ===

impl PermitId {
    /// The permit of this number, or of what Lua can count of it; none has the number zero.
    pub const fn new(number: u64) -> Self {
        match number % ID_END {
            0 => Self(1),
            number => Self(number),
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_and_never_nothing() {
        let limit = Concurrency::new(7).unwrap();
        for (shares, most) in [(1, 7), (2, 3), (7, 1), (8, 1), (1_000, 1)] {
            let share = limit.among(shares);
            assert_eq!(share.remaining(0), most, "one of {shares}");
            assert!(share.has_room(most - 1) && !share.has_room(most), "one of {shares}");
            assert_eq!(share.remaining(most + 5), 0);
        }
    }

    #[test]
    fn quotas_have_bounds_and_ids_are_exact() {
        for units in [0, QUOTA_MAX + 1] {
            assert_eq!(Concurrency::new(units), Err(LimitError::Permits(units)));
        }
        assert!(Concurrency::new(QUOTA_MAX).is_ok());
        assert_eq!(PermitId::new(ID_END).get(), 1, "there is no permit zero");
        assert_eq!(PermitId::new(u64::MAX).get(), ID_END - 1);
    }
}
