//! A single look at what Redis holds, for `sluicegate explain --store`: nothing is written, and
//! nothing keeps the connection.

use std::sync::Arc;

use redis::Value;

use super::link::Link;
use super::{Fault, RedisStore};
use crate::limit::{Check, Standing, Timestamp};
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
        let each = checks.iter().zip(values).map(|(check, value)| {
            let state = match &value {
                Value::BulkString(bytes) => decode(&check.policy.limit, bytes),
                _ => None,
            };
            check.policy.limit.read(state.as_ref(), now)
        });
        Ok(each.collect())
    }
}

fn timestamp((seconds, micros): Time) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
