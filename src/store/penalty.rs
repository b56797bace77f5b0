//! One call of `penalize.lua`: its arguments written, its reply read.

use redis::{Cmd, Value, cmd};

use super::denials::Sum;
use super::script::{Misread, Now, timestamp};
use super::value::decode;
use crate::limit::{Check, Limit, Standing, Timestamp};

/// The script that counts denials and makes bans.
pub const SOURCE: &str = concat!(
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/ban.lua"),
    include_str!("../../lua/penalize.lua"),
);
/// The letter of the keys under which denials are counted.
pub(super) const COUNT_LETTER: char = 'd';

/// Denials to be counted in one atomic step.
#[derive(Debug)]
pub struct Call<'a> {
    sums: &'a [Sum],
    /// Repeated by the reply.
    number: u32,
}

/// What a call came to.
#[derive(Debug)]
pub struct Answer {
    /// The clock that decided.
    pub now: Timestamp,
    /// For each sum, its ban as it stands now.
    pub standings: Vec<Standing>,
    /// For each sum, whether a ban begins with it.
    pub begun: Vec<bool>,
}

// === impl Sum ===

impl Sum {
    /// The bans, as a store is asked about them.
    pub fn bans(sums: &[Self]) -> Vec<Check> {
        sums.iter().map(|sum| sum.ban.clone()).collect()
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call that counts `sums`, each of another key.
    pub fn new(sums: &'a [Sum]) -> Self {
        Self { sums, number: fastrand::u32(..) }
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(2 * self.sums.len());
        for Sum { ban, .. } in self.sums {
            let count = ban.key.with_letter(COUNT_LETTER);
            command.arg(ban.key.as_str()).arg(count.as_str());
        }
        command.arg(now.argument()).arg(self.number);
        for Sum { ban, denials } in self.sums {
            let (counting, [first, longest, _]) = parameters(&ban.policy.limit);
            command.arg(denials).arg(&counting).arg(first).arg(longest);
        }
        command
    }

    /// What `reply` amounts to.
    pub fn answer(&self, reply: &Value) -> Result<Answer, Misread> {
        let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
        let [Value::Int(now), Value::Int(number), Value::BulkString(begun), values @ ..] =
            parts.as_slice()
        else {
            return Err(Misread::Malformed);
        };
        if *number != i64::from(self.number) {
            return Err(Misread::Foreign);
        }
        let now = timestamp(*now)?;
        if begun.len() != self.sums.len() || values.len() != self.sums.len() {
            return Err(Misread::Malformed);
        }
        let standings = self.sums.iter().zip(values).map(|(sum, value)| {
            let limit = &sum.ban.policy.limit;
            let state = match value {
                Value::Nil => None,
                Value::BulkString(bytes) => decode(limit, bytes),
                _ => return Err(Misread::Malformed),
            };
            Ok(limit.read(state.as_ref(), now))
        });
        let standings = standings.collect::<Result<_, Misread>>()?;
        Ok(Answer { now, standings, begun: begun.iter().map(|digit| *digit == b'1').collect() })
    }
}

/// How denials are counted, and the ban's own parameters.
const fn parameters(limit: &Limit) -> ([u64; 3], [u64; 3]) {
    match limit {
        Limit::Ban(ban) => (ban.watch().parameters(), ban.parameters()),
        other => (other.parameters(), [0; 3]),
    }
}
