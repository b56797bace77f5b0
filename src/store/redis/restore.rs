//! Tells Redis what this gateway knows better: after an outage before any request goes there, and
//! then whenever a call that got no answer was decided here.
//!
//! For each key: never less than Redis once told, and on top of it what was charged here since. So
//! a Redis that has forgotten gives nobody a fresh quota whom a gateway knew, and one that has not
//! counts what was admitted without it. A key that Redis has changed meanwhile is worked out anew.

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::RedisStore;
use super::fault::Fault;
use super::link::Link;
use super::scripts::RESTORE;
use crate::limit::{Standing, State, Timestamp};
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

/// A key, what Redis is taken to hold of it, and what it is to hold.
struct Claim {
    known: Known,
    held: Option<value::Value>,
    standing: Standing,
}

// === impl RedisStore ===

impl RedisStore {
    /// Tells Redis on `link` what it has not been told of, or `everything` that counts, and again
    /// what was charged in the meantime.
    pub(super) async fn restore(
        &self,
        link: &Link,
        local: &LocalStore,
        everything: bool,
    ) -> Result<usize, Fault> {
        let mut told = self.pass(link, local, everything).await?;
        for _ in 1..PASSES {
            match self.pass(link, local, false).await? {
                0 => break,
                more => told += more,
            }
        }
        Ok(told)
    }

    async fn pass(
        &self,
        link: &Link,
        local: &LocalStore,
        everything: bool,
    ) -> Result<usize, Fault> {
        let (mut from, mut told) = (Some(0), 0);
        while let Some(set) = from {
            let batch = local.known(set, BATCH, everything, self.now());
            told += batch.known.len();
            from = batch.next;
            for known in chunks(batch.known) {
                self.tell(link, local, known).await?;
            }
        }
        Ok(told)
    }

    async fn tell(&self, link: &Link, local: &LocalStore, known: Vec<Known>) -> Result<(), Fault> {
        let now = self.now();
        let claim =
            |known: Known| Claim { held: None, standing: known.on_top_of(None, now), known };
        let mut claims: Vec<Claim> = known.into_iter().map(claim).collect();
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
        let reply =
            link.run(&RESTORE, |verb, script| command(verb, script, &claims), TIMEOUT).await?;
        let Value::Array(parts) = reply else { return Err(Fault::malformed()) };
        let [Value::Int(now), answers @ ..] = parts.as_slice() else {
            return Err(Fault::malformed());
        };
        let now = Timestamp::from_micros(u64::try_from(*now).map_err(|_| Fault::malformed())?);
        if answers.len() != claims.len() {
            return Err(Fault::malformed());
        }
        self.meet(now);
        let mut left = Vec::new();
        for (mut claim, answer) in claims.into_iter().zip(answers) {
            match answer {
                Value::Int(_) => local.settle(&claim.known, &claim.standing.state(), now),
                Value::Nil => left.push(claim.anew(None, now)),
                Value::BulkString(bytes) => {
                    claim = claim.anew(Some(bytes.as_slice().into()), now);
                    let wanted = claim.value();
                    if wanted == claim.held {
                        local.settle(&claim.known, &claim.standing.state(), now);
                    } else {
                        left.push(claim);
                    }
                }
                _ => return Err(Fault::malformed()),
            }
        }
        Ok(left)
    }
}

// === impl Claim ===

impl Claim {
    /// The same claim now that Redis turned out to hold something else.
    fn anew(self, held: Option<value::Value>, now: Timestamp) -> Self {
        let state = held.as_deref().and_then(|bytes| self.state_of(bytes));
        let standing = self.known.on_top_of(state.as_ref(), now);
        Self { held, standing, ..self }
    }

    fn state_of(&self, bytes: &[u8]) -> Option<State> {
        decode(&self.known.policy.limit, bytes)
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
        let lasts = claim.standing.empty_after().get().div_ceil(1_000).max(1);
        command.arg(claim.held.as_deref().unwrap_or_default());
        command.arg(claim.value().as_deref().unwrap_or_default()).arg(lasts);
    }
    command
}

/// A set that was full may have made the batch a little larger than a call.
fn chunks(known: Vec<Known>) -> impl Iterator<Item = Vec<Known>> {
    let mut known = known.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<Known> = known.by_ref().take(BATCH).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}
