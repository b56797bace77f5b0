//! One call of `penalize.lua`: its arguments written, its reply read.

use redis::{Cmd, Value, cmd};

use super::{Misread, Now, flag, states, timestamp};
use crate::limit::{Limit, Standing, Timestamp};
use crate::store::denials::Sum;

/// Denials to be counted in one atomic step.
#[derive(Debug)]
pub struct PenalizeCall<'a> {
    sums: &'a [Sum],
    /// Repeated by the reply.
    number: u32,
}

/// What came of denials.
#[derive(Debug)]
pub struct Penalized {
    /// The clock that decided.
    pub now: Timestamp,
    /// For each sum, its ban as it stands now.
    pub standings: Vec<Standing>,
    /// For each sum, whether a ban begins with it.
    pub begun: Vec<bool>,
}

// === impl PenalizeCall ===

impl<'a> PenalizeCall<'a> {
    /// A call that counts `sums`, each of another key.
    pub fn new(sums: &'a [Sum]) -> Self {
        Self { sums, number: fastrand::u32(..) }
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(2 * self.sums.len());
        for sum in self.sums {
            command.arg(sum.ban.key.as_str()).arg(sum.count_key().as_str());
        }
        command.arg(now.argument()).arg(self.number);
        for Sum { ban, denials } in self.sums {
            let (counting, [first, longest, _]) = parameters(&ban.policy.limit);
            command.arg(denials).arg(&counting).arg(first).arg(longest);
        }
        command
    }

    /// What `reply` amounts to.
    pub fn answer(&self, reply: &Value) -> Result<Penalized, Misread> {
        let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
        let [Value::Int(now), Value::Int(number), Value::BulkString(begun), values @ ..] =
            parts.as_slice()
        else {
            return Err(Misread::Malformed);
        };
        if *number != i64::from(self.number) {
            return Err(Misread::Foreign);
        }
        if begun.len() != self.sums.len() {
            return Err(Misread::Malformed);
        }
        let now = timestamp(*now)?;
        let limits = self.sums.iter().map(|sum| &sum.ban.policy.limit);
        let standings = states(limits, values, now)?;
        let begun = begun.iter().map(|digit| flag(*digit));
        Ok(Penalized { now, standings, begun: begun.collect::<Result<_, Misread>>()? })
    }
}

/// How denials are counted, and the ban's own parameters.
const fn parameters(limit: &Limit) -> ([u64; 3], [u64; 3]) {
    match limit {
        Limit::Ban(ban) => (ban.watch().parameters(), ban.parameters()),
        other => (other.parameters(), [0; 3]),
    }
}
