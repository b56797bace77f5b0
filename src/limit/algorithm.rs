//! The algorithms under one roof: what is asked of a limit whatever its algorithm.

use super::ban::Ban;
use super::calendar::Calendar;
use super::concurrency::Concurrency;
use super::quota::{LimitError, Quota};
use super::sliding_window::SlidingWindow;
use super::token_bucket::TokenBucket;

/// An algorithm with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Exact rate with a burst.
    TokenBucket(TokenBucket),
    /// Hard cap in any window.
    SlidingWindow(SlidingWindow),
    /// So much in each day or month: here the one that a check is made in.
    Calendar(Calendar),
    /// Nothing at all while a ban lasts.
    Ban(Ban),
    /// So many at once.
    Concurrency(Concurrency),
}

// === impl Limit ===

impl Limit {
    /// The quota over a window, of a ban that of its denials; `None` where there is no window.
    pub const fn quota(&self) -> Option<&Quota> {
        match self {
            Self::TokenBucket(bucket) => Some(bucket.quota()),
            Self::SlidingWindow(window) => Some(window.quota()),
            Self::Calendar(calendar) => Some(calendar.quota()),
            Self::Ban(ban) => Some(ban.watch().quota()),
            Self::Concurrency(_) => None,
        }
    }

    /// The units of the quota, whichever the algorithm.
    pub const fn units(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.quota().units(),
            Self::SlidingWindow(window) => window.quota().units(),
            Self::Calendar(calendar) => calendar.quota().units(),
            Self::Ban(ban) => ban.watch().quota().units(),
            Self::Concurrency(concurrency) => concurrency.units(),
        }
    }

    /// The most units that can be admitted at once. Of a [`Concurrency`] a request takes one,
    /// whatever its cost.
    pub const fn cost_max(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.burst(),
            Self::SlidingWindow(_) | Self::Calendar(_) | Self::Concurrency(_) => self.units(),
            // It has no units.
            Self::Ban(_) => u64::MAX,
        }
    }

    /// Whether a denial stays one until its time is over, if nothing is given back: a permit may
    /// come free at any moment.
    pub const fn denies_lastingly(&self) -> bool {
        !matches!(self, Self::Concurrency(_))
    }

    /// Its name in the configuration.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TokenBucket(_) => "token-bucket",
            Self::SlidingWindow(_) => "sliding-window",
            Self::Calendar(_) => "calendar",
            Self::Ban(_) => "ban",
            Self::Concurrency(_) => "concurrency",
        }
    }

    /// The letter that ends the key and names the algorithm to the script.
    pub const fn letter(&self) -> char {
        match self {
            Self::TokenBucket(_) => 't',
            Self::SlidingWindow(_) => 's',
            Self::Calendar(_) => 'c',
            Self::Ban(_) => 'b',
            Self::Concurrency(_) => 'n',
        }
    }

    /// The three numbers that the script is told.
    pub const fn parameters(&self) -> [u64; 3] {
        match self {
            Self::TokenBucket(bucket) => bucket.parameters(),
            Self::SlidingWindow(window) => window.parameters(),
            Self::Calendar(calendar) => calendar.parameters(),
            Self::Ban(ban) => ban.parameters(),
            Self::Concurrency(concurrency) => concurrency.parameters(),
        }
    }

    /// One of `shares` equal shares of this limit, over the same states.
    #[must_use]
    pub const fn among(self, shares: u64) -> Self {
        match self {
            Self::TokenBucket(bucket) => Self::TokenBucket(bucket.among(shares)),
            Self::SlidingWindow(window) => Self::SlidingWindow(window.among(shares)),
            Self::Calendar(calendar) => Self::Calendar(calendar.among(shares)),
            // It holds as a whole, for everybody.
            Self::Ban(ban) => Self::Ban(ban),
            Self::Concurrency(concurrency) => Self::Concurrency(concurrency.among(shares)),
        }
    }

    /// The same limit with another quota: window, resolution, period and the ratio of the burst to
    /// the quota stay.
    pub fn with_units(self, units: u64) -> Result<Self, LimitError> {
        Ok(match self {
            Self::TokenBucket(bucket) => Self::TokenBucket(bucket.with_units(units)?),
            Self::SlidingWindow(window) => Self::SlidingWindow(window.with_units(units)?),
            Self::Calendar(calendar) => Self::Calendar(calendar.with_units(units)?),
            // It has no units.
            Self::Ban(ban) => Self::Ban(ban),
            Self::Concurrency(_) => Self::Concurrency(Concurrency::new(units)?),
        })
    }
}
