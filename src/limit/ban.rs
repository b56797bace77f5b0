//! A ban: who goes on being denied is refused outright for a while, and each time for longer.
//!
//! A ban is a check of its own, beside that of its policy. While it lasts it has no room; it is
//! never charged, and a request that passes writes nothing. What makes one is [`Ban::penalize`]:
//! the policy's denials of one key are counted in a sliding window of their own, and when there are
//! as many as that window's quota, a ban begins and the count begins anew. Denials during a ban do
//! not count: it ends by itself.
//!
//! State: when the ban ends, and the how manyth it is. The first lasts `first`, each further one
//! twice as long as the one before, up to `longest`. How many there were is forgotten when `longest`
//! has passed since the end of the last one.
//!
//! Promise: a ban begins with the first count that makes the denials of any window as many as said,
//! and none begins with fewer in a window and one tick. Nobody is shut out longer than `longest`,
//! however the clock is set.

use super::sliding_window::{Log, SlidingWindow};
use super::time::{Micros, Timestamp};

/// The highest level: any first ban doubled so often is longer than the longest.
pub const LEVEL_MAX: u32 = 64;
/// What is used while a ban lasts, in millionths: nobody's state is a greater loss.
const WHOLE: u64 = 1_000_000;

/// When a ban begins, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    watch: SlidingWindow,
    first: Micros,
    longest: Micros,
}

/// What a store keeps for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// When the ban ends.
    pub until: Timestamp,
    /// The how manyth it is; 0: there was none.
    pub level: u32,
}

/// A sentence at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    sentence: Sentence,
    /// The end lay further ahead than the longest ban: the clock stepped back, or `longest` was
    /// lowered. It has been moved, and is to be written even though nothing else is.
    pub repaired: bool,
}

/// What further denials come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// Nothing: a ban lasts already.
    Lasts,
    /// They are too few: this many have been counted now.
    Counted(Log),
    /// A ban; the count is forgotten.
    Begins(Sentence),
}

// === impl Sentence ===

impl Sentence {
    /// No ban, and none before.
    pub const NONE: Self = Self { until: Timestamp::EPOCH, level: 0 };
}

// === impl Ban ===

impl Ban {
    /// A ban for as many denials as the quota of `watch` within its window: the first of `first`,
    /// none longer than `longest`. A longest that is shorter than the first counts as the first.
    pub fn new(watch: SlidingWindow, first: Micros, longest: Micros) -> Self {
        Self { watch, first, longest: longest.max(first) }
    }

    /// How denials are counted.
    pub const fn watch(&self) -> &SlidingWindow {
        &self.watch
    }

    /// How long the first ban lasts.
    pub const fn first(&self) -> Micros {
        self.first
    }

    /// How long a ban lasts at most.
    pub const fn longest(&self) -> Micros {
        self.longest
    }

    /// First and longest ban: what the script is told. The third is not used.
    pub const fn parameters(&self) -> [u64; 3] {
        [self.first.get(), self.longest.get(), 0]
    }

    /// What `stored` amounts to at `now`.
    pub fn read(&self, stored: Option<&Sentence>, now: Timestamp) -> Term {
        let none = Term { sentence: Sentence::NONE, repaired: false };
        let known =
            |sentence: &&Sentence| sentence.level > 0 && sentence.until.after(self.longest) > now;
        let Some(sentence) = stored.filter(known) else { return none };
        let latest = now.after(self.longest);
        let until = sentence.until.min(latest);
        Term { sentence: Sentence { until, ..*sentence }, repaired: sentence.until > latest }
    }

    /// Whether nobody is banned.
    pub const fn has_room(term: &Term, now: Timestamp) -> bool {
        term.sentence.until.as_micros() <= now.as_micros()
    }

    /// What to store for `term`.
    pub const fn state(term: &Term) -> Sentence {
        term.sentence
    }

    /// Time until the ban ends; zero without one.
    pub const fn retry_after(term: &Term, now: Timestamp) -> Micros {
        term.sentence.until.since(now)
    }

    /// Time until it is forgotten that there was a ban.
    pub fn empty_after(&self, term: &Term, now: Timestamp) -> Micros {
        if term.sentence.level == 0 {
            return Micros::ZERO;
        }
        term.sentence.until.after(self.longest).since(now)
    }

    /// What losing the state would give away, in millionths: of a ban that lasts everything, of one
    /// that is over up to half, less as it is forgotten.
    pub fn used_share(&self, term: &Term, now: Timestamp) -> u64 {
        if !Self::has_room(term, now) {
            return WHOLE;
        }
        let left = u128::from(self.empty_after(term, now).get());
        (left * u128::from(WHOLE / 2) / u128::from(self.longest.get()).max(1)) as u64
    }

    /// The later end and the higher level of two.
    pub fn worse(a: Term, b: Term) -> Term {
        let sentence = Sentence {
            until: a.sentence.until.max(b.sentence.until),
            level: a.sentence.level.max(b.sentence.level),
        };
        Term { sentence, repaired: a.repaired || b.repaired }
    }

    /// `term` and besides what `later` is beyond `earlier`. A ban is no sum: it holds as a whole,
    /// whoever made it.
    pub fn carry(term: Term, earlier: Term, later: Term) -> Term {
        if later.sentence == earlier.sentence { term } else { Self::worse(term, later) }
    }

    /// What `denials` more at `now` come to for a key that was sentenced to `sentence` and of whose
    /// denials `counted` have been counted.
    pub fn penalize(
        &self,
        sentence: Option<&Sentence>,
        counted: Option<&Log>,
        denials: u64,
        now: Timestamp,
    ) -> Penalty {
        let term = self.read(sentence, now);
        if !Self::has_room(&term, now) {
            return Penalty::Lasts;
        }
        let mut live = self.watch.read(counted, now);
        if live.used().saturating_add(denials) < self.watch.quota().units() {
            self.watch.charge(&mut live, denials, now);
            return Penalty::Counted(self.watch.state(&live));
        }
        let level = (term.sentence.level + 1).min(LEVEL_MAX);
        Penalty::Begins(Sentence { until: now.after(self.lasts(level)), level })
    }

    /// How long the ban of this level lasts; the first is level 1.
    pub fn lasts(&self, level: u32) -> Micros {
        let doubled = 1_u64.checked_shl(level.saturating_sub(1)).unwrap_or(u64::MAX);
        Micros::new(self.first.get().saturating_mul(doubled)).min(self.longest)
    }
}
