//! One call of `permits.lua`: a gateway tells which permits it holds and which it has given back.

use redis::{Cmd, Value, cmd};

use super::{Misread, Now, timestamp};
use crate::limit::{Key, PermitId, Timestamp, concurrency};

/// The script that is told.
pub const PERMITS_SOURCE: &str = concat!(
    include_str!("../../../lua/concurrency.lua"),
    include_str!("../../../lua/permits.lua"),
);

/// The permits of one key that are told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitsOf {
    /// The key.
    pub key: Key,
    /// Those that are held.
    pub held: Vec<PermitId>,
    /// Those that have been given back.
    pub freed: Vec<PermitId>,
}

/// A call about some keys, each of them once.
#[derive(Debug)]
pub struct Telling<'a> {
    permits: &'a [PermitsOf],
    /// Repeated by the reply.
    number: u32,
}

// === impl Telling ===

impl<'a> Telling<'a> {
    /// A call about `permits`.
    pub fn new(permits: &'a [PermitsOf]) -> Self {
        Self { permits, number: fastrand::u32(..) }
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.permits.len());
        for of in self.permits {
            command.arg(of.key.as_str());
        }
        command.arg(now.argument()).arg(self.number).arg(concurrency::LIFE.get());
        for PermitsOf { held, freed, .. } in self.permits {
            command.arg(held.len()).arg(freed.len());
            for permit in held.iter().chain(freed) {
                command.arg(permit.get());
            }
        }
        command
    }

    /// The clock by which Redis was told, or why `reply` does not say so.
    pub fn told(&self, reply: &Value) -> Result<Timestamp, Misread> {
        let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
        let [Value::Int(now), Value::Int(number)] = parts.as_slice() else {
            return Err(Misread::Malformed);
        };
        if *number != i64::from(self.number) {
            return Err(Misread::Foreign);
        }
        timestamp(*now)
    }
}
