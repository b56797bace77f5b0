//! The way of a call: to the server that serves its keys, and once more where a cluster sends it on.
//!
//! Nothing is sent twice that may have been carried out: a server that sends a call elsewhere has
//! not touched a key, and whatever else goes wrong ends the call. All of it shares one deadline.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, sleep};

use super::RedisStore;
use super::fault::{Elsewhere, Fault, FaultKind};
use super::link::{Link, Turn};
use super::scripts::Script;
use super::shard::Shard;
use super::slots::{calls_for, slot_of};

/// How often a call is sent on: from who served the slot once, to who does, to where it is moving.
const HOPS_MAX: usize = 3;
/// How long the last keys of a call may take to follow the first ones to another server.
const SPLIT_PAUSE: Duration = Duration::from_millis(2);

/// Whom an error reply speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The server: it is given up.
    Store,
    /// The call's own keys or rights: it is counted.
    Call,
}

/// What is to be asked of whoever serves a key.
pub(super) trait Errand: Sync {
    /// The answer.
    type Answer: Send;

    /// Asks on `link`, for `longest` at most.
    fn run(
        &self,
        link: &Link,
        turn: Turn,
        longest: Duration,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// Where a call goes.
pub(super) type Way = (Arc<Shard>, Arc<Link>);

// === impl RedisStore ===

impl RedisStore {
    /// Runs `script` where `key` is served, and has its reply `read`, within `longest`. The keys of
    /// a call are all in one slot, or all on the one server there is.
    pub(super) async fn ask<T>(
        &self,
        key: &str,
        script: &Script,
        command: impl Fn(&str, &str) -> Cmd + Sync,
        longest: Duration,
        blame: Blame,
        read: impl FnOnce(&Value) -> Result<T, Fault>,
    ) -> Result<(T, Arc<Shard>), Fault> {
        let (way, reply) = self.follow(key, longest, &(script, command)).await?;
        let answer = self.conclude(&way, reply.and_then(|reply| read(&reply)), blame)?;
        Ok((answer, way.0))
    }

    /// Tells the breaker of the server what came of a call to it.
    pub(super) fn conclude<T>(
        &self,
        (shard, link): &Way,
        answer: Result<T, Fault>,
        blame: Blame,
    ) -> Result<T, Fault> {
        match answer {
            Ok(answer) => {
                shard.answered_on(link);
                Ok(answer)
            }
            Err(fault) if fault.kind() == FaultKind::ErrorReply && blame == Blame::Call => {
                shard.answered_on(link);
                Err(self.common.count(fault))
            }
            Err(fault) => Err(shard.note(link, fault)),
        }
    }

    /// Runs `errand` where `key` is served. Fails only where nobody has answered it.
    pub(super) async fn follow<E: Errand>(
        &self,
        key: &str,
        longest: Duration,
        errand: &E,
    ) -> Result<(Way, Result<E::Answer, Fault>), Fault> {
        let until = Instant::now() + longest;
        let (mut way, mut turn) = (self.way(key).ok_or_else(|| self.no_way(key))?, Turn::Own);
        let mut reply = errand.run(&way.1, turn, longest).await;
        if self.seeds.is_none() {
            return Ok((way, reply.map_err(Fault::unmoved)));
        }
        for _ in 0..HOPS_MAX {
            let sent_on = |fault: &&Fault| fault.elsewhere().is_some();
            let Some(fault) = reply.as_ref().err().filter(sent_on) else { break };
            if until.saturating_duration_since(Instant::now()) <= SPLIT_PAUSE {
                break;
            }
            (way, turn) = self.onward(way, turn, fault).await?;
            let left = until.saturating_duration_since(Instant::now());
            reply = errand.run(&way.1, turn, left).await;
        }
        if let (Turn::Guest, Err(fault)) = (turn, &reply)
            && fault.kind() == FaultKind::Moved
            && fault.elsewhere().is_none()
            && self.guests_refused.is_due(self.common.clock.now())
        {
            tracing::warn!(
                %fault,
                "a slot is moving and cannot be asked about where it moves to: see the rights in \
                 docs/operating.md"
            );
        }
        Ok((way, reply))
    }

    /// Where a call goes on to that was sent elsewhere by `fault`, and as whom.
    async fn onward(&self, from: Way, turn: Turn, fault: &Fault) -> Result<(Way, Turn), Fault> {
        let onward = match fault.elsewhere() {
            Some(Elsewhere::Moved(place)) => {
                self.common.remap.notify_one();
                self.way_to(&from, place).map(|way| (way, Turn::Own))
            }
            Some(Elsewhere::Moving(place)) => {
                self.way_to(&from, place).map(|way| (way, Turn::Guest))
            }
            Some(Elsewhere::Split) => {
                sleep(SPLIT_PAUSE).await;
                Some((from, turn))
            }
            Some(Elsewhere::Nowhere) | None => None,
        };
        onward.ok_or_else(|| {
            // The map may know more by now.
            self.common.remap.notify_one();
            self.common.count(fault.clone())
        })
    }

    /// The connection on which `key` is asked about, if there is a proven one.
    pub(super) fn way(&self, key: &str) -> Option<Way> {
        let shards = self.shards.load();
        let shard = shards.serving(key)?;
        Some((Arc::clone(shard), shard.link.load_full()?))
    }

    /// Why there is none.
    fn no_way(&self, key: &str) -> Fault {
        let shards = self.shards.load();
        let Some(shard) = shards.serving(key) else {
            return Fault::new(FaultKind::Away, "nobody serves the key's slot");
        };
        let to = |name| Fault::new(FaultKind::Away, format!("no connection to {name}"));
        shard.name().map_or_else(Fault::away, to)
    }

    /// The same to a server that another one has named.
    fn way_to(&self, (from, _): &Way, (host, port): &(String, u16)) -> Option<Way> {
        // Who does not know its own address names no host.
        let own = || from.place().map(|(host, _)| host);
        let named = Some(host.clone()).filter(|host| !host.is_empty() && host != "?");
        let place = (named.or_else(own)?, *port);
        let shards = self.shards.load();
        let shard = shards.all.iter().find(|shard| shard.place().as_ref() == Some(&place))?;
        Some((Arc::clone(shard), shard.link.load_full()?))
    }

    /// Whether `key` can be asked about at this moment.
    pub fn is_reachable(&self, key: &str) -> bool {
        self.shards.load().serving(key).is_some_and(|shard| shard.link.load().is_some())
    }

    /// Whether no key can be asked about.
    pub(super) fn is_away(&self) -> bool {
        self.shards.load().all.iter().all(|shard| shard.link.load().is_none())
    }

    /// Whether all of `keys` may be in one call.
    pub fn are_together<'a>(&self, mut keys: impl Iterator<Item = &'a str>) -> bool {
        if self.shards.load().owners.is_none() {
            return true;
        }
        let first = keys.next().map(|key| slot_of(key.as_bytes()));
        keys.all(|key| Some(slot_of(key.as_bytes())) == first)
    }

    /// Which of `keys` may be in one call, call by call.
    pub fn groups<'a>(&self, keys: impl ExactSizeIterator<Item = &'a str>) -> Vec<Vec<usize>> {
        calls_for(self.shards.load().owners.is_some(), keys)
    }
}

// === impl Errand ===

impl<F: Fn(&str, &str) -> Cmd + Sync> Errand for (&Script, F) {
    type Answer = Value;

    async fn run(&self, link: &Link, turn: Turn, longest: Duration) -> Result<Value, Fault> {
        link.run_in(turn, self.0, &self.1, longest).await
    }
}

// === impl Shards ===

/// The servers of the store, and who serves what.
pub(super) struct Shards {
    pub(super) all: Vec<Arc<Shard>>,
    /// Of each slot of a cluster the place in `all`; `None`: the only one serves every key.
    pub(super) owners: Option<Vec<Option<u16>>>,
}

impl Shards {
    /// One that serves every key.
    pub(super) fn only(shard: Shard) -> Self {
        Self { all: vec![Arc::new(shard)], owners: None }
    }

    /// None yet.
    pub(super) fn unknown() -> Self {
        Self { all: Vec::new(), owners: Some(Vec::new()) }
    }

    /// The server of `key`, unless nobody serves it.
    pub(super) fn serving(&self, key: &str) -> Option<&Arc<Shard>> {
        match self.owners {
            None => self.all.first(),
            Some(_) => self.served_by(slot_of(key.as_bytes())),
        }
    }

    pub(super) fn served_by(&self, slot: u16) -> Option<&Arc<Shard>> {
        let owner = *self.owners.as_ref()?.get(usize::from(slot))?;
        self.all.get(usize::from(owner?))
    }

    /// Whether somebody serves every key.
    pub(super) fn serve_all(&self) -> bool {
        self.owners
            .as_ref()
            .is_none_or(|owners| !owners.is_empty() && owners.iter().all(Option::is_some))
    }
}
