//! One call of `settle.lua`: its arguments written, its reply read.

use redis::{Cmd, Value, cmd};

use super::{Misread, Now, states, timestamp};
use crate::limit::settlement::Adjustment;
use crate::limit::{Check, Settlement, Standing, Timestamp};

/// Settlements to be carried out in one atomic step.
#[derive(Debug)]
pub struct SettleCall {
    /// A check of each key.
    checks: Vec<Check>,
    /// Each with the place of its key.
    adjustments: Vec<(usize, Adjustment)>,
    /// Repeated by the reply.
    number: u32,
}

// === impl SettleCall ===

impl SettleCall {
    /// A call about `settlements` in their order.
    pub fn new(settlements: &[Settlement]) -> Self {
        let (mut checks, mut adjustments): (Vec<Check>, _) = (Vec::new(), Vec::new());
        for settlement in settlements {
            let Some(adjustment) = settlement.adjustment() else { continue };
            let check = &settlement.check;
            let known = checks.iter().position(|known| known.key == check.key);
            let place = known.unwrap_or_else(|| {
                checks.push(check.clone());
                checks.len() - 1
            });
            adjustments.push((place, adjustment));
        }
        Self { checks, adjustments, number: fastrand::u32(..) }
    }

    /// A check of each key, in the order of [`Self::standings`].
    pub fn into_checks(self) -> Vec<Check> {
        self.checks
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.checks.len());
        for check in &self.checks {
            command.arg(check.key.as_str());
        }
        command.arg(now.argument()).arg(self.number);
        for check in &self.checks {
            let [a, b, c] = check.policy.limit.parameters();
            command.arg(check.policy.limit.letter().to_string()).arg(a).arg(b).arg(c);
        }
        for (place, adjustment) in &self.adjustments {
            command.arg(place + 1);
            match adjustment {
                Adjustment::Charge(units) => command.arg(units).arg(0).arg(0).arg(0),
                Adjustment::Refund(units, receipt) => command
                    .arg(0)
                    .arg(units)
                    .arg(receipt.at.as_micros())
                    .arg(receipt.until.as_micros()),
            };
        }
        command
    }

    /// The clock of Redis, and how each key stands after the call.
    pub fn standings(&self, reply: &Value) -> Result<(Timestamp, Vec<Standing>), Misread> {
        let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
        let [Value::Int(now), Value::Int(number), values @ ..] = parts.as_slice() else {
            return Err(Misread::Malformed);
        };
        if *number != i64::from(self.number) {
            return Err(Misread::Foreign);
        }
        let now = timestamp(*now)?;
        let limits = self.checks.iter().map(|check| &check.policy.limit);
        Ok((now, states(limits, values, now)?))
    }
}
