//! The batches of meters: closed, read and acknowledged in Redis, by export.lua and lease.lua.
//!
//! A batch has a name that no other ever has, also after Redis has lost its memory: the millisecond
//! in which it was closed, or one more than that of the batch before, and a random part. Its
//! content never changes. So whoever keeps the names of the batches that were applied, in one
//! transaction with their counts, applies each once.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Value, cmd};

use super::count::{KEPT_MS, unsigned};
use super::fault::{Fault, FaultKind};
use super::route::Blame;
use super::scripts::{EXPORT, LEASE};
use super::{RedisStore, meter_key};

/// Most batches of a meter that wait to be acknowledged; then what is open stays open.
pub const PENDING_MAX: usize = 24;
/// Items that one call reads, about: Redis is busy with them for less than a millisecond.
const READ_AT_ONCE: usize = 512;
/// Attempts to close a batch that another gateway has closed at the same moment.
const ATTEMPTS: u32 = 3;

/// How a meter stands in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Redis' clock, in milliseconds since the epoch.
    pub now_ms: u64,
    /// When the first open view was counted; `None` if none is open.
    pub open_since_ms: Option<u64>,
    /// Items with open counts.
    pub open_items: u64,
    /// The batches that wait to be acknowledged, the oldest first.
    pub pending: Vec<String>,
    last: u64,
}

/// What was counted between two moments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The first view, in milliseconds since the epoch.
    pub from_ms: u64,
    /// The moment in which it was closed; 0 if it is open.
    pub until_ms: u64,
    /// The views of each item.
    pub counts: BTreeMap<String, u64>,
}

/// What came of closing a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// What was open is a batch now.
    Closed,
    /// Nothing was open.
    Empty,
    /// Too many batches are pending.
    Full,
}

// === impl RedisStore ===

impl RedisStore {
    /// How a meter stands.
    pub async fn look_at(&self, meter: &str) -> Result<Standing, Fault> {
        let parts = self.export(meter, None, &["look".to_owned()]).await?;
        standing(&parts).ok_or_else(Fault::malformed)
    }

    /// Makes a batch of what is open.
    pub async fn close(&self, meter: &str) -> Result<Closed, Fault> {
        for _ in 0..ATTEMPTS {
            let standing = self.look_at(meter).await?;
            let number = standing.now_ms.max(standing.last + 1);
            let name = format!("{number}-{:08x}", fastrand::u32(..));
            let words = ["close", &name, &number.to_string(), &PENDING_MAX.to_string()];
            let mut words = words.map(str::to_owned).to_vec();
            words.push(KEPT_MS.to_string());
            let parts = self.export(meter, Some(&name), &words).await?;
            match parts.first().map(text).as_deref() {
                Some("closed") => return Ok(Closed::Closed),
                Some("empty") => return Ok(Closed::Empty),
                Some("full") => return Ok(Closed::Full),
                Some("overtaken") => {}
                _ => return Err(Fault::malformed()),
            }
        }
        // Others close batches all the time: it is done.
        Ok(Closed::Closed)
    }

    /// The content of a batch, or of what is open; `None` if it is gone: acknowledged meanwhile, or
    /// dropped by Redis. It is read bit by
    /// bit, so that decisions have their turn.
    pub async fn read(&self, meter: &str, name: Option<&str>) -> Result<Option<Batch>, Fault> {
        let (mut batch, mut cursor) = (Batch::default(), 0);
        loop {
            let words = ["read".to_owned(), cursor.to_string(), READ_AT_ONCE.to_string()];
            let parts = self.export(meter, Some(name.unwrap_or_default()), &words).await?;
            let [next, all, fields @ ..] = parts.as_slice() else { return Err(Fault::malformed()) };
            for field in fields.chunks(2) {
                batch.take(field).ok_or_else(Fault::malformed)?;
            }
            cursor = unsigned(next).ok_or_else(Fault::malformed)?;
            if cursor > 0 {
                continue;
            }
            // What is open goes on; a batch that is smaller now is gone, and this a part of it.
            let is_whole = name.is_none() || unsigned(all) == Some(batch.fields());
            return Ok((batch.from_ms > 0 && is_whole).then_some(batch));
        }
    }

    /// Forgets a batch, which whoever wanted it has. False if it was not pending.
    pub async fn acknowledge(&self, meter: &str, name: &str) -> Result<bool, Fault> {
        let words = ["acknowledge".to_owned(), name.to_owned()];
        let parts = self.export(meter, Some(name), &words).await?;
        parts.first().and_then(unsigned).map(|count| count > 0).ok_or_else(Fault::malformed)
    }

    /// Takes, or keeps, for so long the right to hand over the batches of a meter. False if another
    /// gateway has it.
    pub async fn lease(&self, meter: &str, life: Duration) -> Result<bool, Fault> {
        let key = meter_key(&self.common.key_prefix, meter, "lease");
        let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let command = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(1).arg(&key).arg(&self.common.name).arg(millis);
            command
        };
        let read = |reply: &Value| match reply {
            Value::Int(held @ (0 | 1)) => Ok(*held == 1),
            _ => Err(Fault::malformed()),
        };
        let longest = self.common.patience();
        let asked = self.ask(&key, &LEASE, command, longest, Blame::Call, read).await;
        asked.map(|(held, _)| held)
    }

    /// Runs export.lua; `batch` is the name of one, empty for what is open. Its reply without the
    /// number of the call.
    async fn export(
        &self,
        meter: &str,
        batch: Option<&str>,
        words: &[String],
    ) -> Result<Vec<Value>, Fault> {
        let key = |what: &str| meter_key(&self.common.key_prefix, meter, what);
        let mut keys = vec![key("open"), key("pending"), key("last")];
        keys.extend(batch.map(|name| match name {
            "" => key("open"),
            name => key(&format!("batch:{name}")),
        }));
        let number = fastrand::u32(..);
        let command = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(keys.len()).arg(&keys).arg(number).arg(words);
            command
        };
        let read = |reply: &Value| match reply {
            Value::Array(parts) if parts.first() == Some(&Value::Int(number.into())) => {
                Ok(parts[1..].to_vec())
            }
            Value::Array(_) => Err(Fault::new(FaultKind::Connection, "a reply to another call")),
            _ => Err(Fault::malformed()),
        };
        let longest = self.common.patience();
        let asked = self.ask(&keys[0], &EXPORT, command, longest, Blame::Call, read).await;
        asked.map(|(parts, _)| parts)
    }
}

// === impl Standing ===

impl Standing {
    /// Whether anything has been counted here of late.
    pub const fn is_known(&self) -> bool {
        self.last > 0 || self.open_items > 0 || !self.pending.is_empty()
    }
}

// === impl Batch ===

impl Batch {
    /// The views of all items.
    pub fn views(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many fields Redis has of it.
    fn fields(&self) -> u64 {
        let moments = u64::from(self.from_ms > 0) + u64::from(self.until_ms > 0);
        self.counts.len() as u64 + moments
    }

    /// Takes a field and its value; one that is there already is the same.
    fn take(&mut self, field: &[Value]) -> Option<()> {
        let [Value::BulkString(name), Value::BulkString(value)] = field else { return None };
        let value: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
        match name.as_slice() {
            b"from" => self.from_ms = value,
            b"until" => self.until_ms = value,
            item => {
                self.counts.insert(String::from_utf8(item.to_vec()).ok()?, value);
            }
        }
        Some(())
    }
}

fn standing(parts: &[Value]) -> Option<Standing> {
    let [now, last, from, items, pending @ ..] = parts else { return None };
    let from = unsigned(from)?;
    Some(Standing {
        now_ms: unsigned(now)?,
        open_since_ms: (from > 0).then_some(from),
        open_items: unsigned(items)?,
        pending: pending.iter().map(text).collect(),
        last: unsigned(last)?,
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
