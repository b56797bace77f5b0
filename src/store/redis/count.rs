//! Views of meters, counted in Redis: one call of meter.lua.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Cmd, Value, cmd};

use super::fault::{Fault, FaultKind};
use super::route::Blame;
use super::scripts::METER;
use super::{RedisStore, meter_key};
use crate::meter::{Meter, Unique, mark};

/// Milliseconds that open counts and batches are kept without a change: 30 days.
pub(super) const KEPT_MS: u64 = 2_592_000_000;
/// Milliseconds that Redis remembers which call was a gateway's last: a day.
const RECORD_MS: u64 = 86_400_000;
/// Most items that are remembered of a subject: who sees more within the span counts no further.
const MARKS_MAX: u64 = 10_000;

/// Views of a meter that are counted in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counting {
    /// The meter.
    pub meter: Arc<Meter>,
    /// Larger than that of every call of this process before.
    pub number: u64,
    /// The views, each once, and how many of them there were.
    pub views: Vec<(Arc<Sighting>, u64)>,
}

/// An item, as a subject saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sighting {
    /// What was seen.
    pub item: String,
    /// By whom; `None` where every view counts.
    pub subject: Option<String>,
}

/// What became of the views of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// They counted.
    pub counted: u64,
    /// They had counted before.
    pub known: u64,
    /// There was no room for them.
    pub full: u64,
}

// === impl RedisStore ===

impl RedisStore {
    /// Counts the views of a call. An error reply concerns the rights or the keys of meters, and
    /// says nothing about the store.
    pub async fn count_views(&self, counting: &Counting) -> Result<Counted, Fault> {
        let command = |verb: &str, script: &str| self.counting(verb, script, counting);
        let key = meter_key(&self.common.key_prefix, &counting.meter.name, "open");
        let (longest, read) = (self.common.patience(), |reply: &_| counted(counting.number, reply));
        let asked = self.ask(&key, &METER, command, longest, Blame::Call, read).await;
        asked.map(|(counted, _)| counted)
    }

    fn counting(&self, verb: &str, script: &str, counting: &Counting) -> Cmd {
        let Counting { meter, number, views } = counting;
        let key = |what: &str| meter_key(&self.common.key_prefix, &meter.name, what);
        let subjects = views.iter().filter_map(|(sighting, _)| sighting.subject.as_deref());
        let (mut keys, mut places) = (vec![key("open"), key(&self.calls())], HashMap::new());
        for subject in subjects {
            places.entry(subject).or_insert_with(|| {
                keys.push(key(&format!("seen:{subject}")));
                keys.len()
            });
        }
        let span = match meter.unique {
            Unique::None => 0,
            Unique::By { span_s, .. } => span_s,
        };
        let mut command = cmd(verb);
        command.arg(script).arg(keys.len()).arg(keys);
        command
            .arg(number)
            .arg(span)
            .arg(meter.items_max)
            .arg(MARKS_MAX)
            .arg(KEPT_MS)
            .arg(RECORD_MS);
        for (sighting, times) in views {
            let place = sighting.subject.as_deref().and_then(|subject| places.get(subject));
            command.arg(place.copied().unwrap_or(0)).arg(&sighting.item);
            command.arg(&mark(&sighting.item)[..]).arg(times);
        }
        command
    }

    fn calls(&self) -> String {
        format!("calls:{}", self.common.name)
    }
}

fn counted(number: u64, reply: &Value) -> Result<Counted, Fault> {
    let Value::Array(parts) = reply else { return Err(Fault::malformed()) };
    let numbers: Vec<u64> = parts.iter().filter_map(unsigned).collect();
    let &[of, counted, known, full] = numbers.as_slice() else { return Err(Fault::malformed()) };
    if of != number {
        // Every reply to come is suspect.
        return Err(Fault::new(FaultKind::Connection, "a reply to another call"));
    }
    Ok(Counted { counted, known, full })
}

/// A number of a reply that is none below zero.
pub(super) fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_to_another_call_is_none() {
        let reply =
            |numbers: &[i64]| Value::Array(numbers.iter().map(|n| Value::Int(*n)).collect());
        let read = counted(7, &reply(&[7, 3, 2, 1])).unwrap();
        assert_eq!(read, Counted { counted: 3, known: 2, full: 1 });
        let kind = |value: &Value| counted(7, value).unwrap_err().kind();
        assert_eq!(kind(&reply(&[6, 3, 2, 1])), FaultKind::Connection);
        for malformed in [reply(&[7, 3, 2]), reply(&[7, 3, 2, -1]), Value::Int(7), Value::Nil] {
            assert_eq!(kind(&malformed), FaultKind::MalformedReply);
        }
    }
}
