//! What a replay has found, before it is written.

mod chart;
pub(super) mod json;
pub(super) mod page;
pub(super) mod text;

use std::cmp::Reverse;
use std::fmt;

use crate::config::Config;
use crate::explain;
use crate::limit::{Limit, Micros, Quota};
use crate::rules::PartitionedPolicy;

use super::alone::{Alone, Point, Proposal};
use super::book::Book;
use super::entry::Unreadable;
use super::memory::{Memory, Slot};
use super::timeline::Timeline;
use super::trial::{Counts, Course, Trial};

/// Everything that is told.
pub(super) struct Report {
    read: Vec<Read>,
    bad: Vec<Bad>,
    counts: Counts,
    course: Course,
    /// Keys that were remembered, and checks of those that were too many.
    keys: usize,
    forgotten: u64,
    policies: Vec<Finding>,
    notes: Vec<String>,
    took: Micros,
}

/// What was read of a file.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) name: String,
    pub(super) format: &'static str,
    pub(super) lines: u64,
    pub(super) requests: u64,
    pub(super) unreadable: u64,
}

/// A line that could not be read.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    file: String,
    line: u64,
    why: &'static str,
    /// How it begins, with everything that is no plain letter escaped.
    text: String,
}

/// What was found of a policy.
struct Finding {
    name: String,
    enforced: bool,
    /// In words.
    limit: String,
    divided: String,
    algorithm: &'static str,
    quota: u64,
    window: Micros,
    burst: Option<u64>,
    partition: Vec<String>,
    checked: u64,
    denied: u64,
    /// Checks that a ban refused, and bans that began.
    banned: u64,
    bans: u64,
    keys: u64,
    keys_denied: u64,
    top: Vec<Top>,
    used: Option<Used>,
    timeline: Timeline,
    trial: Tried,
}

/// A key that was denied.
struct Top {
    name: String,
    checked: u64,
    denied: u64,
}

/// Of each key the highest share of its limit that was used, over all keys, in millionths.
struct Used {
    median: u32,
    p99: u32,
    most: u32,
}

/// What other quotas would have done.
struct Tried {
    proposal: Option<Proposal>,
    curve: Vec<Point>,
    /// The checks that were asked again.
    asked: u64,
    one_in: u32,
    beginning: bool,
}

// === impl Report ===

impl Report {
    /// The report on what a trial of `config` has found, with the `top` most denied keys of each
    /// policy.
    pub(super) fn new(
        config: &Config,
        trial: Trial,
        read: Vec<Read>,
        bad: Vec<Bad>,
        took: Micros,
        top: usize,
    ) -> Result<Self, String> {
        let Trial { memory, books, lacks, course, counts, .. } = trial;
        let policies = findings(config, books, &memory, top)?;
        let notes = lacks.notes();
        let (keys, forgotten) = (memory.slots().len(), memory.forgotten());
        Ok(Self { read, bad, counts, course, keys, forgotten, policies, notes, took })
    }

    fn sum(&self, of: impl Fn(&Read) -> u64) -> u64 {
        self.read.iter().map(of).sum()
    }

    fn lines(&self) -> u64 {
        self.sum(|read| read.lines)
    }

    fn unreadable(&self) -> u64 {
        self.sum(|read| read.unreadable)
    }

    /// Seconds from the first to the last request.
    fn seconds(&self) -> f64 {
        let span = self.course.span.map_or(Micros::ZERO, |(first, last)| last.since(first));
        span.get() as f64 / 1e6
    }

    fn lines_per_second(&self) -> f64 {
        per_second(self.lines(), self.took.get() as f64 / 1e6)
    }

    fn requests_per_second(&self) -> f64 {
        per_second(self.counts.requests, self.seconds())
    }
}

/// What was found of all policies.
fn findings(
    config: &Config,
    books: Vec<Book>,
    memory: &Memory,
    top: usize,
) -> Result<Vec<Finding>, String> {
    let mut work: Vec<(&PartitionedPolicy, Book)> = config.policies.iter().zip(books).collect();
    // Which is noted as not replayed.
    work.retain(|(limited, _)| !matches!(limited.own.policy().limit, Limit::Concurrency(_)));
    let named = work.into_iter().map(|work| (work.0.own.policy().name.as_str(), work)).collect();
    of_each(named, |(limited, book)| Finding::new(limited, book, memory, top))
}

/// What `find` finds of each policy: each on a core of its own, as far as there are cores. A
/// policy that cannot be counted is an error, and not missing.
fn of_each<W: Send, F: Send>(
    mut work: Vec<(&str, W)>,
    find: impl Fn(W) -> F + Sync,
) -> Result<Vec<F>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut found, find) = (Vec::new(), &find);
    while !work.is_empty() {
        let batch: Vec<_> = work.drain(..work.len().min(cores)).collect();
        let joined: Vec<_> = std::thread::scope(|scope| {
            let each: Vec<_> = batch
                .into_iter()
                .map(|(name, work)| (name, scope.spawn(move || find(work))))
                .collect();
            each.into_iter().map(|(name, one)| (name, one.join())).collect()
        });
        for (name, one) in joined {
            let broken = |_| format!("policy `{name}` cannot be reported on: counting it panicked");
            found.push(one.map_err(broken)?);
        }
    }
    Ok(found)
}

fn per_second(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { number as f64 / seconds } else { 0.0 }
}

/// The share of `part` in `whole`; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

// === impl Bad ===

impl Bad {
    pub(super) fn new(file: &str, line: u64, why: Unreadable, text: &[u8]) -> Self {
        let text = text.escape_ascii().to_string();
        Self { file: file.to_owned(), line, why: why.0, text }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.escape_debug();
        write!(f, "{file}:{}: this line cannot be read: {}", self.line, self.why)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.text) }
    }
}

// === impl Finding ===

impl Finding {
    fn new(limited: &PartitionedPolicy, book: Book, memory: &Memory, top: usize) -> Self {
        let policy = limited.own.policy();
        let slots = memory.slots().iter().enumerate();
        let (bans, mut slots): (Vec<_>, Vec<(usize, &Slot)>) = slots
            .filter(|(_, slot)| slot.policy == policy.id)
            .partition(|(_, slot)| slot.is_of_ban);
        let used = Used::of(slots.iter().map(|(_, slot)| slot.used).collect());
        let keys = slots.len() as u64;
        slots.retain(|(_, slot)| slot.denied > 0);
        // Those met first come first among equals.
        slots.sort_by_key(|(key, slot)| (Reverse(slot.denied), *key));
        let shown = slots.iter().take(top).map(|(key, slot)| Top {
            name: book.name_of(*key as u32).unwrap_or("(one of too many to name)").to_owned(),
            checked: slot.checked,
            denied: slot.denied,
        });
        Self {
            name: policy.name.clone(),
            enforced: policy.enforced(),
            limit: explain::limit(limited, policy),
            divided: explain::divided(&limited.partition),
            algorithm: policy.limit.name(),
            quota: policy.limit.units(),
            window: policy.limit.quota().map_or(Micros::ZERO, Quota::window),
            burst: matches!(policy.limit, Limit::TokenBucket(_)).then(|| policy.limit.cost_max()),
            partition: limited.partition.words().iter().map(ToString::to_string).collect(),
            checked: book.checked,
            denied: book.denied,
            banned: book.banned,
            bans: bans.iter().map(|(_, slot)| slot.bans).sum(),
            keys,
            keys_denied: slots.len() as u64,
            top: shown.collect(),
            used,
            timeline: book.timeline.clone(),
            trial: Tried::new(limited, book),
        }
    }
}

// === impl Used ===

impl Used {
    /// `None` of no key.
    fn of(mut shares: Vec<u32>) -> Option<Self> {
        shares.sort_unstable();
        // The smallest that at least so many of a hundred do not exceed.
        let at = |percent: usize| {
            let rank = (shares.len() * percent).div_ceil(100).saturating_sub(1);
            shares.get(rank).copied()
        };
        Some(Self { median: at(50)?, p99: at(99)?, most: *shares.last()? })
    }
}

// === impl Tried ===

impl Tried {
    fn new(limited: &PartitionedPolicy, book: Book) -> Self {
        let events = book.recorder.into_events();
        let (one_in, beginning) = (events.one_in, events.beginning);
        let alone = Alone::new(limited.own.policy().limit, limited.own.periods(), events);
        let proposal = alone.propose();
        let curve = alone.curve(proposal.map(|proposal| proposal.units));
        Self { proposal, curve, asked: alone.asked(), one_in, beginning }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_cannot_be_counted_is_no_policy_that_is_not_there() {
        let work = || (0..40).map(|number| ("p", number)).collect();
        let all: Vec<u32> = of_each(work(), |number: u32| number).unwrap();
        assert_eq!(all, (0..40).collect::<Vec<u32>>());
        let broken = of_each(work(), |number: u32| assert_ne!(number, 17));
        assert!(broken.unwrap_err().contains("policy `p`"));
    }
}
