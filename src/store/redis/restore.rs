//! Tells Redis what this gateway knows better: after an outage before any request goes there, and
//! then whenever a call that got no answer was decided here.
//!
//! For each key: never less than Redis once told, and on top of it what was charged here since;
//! the script works it out within Redis, so that a key that others use all the time is told like
//! any other. A Redis that has forgotten gives nobody a fresh quota whom a gateway knew, and one that
//! has not counts what was admitted without it.
//!
//! A Redis that has forgotten is told in two steps, and each gateway waits between them for the
//! others: first what all have seen, then what each has charged. In one step, what the first
//! charged and what the second saw could pass for the same.
//!
//! A call whose reply is lost is sent again with its number, and charges once. In a cluster that is
//! a call for each slot, each with a record of its own.
//!
//! What is sent elsewhere concerns a slot that is moving: it stays owed, and whoever serves it is told.
//!
//! Not promised: where the slot moves to another server while a reply is lost, the charges of that
//! call are told there anew, and may have been counted twice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::task::yield_now;

use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::lock;
use super::scripts::RESTORE;
use super::shard::Shard;
use super::slots::{calls_for, slot_of, tag_in};
use crate::limit::{Micros, Timestamp};
use crate::store::local::{Batch, Known, LocalStore, What};
use crate::store::script::{Now, Told, restore, restored};

/// Passes over what was charged during the pass before, until requests go to Redis all the same.
const PASSES: u32 = 3;
/// Calls of a telling that are under way at once: decisions have their turn between them.
const TOLD_AT_ONCE: usize = 16;
/// Longest that slots stay closed which nobody handed over.
const CLOSED_MAX: Micros = Micros::new(10_000_000);
/// What Redis told so shortly before it was last seen alive it may have lost unnoticed.
const UNSURE: Micros = Micros::new(2_000_000);

/// What a gateway still owes Redis.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// What Redis may have forgotten, as far as it has not been told again.
    seen: Option<Seen>,
    /// How often something came to be owed.
    owed: u64,
    /// A call that charges and may or may not have been carried out.
    unconfirmed: Option<Arc<Telling>>,
    /// The charges of the local store that were all told of; `None`: there may be older ones, of
    /// keys that another server had.
    charges: Option<u64>,
    /// Some of what was last told was sent elsewhere, and stays owed.
    moving: bool,
    /// All charges have been looked through since something last came to be owed.
    swept: bool,
    /// When slots first came here that nobody handed over, if not all is told of them.
    inherited: Option<Timestamp>,
    /// Some of what was seen could not be told, for it is moving.
    unshown: bool,
    /// Which slots came last: those who tell of them wait for one another, and not for who has
    /// told this server of something else a moment ago.
    occasion: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Timestamp,
    from: usize,
}

/// A call that charges.
#[derive(Debug)]
struct Telling {
    number: u64,
    known: Vec<Arc<Known>>,
}

/// What came of a part of a call: the places of its keys.
type Part = (Vec<usize>, Result<Told, Fault>);

// === impl Debts ===

impl Debts {
    /// Something has come to be owed, or may have.
    const fn add(&mut self) {
        self.owed += 1;
        (self.charges, self.swept) = (None, false);
    }
}

// === impl Shard ===

impl Shard {
    /// Redis has just been connected to, and remembers the heartbeat of that time; `None`: it has
    /// lost its memory, or nobody has handed over what it serves now.
    pub(super) fn owe(&self, remembered: Option<Timestamp>) {
        let since = remembered.map_or(Timestamp::EPOCH, |at| at.before(UNSURE));
        let mut debts = lock(&self.debts);
        let since = debts.seen.map_or(since, |seen| seen.since.min(since));
        debts.seen = Some(Seen { since, from: 0 });
        debts.add();
    }

    /// Other slots are served here than before. With them came all that is in them, but for orphaned
    /// ones, of which this is a name that all gateways know.
    pub(super) fn inherit(&self, orphaned: Option<String>) {
        let Some(orphaned) = orphaned else {
            lock(&self.debts).add();
            return;
        };
        self.owe(None);
        let mut debts = lock(&self.debts);
        debts.inherited.get_or_insert(self.common.clock.now());
        debts.occasion = Some(orphaned);
        drop(debts);
        self.bequeathed.notify_one();
    }

    /// Whether orphaned slots are still to be told of.
    pub(super) fn is_heir(&self) -> bool {
        lock(&self.debts).inherited.is_some()
    }

    /// Whether something that was seen, however long ago, has not been told: whoever is handed the
    /// keys is not handed that.
    pub(super) fn owes_all(&self) -> bool {
        let debts = lock(&self.debts);
        debts.unshown || debts.seen.is_some_and(|seen| seen.since == Timestamp::EPOCH)
    }

    /// What has been told until now may have been all that concerns orphaned slots: then requests
    /// may go there. So they may when telling takes too long.
    pub(super) fn settle_inheritance(&self) {
        let (now, mut debts) = (self.common.clock.now(), lock(&self.debts));
        let all = debts.seen.is_none() && debts.swept;
        if debts.inherited.is_some_and(|since| all || now.since(since) > CLOSED_MAX) {
            (debts.inherited, debts.occasion) = (None, None);
            drop(debts);
            self.common.remap.notify_one();
        }
    }

    /// Tells Redis on `link` what is owed, for about `longest`; what is left then is told the next
    /// time. Returns of how many keys. Nothing is lost if this is dropped half way.
    pub(super) async fn restore(
        &self,
        link: &Link,
        local: &LocalStore,
        longest: Duration,
    ) -> Result<usize, Fault> {
        let until = || self.common.clock.now().after(longest.into());
        let Some(mut keys) = self.show(link, local, until()).await? else { return Ok(0) };
        let until = until();
        for _ in 0..PASSES {
            let charges = local.charges();
            self.confirm(link, local).await?;
            let owed = {
                let debts = lock(&self.debts);
                if debts.charges == Some(charges) {
                    break;
                }
                debts.owed
            };
            let (told, all) = self.charge(link, local, until).await?;
            keys = keys.max(told);
            if !all {
                break;
            }
            self.write_off(owed, |debts| {
                debts.swept = true;
                debts.charges = (!debts.moving).then_some(charges);
            });
        }
        Ok(keys)
    }

    /// Tells what was seen. Returns of how many keys, or `None` if the time is over before all is
    /// told.
    async fn show(
        &self,
        link: &Link,
        local: &LocalStore,
        until: Timestamp,
    ) -> Result<Option<usize>, Fault> {
        let (seen, owed, occasion) = {
            let debts = lock(&self.debts);
            (debts.seen, debts.owed, debts.occasion.clone())
        };
        let Some(Seen { since, mut from }) = seen else { return Ok(Some(0)) };
        let (mut keys, mut moving) = (0, false);
        loop {
            if self.common.clock.now() >= until {
                return Ok(None);
            }
            let Batch { known, next } = self.known(local, from, What::Seen { since });
            keys += known.len();
            for (_, told) in self.call(link, 0, &arcs(known)).await {
                moving |= told.as_ref().is_err_and(|fault| fault.kind() == FaultKind::Moved);
                told.map(drop).or_else(Fault::unless_moved)?;
            }
            let Some(next) = next else { break };
            from = next;
            self.write_off(owed, |debts| debts.seen = Some(Seen { since, from }));
        }
        if since == Timestamp::EPOCH {
            self.gather(link, keys > 0, occasion).await.or_else(Fault::unless_moved)?;
            self.write_off(owed, |debts| debts.unshown = moving);
        }
        self.write_off(owed, |debts| debts.seen = None);
        Ok(Some(keys))
    }

    /// Tells what was charged. Returns of how many keys, and whether that was all.
    async fn charge(
        &self,
        link: &Link,
        local: &LocalStore,
        until: Timestamp,
    ) -> Result<(usize, bool), Fault> {
        lock(&self.debts).moving = false;
        let (mut from, mut keys) = (Some(0), 0);
        while let Some(set) = from {
            if self.common.clock.now() >= until {
                return Ok((keys, false));
            }
            let Batch { known, next } = self.known(local, set, What::Untold);
            keys += known.len();
            from = next;
            if !known.is_empty() {
                let telling = Telling { number: self.common.next_number(), known: arcs(known) };
                lock(&self.debts).unconfirmed = Some(Arc::new(telling));
            }
            self.confirm(link, local).await?;
        }
        Ok((keys, true))
    }

    /// Sends the call that is not confirmed, if there is one, until it is. What was sent elsewhere
    /// stays untold.
    async fn confirm(&self, link: &Link, local: &LocalStore) -> Result<(), Fault> {
        let Some(telling) = lock(&self.debts).unconfirmed.clone() else { return Ok(()) };
        let (mut left, mut moving, mut failed) = (Vec::new(), false, None);
        for (places, told) in self.call(link, telling.number, &telling.known).await {
            let known = places.iter().map(|place| &telling.known[*place]);
            match told {
                Ok((now, states)) => {
                    for (known, state) in known.zip(states) {
                        local.confirm(known, state.as_ref(), now);
                    }
                }
                Err(fault) if fault.kind() == FaultKind::Moved => moving = true,
                Err(fault) => {
                    left.extend(known.cloned());
                    failed = Some(fault);
                }
            }
        }
        let left = (!left.is_empty()).then(|| Telling { number: telling.number, known: left });
        let mut debts = lock(&self.debts);
        debts.unconfirmed = left.map(Arc::new);
        debts.moving |= moving;
        failed.map_or(Ok(()), Err)
    }

    /// Notes in the debts what was told, unless something has come to be owed meanwhile.
    fn write_off(&self, owed: u64, note: impl FnOnce(&mut Debts)) {
        let mut debts = lock(&self.debts);
        if debts.owed == owed {
            note(&mut debts);
        }
    }

    /// Tells Redis of `known`, part by part as they may be in one call.
    async fn call(&self, link: &Link, number: u64, known: &[Arc<Known>]) -> Vec<Part> {
        if known.is_empty() {
            // Looking took a while; others have their turn.
            yield_now().await;
            return Vec::new();
        }
        let duty = self.duty();
        let duty = &duty;
        let groups = calls_for(duty.slots.is_some(), known.iter().map(|known| &*known.key));
        let calls = groups.into_iter().map(|places| async move {
            let mine: Vec<Arc<Known>> = places.iter().map(|at| Arc::clone(&known[*at])).collect();
            let record = match duty.slots {
                Some(_) => self.record(&mine[0]),
                None => duty.heart.calls.clone(),
            };
            let told = self.tell(link, &record, number, &mine).await;
            (places, told)
        });
        stream::iter(calls).buffer_unordered(TOLD_AT_ONCE).collect().await
    }

    async fn tell(
        &self,
        link: &Link,
        record: &str,
        number: u64,
        known: &[Arc<Known>],
    ) -> Result<Told, Fault> {
        let now = self.now();
        let command = |verb: &str, script: &str| {
            restore(verb, script, record, number, known, (Now::Redis, now))
        };
        let reply = link.run(&RESTORE, command, self.common.patience()).await?;
        let told = restored(known, &reply).map_err(|_| Fault::malformed())?;
        self.meet(told.0);
        Ok(told)
    }

    /// The key under which the slot of `known` keeps which call was this gateway's last.
    fn record(&self, known: &Known) -> String {
        let tag = tag_in(slot_of(known.key.as_bytes()));
        format!("{}:{{{tag}}}:calls:{}", self.common.key_prefix, self.common.name)
    }

    /// Some of what the local store knows of the keys that are served here.
    fn known(&self, local: &LocalStore, from: usize, what: What) -> Batch {
        local.known(from, what, self.now(), |key| self.serves(key))
    }
}

fn arcs(known: Vec<Known>) -> Vec<Arc<Known>> {
    known.into_iter().map(Arc::new).collect()
}
