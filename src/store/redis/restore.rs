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
//! A call whose reply is lost is sent again with its number, and charges once.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;

use super::fault::Fault;
use super::link::Link;
use super::scripts::RESTORE;
use super::{RedisStore, lock};
use crate::limit::{Micros, Timestamp};
use crate::store::local::{Batch, Known, LocalStore, What};
use crate::store::script::{Now, Told, restore, restored};

/// Passes over what was charged during the pass before, until requests go to Redis all the same.
const PASSES: u32 = 3;
/// What Redis told so shortly before it was last seen alive it may have lost unnoticed.
const UNSURE: Micros = Micros::new(2_000_000);

/// What a gateway still owes Redis.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// What Redis may have forgotten, as far as it has not been told again.
    seen: Option<Seen>,
    /// A call that charges and may or may not have been carried out.
    unconfirmed: Option<Arc<Telling>>,
    /// The number of the last call that charges.
    number: u64,
    /// The charges of the local store that were all told of.
    charges: u64,
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
    known: Vec<Known>,
}

// === impl RedisStore ===

impl RedisStore {
    /// Redis has just been connected to, and remembers the heartbeat of that time; `None`: it has
    /// lost its memory.
    pub(super) fn owe(&self, remembered: Option<Timestamp>) {
        let since = remembered.map_or(Timestamp::EPOCH, |at| at.before(UNSURE));
        let mut debts = lock(&self.debts);
        let since = debts.seen.map_or(since, |seen| seen.since.min(since));
        debts.seen = Some(Seen { since, from: 0 });
    }

    /// Tells Redis on `link` what is owed, for about `longest`; what is left then is told the next
    /// time. Returns of how many keys. Nothing is lost if this is dropped half way.
    pub(super) async fn restore(
        &self,
        link: &Link,
        local: &LocalStore,
        longest: Duration,
    ) -> Result<usize, Fault> {
        let until = self.clock.now().after(longest.into());
        let Some(mut keys) = self.show(link, local, until).await? else { return Ok(0) };
        for _ in 0..PASSES {
            let charges = local.charges();
            self.confirm(link, local).await?;
            if charges == lock(&self.debts).charges {
                break;
            }
            let (told, all) = self.charge(link, local, until).await?;
            keys = keys.max(told);
            if !all {
                break;
            }
            lock(&self.debts).charges = charges;
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
        let Some(Seen { since, mut from }) = lock(&self.debts).seen else { return Ok(Some(0)) };
        let mut keys = 0;
        loop {
            if self.clock.now() >= until {
                return Ok(None);
            }
            let Batch { known, next } = local.known(from, What::Seen { since }, self.now());
            keys += known.len();
            self.call(link, 0, &known).await?;
            let Some(next) = next else { break };
            from = next;
            lock(&self.debts).seen = Some(Seen { since, from });
        }
        if since == Timestamp::EPOCH {
            self.gather(link, keys > 0).await?;
        }
        lock(&self.debts).seen = None;
        Ok(Some(keys))
    }

    /// Tells what was charged. Returns of how many keys, and whether that was all.
    async fn charge(
        &self,
        link: &Link,
        local: &LocalStore,
        until: Timestamp,
    ) -> Result<(usize, bool), Fault> {
        let (mut from, mut keys) = (Some(0), 0);
        while let Some(set) = from {
            if self.clock.now() >= until {
                return Ok((keys, false));
            }
            let Batch { known, next } = local.known(set, What::Untold, self.now());
            keys += known.len();
            from = next;
            if !known.is_empty() {
                let mut debts = lock(&self.debts);
                debts.number += 1;
                debts.unconfirmed = Some(Arc::new(Telling { number: debts.number, known }));
                drop(debts);
            }
            self.confirm(link, local).await?;
        }
        Ok((keys, true))
    }

    /// Sends the call that is not confirmed, if there is one, until it is.
    async fn confirm(&self, link: &Link, local: &LocalStore) -> Result<(), Fault> {
        let Some(telling) = lock(&self.debts).unconfirmed.clone() else { return Ok(()) };
        let (now, states) = self.call(link, telling.number, &telling.known).await?;
        for (known, state) in telling.known.iter().zip(states) {
            local.confirm(known, state.as_ref(), now);
        }
        lock(&self.debts).unconfirmed = None;
        Ok(())
    }

    /// Tells Redis of `known`. Returns its clock, and what it holds of each key since.
    async fn call(&self, link: &Link, number: u64, known: &[Known]) -> Result<Told, Fault> {
        let now = self.now();
        if known.is_empty() {
            // Looking took a while; others have their turn.
            yield_now().await;
            return Ok((now, Vec::new()));
        }
        let command = |verb: &str, script: &str| {
            restore(verb, script, &self.heart.calls, number, known, (Now::Redis, now))
        };
        let reply = link.run(&RESTORE, command, self.patience()).await?;
        let told = restored(known, &reply).map_err(|_| Fault::malformed())?;
        self.meet(told.0);
        Ok(told)
    }
}
