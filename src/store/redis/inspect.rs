//! A single look at what Redis holds, for `sluicegate explain --store`: nothing is written, and
//! nothing keeps the connection.

use std::sync::Arc;

use redis::Value;

use super::link::Link;
use super::{Fault, RedisStore};
use crate::limit::{Check, Limit, Standing, State, Timestamp, concurrency};
use crate::store::value::decode;

/// Redis' own reply to TIME: seconds and microseconds.
type Time = (u64, u64);

impl RedisStore {
    /// Connects without a supervisor: for a process that asks a few questions and ends.
    pub async fn connect_once(&self) -> Result<(), Fault> {
        let link = Link::open(&self.client).await?;
        self.meet(timestamp(link.time(self.patience()).await?));
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    /// How the keys of `checks` stand by Redis' clock. Only after [`Self::connect_once`].
    pub async fn inspect(&self, checks: &[Check]) -> Result<Vec<Standing>, Fault> {
        let Some(link) = self.link.load_full() else { return Err(Fault::away()) };
        let keys: Vec<&str> = checks.iter().map(|check| check.key.as_str()).collect();
        let (time, values): (Time, Vec<Value>) = link.read(&keys, self.patience()).await?;
        let now = timestamp(time);
        let mut standings = Vec::with_capacity(checks.len());
        for (check, value) in checks.iter().zip(values) {
            let limit = &check.policy.limit;
            let state = match (&value, limit) {
                (_, Limit::Concurrency(_)) => {
                    let ends = now.after(concurrency::LIFE);
                    let key = check.key.as_str();
                    Some(State::InFlight(link.count(key, (now, ends), self.patience()).await?))
                }
                (Value::BulkString(bytes), limit) => decode(limit, bytes),
                _ => None,
            };
            standings.push(limit.read(state.as_ref(), now));
        }
        Ok(standings)
    }
}

fn timestamp((seconds, micros): Time) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
