//! A limit reads a stored state into a standing, which answers questions about it, is charged, and
//! becomes a state again.

use super::algorithm::Limit;
use super::ban::{Ban, Sentence, Term};
use super::calendar::{Calendar, Count, Tally};
use super::concurrency::{self, Concurrency};
use super::settlement::{Adjustment, Receipt};
use super::sliding_window::{Live, Log, SlidingWindow};
use super::time::{Micros, Timestamp};
use super::token_bucket::{Debt, Tat, TokenBucket};

/// What a store keeps for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Of a [`Limit::TokenBucket`].
    TokenBucket(Tat),
    /// Of a [`Limit::SlidingWindow`].
    SlidingWindow(Log),
    /// Of a [`Limit::Calendar`].
    Calendar(Count),
    /// Of a [`Limit::Ban`].
    Ban(Sentence),
    /// Of a [`Limit::Concurrency`]: how many are under way. No store keeps this number.
    InFlight(u64),
}

/// A limit applied to one state at one moment.
#[derive(Clone, Debug)]
pub struct Standing {
    now: Timestamp,
    level: Level,
    charged: bool,
}

#[derive(Clone, Debug)]
enum Level {
    TokenBucket(TokenBucket, Debt),
    SlidingWindow(SlidingWindow, Live),
    Calendar(Calendar, Tally),
    Ban(Ban, Term),
    Concurrency(Concurrency, u64),
}

// === impl Limit ===

impl Limit {
    /// How `stored` stands at `now`. A state of another algorithm counts as absent.
    pub fn read(&self, stored: Option<&State>, now: Timestamp) -> Standing {
        let level = match self {
            Self::TokenBucket(bucket) => {
                let tat = match stored {
                    Some(State::TokenBucket(tat)) => Some(tat),
                    _ => None,
                };
                Level::TokenBucket(*bucket, bucket.read(tat, now))
            }
            Self::SlidingWindow(window) => {
                let log = match stored {
                    Some(State::SlidingWindow(log)) => Some(log),
                    _ => None,
                };
                Level::SlidingWindow(*window, window.read(log, now))
            }
            Self::Calendar(calendar) => {
                let count = match stored {
                    Some(State::Calendar(count)) => Some(count),
                    _ => None,
                };
                Level::Calendar(*calendar, calendar.read(count, now))
            }
            Self::Ban(ban) => {
                let sentence = match stored {
                    Some(State::Ban(sentence)) => Some(sentence),
                    _ => None,
                };
                Level::Ban(*ban, ban.read(sentence, now))
            }
            Self::Concurrency(concurrency) => {
                let in_flight = match stored {
                    Some(State::InFlight(in_flight)) => *in_flight,
                    _ => 0,
                };
                Level::Concurrency(*concurrency, in_flight)
            }
        };
        Standing { now, level, charged: false }
    }
}

// === impl Standing ===

impl Standing {
    /// Whether `cost` more units fit.
    pub const fn has_room(&self, cost: u64) -> bool {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.has_room(debt, cost),
            Level::SlidingWindow(window, live) => window.has_room(live, cost),
            Level::Calendar(calendar, tally) => calendar.has_room(tally, cost),
            Level::Ban(_, term) => Ban::has_room(term, self.now),
            Level::Concurrency(concurrency, in_flight) => concurrency.has_room(*in_flight),
        }
    }

    /// Whether a request that passes is charged to it: a ban has no units.
    pub const fn takes_units(&self) -> bool {
        !matches!(self.level, Level::Ban(..))
    }

    /// Charges `cost` units. Only for a cost that [`Self::has_room`] for, and only where the limit
    /// [`Self::takes_units`].
    pub fn charge(&mut self, cost: u64) -> Receipt {
        self.charged = true;
        match &mut self.level {
            Level::TokenBucket(bucket, debt) => bucket.charge(debt, cost),
            Level::SlidingWindow(window, live) => window.charge(live, cost, self.now),
            Level::Calendar(calendar, tally) => calendar.charge(tally, cost),
            Level::Ban(..) => self.charged = false,
            Level::Concurrency(_, in_flight) => *in_flight += 1,
        }
        self.receipt(cost)
    }

    /// Charges more, as far as there is room, or gives back what still counts. A permit is one
    /// permit, whatever the request turned out to cost.
    pub fn adjust(&mut self, adjustment: &Adjustment) {
        self.charged = true;
        match (adjustment, &mut self.level) {
            (Adjustment::Charge(cost), Level::TokenBucket(bucket, debt)) => {
                bucket.fill(debt, *cost);
            }
            (Adjustment::Charge(cost), Level::SlidingWindow(window, live)) => {
                window.fill(live, *cost, self.now);
            }
            (Adjustment::Charge(cost), Level::Calendar(calendar, tally)) => {
                calendar.fill(tally, *cost);
            }
            (Adjustment::Refund(units, receipt), Level::TokenBucket(bucket, debt)) => {
                bucket.refund(debt, *units, receipt.until.since(self.now));
            }
            (Adjustment::Refund(units, receipt), Level::SlidingWindow(window, live)) => {
                window.refund(live, *units, receipt.at);
            }
            (Adjustment::Refund(units, receipt), Level::Calendar(_, tally)) => {
                Calendar::refund(tally, *units, receipt.until);
            }
            (_, Level::Ban(..) | Level::Concurrency(..)) => self.charged = false,
        }
    }

    /// What the charge of `cost` units that was the last has taken.
    const fn receipt(&self, cost: u64) -> Receipt {
        let (until, dearness) = match &self.level {
            Level::TokenBucket(bucket, _) => (bucket.paid_off(cost, self.now), bucket.shares()),
            Level::SlidingWindow(window, _) => (self.now, window.shares()),
            Level::Calendar(calendar, tally) => (tally.period().end, calendar.shares()),
            Level::Ban(..) => (self.now, 1),
            Level::Concurrency(..) => (self.now.after(concurrency::LIFE), 1),
        };
        Receipt { at: self.now, until, dearness }
    }

    /// Whether the state is to be written: it was charged, or it could not have been written by
    /// this limit at this clock and was put right. Permits are kept one by one, elsewhere.
    pub const fn must_be_stored(&self) -> bool {
        let repaired = match &self.level {
            Level::TokenBucket(_, debt) => debt.repaired,
            Level::SlidingWindow(_, live) => live.repaired,
            Level::Calendar(_, tally) => tally.repaired,
            Level::Ban(_, term) => term.repaired,
            Level::Concurrency(..) => return false,
        };
        self.charged || repaired
    }

    /// What to store.
    pub fn state(&self) -> State {
        match &self.level {
            Level::TokenBucket(bucket, debt) => State::TokenBucket(bucket.state(debt, self.now)),
            Level::SlidingWindow(window, live) => State::SlidingWindow(window.state(live)),
            Level::Calendar(_, tally) => State::Calendar(Calendar::state(tally)),
            Level::Ban(_, term) => State::Ban(Ban::state(term)),
            Level::Concurrency(_, in_flight) => State::InFlight(*in_flight),
        }
    }

    /// Units left now.
    pub const fn remaining(&self) -> u64 {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.remaining(debt),
            Level::SlidingWindow(window, live) => window.remaining(live),
            Level::Calendar(calendar, tally) => calendar.remaining(tally),
            Level::Ban(_, term) => Ban::has_room(term, self.now) as u64,
            Level::Concurrency(concurrency, in_flight) => concurrency.remaining(*in_flight),
        }
    }

    /// Time until `cost` units fit, if nothing else happens; `None` if they never will. When a
    /// permit comes free nobody knows: a second.
    pub fn retry_after(&self, cost: u64) -> Option<Micros> {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.retry_after(debt, cost),
            Level::SlidingWindow(window, live) => window.retry_after(live, cost, self.now),
            Level::Calendar(calendar, tally) => calendar.retry_after(tally, cost, self.now),
            Level::Ban(_, term) => Some(Ban::retry_after(term, self.now)),
            Level::Concurrency(concurrency, in_flight) => {
                let room = concurrency.has_room(*in_flight);
                Some(if room { Micros::ZERO } else { concurrency::RETRY_AFTER })
            }
        }
    }

    /// Time until one more unit is there than now; zero when the quota is whole, or nobody knows.
    pub fn reset_after(&self) -> Micros {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.reset_after(debt),
            Level::SlidingWindow(window, live) => window.reset_after(live, self.now),
            Level::Calendar(_, tally) => Calendar::reset_after(tally, self.now),
            Level::Ban(_, term) => Ban::retry_after(term, self.now),
            Level::Concurrency(..) => Micros::ZERO,
        }
    }

    /// Time until the state says no more than its absence would.
    pub fn empty_after(&self) -> Micros {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.empty_after(debt),
            Level::SlidingWindow(window, live) => window.empty_after(live, self.now),
            Level::Calendar(_, tally) => Calendar::empty_after(tally, self.now),
            Level::Ban(ban, term) => ban.empty_after(term, self.now),
            Level::Concurrency(..) => Micros::ZERO,
        }
    }

    /// Parts owed to a token bucket; `None` of the others.
    pub const fn debt(&self) -> Option<u64> {
        match &self.level {
            Level::TokenBucket(_, debt) => Some(debt.parts()),
            Level::SlidingWindow(..)
            | Level::Calendar(..)
            | Level::Ban(..)
            | Level::Concurrency(..) => None,
        }
    }

    /// Whether the state says any more than its absence would.
    pub fn says_anything(&self) -> bool {
        self.empty_after() > Micros::ZERO
    }

    /// The share of the limit that is used, in millionths: what losing this state would give away.
    pub fn used_share(&self) -> u64 {
        match &self.level {
            Level::TokenBucket(bucket, debt) => bucket.used_share(debt),
            Level::SlidingWindow(window, live) => window.used_share(live),
            Level::Calendar(calendar, tally) => calendar.used_share(tally),
            Level::Ban(ban, term) => ban.used_share(term, self.now),
            Level::Concurrency(concurrency, in_flight) => concurrency.used_share(*in_flight),
        }
    }

    /// The worse of two standings of one limit at one moment: neither forgets what the other
    /// knows.
    #[must_use]
    pub fn worse(mut self, other: &Self) -> Self {
        match (&mut self.level, &other.level) {
            (Level::TokenBucket(_, mine), Level::TokenBucket(_, theirs)) => {
                *mine = TokenBucket::worse(*mine, *theirs);
            }
            (Level::SlidingWindow(_, mine), Level::SlidingWindow(_, theirs)) => {
                *mine = SlidingWindow::worse(mine, theirs);
            }
            (Level::Calendar(_, mine), Level::Calendar(_, theirs)) => {
                *mine = Calendar::worse(*mine, *theirs);
            }
            (Level::Ban(_, mine), Level::Ban(_, theirs)) => *mine = Ban::worse(*mine, *theirs),
            _ => {}
        }
        self
    }

    /// This standing and besides what `later` was charged beyond `earlier`, one of `parts` of it.
    /// All three are of one limit at one moment; `later` grew out of `earlier`.
    #[must_use]
    pub fn carry(mut self, earlier: &Self, later: &Self, parts: u64) -> Self {
        match (&mut self.level, &earlier.level, &later.level) {
            (
                Level::TokenBucket(bucket, mine),
                Level::TokenBucket(_, earlier),
                Level::TokenBucket(_, later),
            ) => *mine = bucket.carry(*mine, *earlier, *later, parts),
            (
                Level::SlidingWindow(_, mine),
                Level::SlidingWindow(_, earlier),
                Level::SlidingWindow(_, later),
            ) => *mine = SlidingWindow::carry(mine, earlier, later, parts),
            (Level::Calendar(_, mine), Level::Calendar(_, earlier), Level::Calendar(_, later)) => {
                *mine = Calendar::carry(*mine, *earlier, *later, parts);
            }
            (Level::Ban(_, mine), Level::Ban(_, earlier), Level::Ban(_, later)) => {
                *mine = Ban::carry(*mine, *earlier, *later);
            }
            _ => {}
        }
        self
    }
}
