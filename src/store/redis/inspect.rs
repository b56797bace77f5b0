//! A single look at what Redis holds, for `sluicegate explain --store`: nothing is written, and
//! nothing keeps the connection.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::link::{Link, Turn};
use super::route::Errand;
use super::shard::Shard;
use super::{Fault, RedisStore};
use crate::limit::{Check, Limit, Standing, State, Timestamp, concurrency};
use crate::store::value::decode;

/// Redis' own reply to TIME: seconds and microseconds.
type Time = (u64, u64);

impl RedisStore {
    /// Connects without a supervisor: for a process that asks a few questions and ends. Of a cluster
    /// one server is enough: what is on the others is then said to be away.
    pub async fn connect_once(&self) -> Result<(), Fault> {
        if let Some(seeds) = &self.seeds {
            self.redraw(&self.ask_for_map(seeds, (false, 0)).await?.map);
        }
        let mut result = Err(Fault::away());
        for shard in &self.shards.load_full().all {
            match self.connect_to(shard).await {
                Ok(()) => result = Ok(()),
                fault if result.is_err() => result = fault,
                Err(_) => {}
            }
        }
        result
    }

    async fn connect_to(&self, shard: &Shard) -> Result<(), Fault> {
        let link = shard.open().await?;
        shard.meet(timestamp(link.time(self.common.patience()).await?));
        shard.link.store(Some(Arc::new(link)));
        Ok(())
    }

    /// How the key of each of `checks` stands by the clock of the server that has it, or why that
    /// is not known. Only after [`Self::connect_once`].
    pub async fn inspect(&self, checks: &[Check]) -> Vec<Result<Standing, Fault>> {
        let mut standings = Vec::with_capacity(checks.len());
        for places in self.groups(checks.iter().map(|check| check.key.as_str())) {
            let mine: Vec<&Check> = places.iter().map(|place| &checks[*place]).collect();
            let found = self.inspect_one(&mine).await;
            standings.extend(places.iter().enumerate().map(|(at, place)| {
                let standing = found.as_ref().map(|standings| standings[at].clone());
                (*place, standing.map_err(Fault::clone))
            }));
        }
        standings.sort_by_key(|(place, _)| *place);
        standings.into_iter().map(|(_, standing)| standing).collect()
    }

    /// The same for those of one of the [`Self::groups`], each of which has a standing then.
    async fn inspect_one(&self, checks: &[&Check]) -> Result<Vec<Standing>, Fault> {
        let key = checks.first().map_or("", |check| check.key.as_str());
        self.follow(key, self.common.patience(), &Look { checks }).await?.1
    }
}

/// A look at keys that may be in one call.
struct Look<'a> {
    checks: &'a [&'a Check],
}

// === impl Errand ===

impl Errand for Look<'_> {
    type Answer = Vec<Standing>;

    async fn run(
        &self,
        link: &Link,
        turn: Turn,
        longest: Duration,
    ) -> Result<Vec<Standing>, Fault> {
        let keys: Vec<&str> = self.checks.iter().map(|check| check.key.as_str()).collect();
        let (time, values): (Time, Vec<Value>) = link.read(turn, &keys, longest).await?;
        let now = timestamp(time);
        let mut standings = Vec::with_capacity(keys.len());
        for ((check, key), value) in self.checks.iter().zip(keys).zip(values) {
            let limit = &check.policy.limit;
            let state = match (&value, limit) {
                (_, Limit::Concurrency(_)) => {
                    let ends = now.after(concurrency::LIFE);
                    Some(State::InFlight(link.count(turn, key, (now, ends), longest).await?))
                }
                (Value::BulkString(bytes), limit) => decode(limit, bytes),
                _ => None,
            };
            standings.push(limit.read(state.as_ref(), now));
        }
        if standings.len() == self.checks.len() { Ok(standings) } else { Err(Fault::malformed()) }
    }
}

fn timestamp((seconds, micros): Time) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
