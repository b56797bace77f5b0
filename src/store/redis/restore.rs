//! Tells Redis what this gateway knows better: after an outage before any request goes there, and
//! then whenever a call that got no answer was decided here.
//!
//! For each key: never less than Redis once told, and on top of it what was charged here since. So
//! a Redis that has forgotten gives nobody a fresh quota whom a gateway knew, and one that has not
//! counts what was admitted without it. A key that Redis has changed meanwhile is worked out anew.
//!
//! A Redis that has forgotten is told in two steps, and each gateway waits between them for the
//! others: first what all have seen, then what each has charged. In one step, what the first
//! charged and what the second saw could pass for the same.

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::RedisStore;
use super::fault::Fault;
use super::heartbeat::Memory;
use super::link::Link;
use super::scripts::RESTORE;
use crate::limit::{Standing, Timestamp};
use crate::store::local::{Known, LocalStore};
use crate::store::value::{self, decode, encode};

/// Keys in one call: a fraction of a millisecond of Redis' time.
const BATCH: usize = 128;
/// Longest wait for such a call; no request waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Attempts at a key that Redis changes between the attempts. What is left is told a second later.
const ATTEMPTS: u32 = 5;
/// Passes over what was charged during the pass before, until requests go to Redis all the same.
const PASSES: u32 = 3;

/// What Redis is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What it once told itself.
    Seen,
    /// And what was charged here since.
    Everything,
}

/// A key, what Redis is taken to hold of it, and what it is to hold.
struct Claim {
    known: Known,
    part: Part,
    held: Option<value::Value>,
    standing: Standing,
}

// === impl RedisStore ===

impl RedisStore {
    /// Tells Redis on `link` what it has not been told of, and if it has lost its memory everything
    /// that counts; and again what was charged in the meantime. Returns of how many keys.
    pub(super) async fn restore(
        &self,
        link: &Link,
        local: &LocalStore,
        memory: Memory,
    ) -> Result<usize, Fault> {
        let mut keys = 0;
        if memory == Memory::Lost {
            keys = self.pass(link, local, Part::Seen).await?;
            self.gather(link, keys > 0).await?;
        }
        for _ in 0..PASSES {
            match self.pass(link, local, Part::Everything).await? {
                0 => break,
                charged => keys = keys.max(charged),
            }
        }
        Ok(keys)
    }

    async fn pass(&self, link: &Link, local: &LocalStore, part: Part) -> Result<usize, Fault> {
        let (mut from, mut keys) = (Some(0), 0);
        while let Some(set) = from {
            let batch = local.known(set, BATCH, part == Part::Seen, self.now());
            keys += batch.known.len();
            from = batch.next;
            let now = self.now();
            let mut claims = batch.known.into_iter().map(|known| Claim::new(known, part, now));
            // The last set may have made the batch a little larger than a call.
            loop {
                let call: Vec<Claim> = claims.by_ref().take(BATCH).collect();
                if call.is_empty() {
                    break;
                }
                self.tell(link, local, call).await?;
            }
        }
        Ok(keys)
    }

    async fn tell(
        &self,
        link: &Link,
        local: &LocalStore,
        mut claims: Vec<Claim>,
    ) -> Result<(), Fault> {
        for _ in 0..ATTEMPTS {
            // What has run down since says no more than its absence would.
            claims.retain(|claim| claim.standing.used_share() > 0);
            if claims.is_empty() {
                break;
            }
            claims = self.attempt(link, local, claims).await?;
        }
        Ok(())
    }

    /// Writes what Redis lets it write, and returns the others, worked out anew.
    async fn attempt(
        &self,
        link: &Link,
        local: &LocalStore,
        claims: Vec<Claim>,
    ) -> Result<Vec<Claim>, Fault> {
        let command = |verb: &str, script: &str| command(verb, script, &claims);
        let Value::Array(parts) = link.run(&RESTORE, command, TIMEOUT).await? else {
            return Err(Fault::malformed());
        };
        let [Value::Int(now), answers @ ..] = parts.as_slice() else {
            return Err(Fault::malformed());
        };
        let now = Timestamp::from_micros(u64::try_from(*now).map_err(|_| Fault::malformed())?);
        if answers.len() != claims.len() {
            return Err(Fault::malformed());
        }
        self.meet(now);
        let mut left = Vec::new();
        for (claim, answer) in claims.into_iter().zip(answers) {
            let claim = match answer {
                Value::Int(_) => claim,
                Value::Nil => claim.anew(None, now),
                Value::BulkString(bytes) => claim.anew(Some(bytes.as_slice().into()), now),
                _ => return Err(Fault::malformed()),
            };
            if !matches!(answer, Value::Int(_)) && claim.value() != claim.held {
                left.push(claim);
            } else if claim.part == Part::Everything {
                local.settle(&claim.known, &claim.standing.state(), now);
            }
        }
        Ok(left)
    }
}

// === impl Claim ===

impl Claim {
    /// A claim against a Redis that is taken to hold nothing.
    fn new(known: Known, part: Part, now: Timestamp) -> Self {
        let standing = known.seen_beside(None, now);
        Self { known, part, held: None, standing }.anew(None, now)
    }

    /// The same claim now that Redis turned out to hold something else.
    fn anew(self, held: Option<value::Value>, now: Timestamp) -> Self {
        let state = held.as_deref().and_then(|bytes| decode(&self.known.policy.limit, bytes));
        let standing = match self.part {
            Part::Seen => self.known.seen_beside(state.as_ref(), now),
            Part::Everything => self.known.on_top_of(state.as_ref(), now),
        };
        Self { held, standing, ..self }
    }

    fn value(&self) -> Option<value::Value> {
        encode(&self.known.policy.limit, &self.standing.state())
    }
}

fn command(verb: &str, script: &str, claims: &[Claim]) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(claims.len());
    for claim in claims {
        command.arg(claim.known.key.as_ref());
    }
    for claim in claims {
        let lasts_ms = claim.standing.empty_after().get().div_ceil(1_000).max(1);
        command.arg(claim.held.as_deref().unwrap_or_default());
        command.arg(claim.value().as_deref().unwrap_or_default()).arg(lasts_ms);
    }
    command
}
