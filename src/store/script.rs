//! One call of `decide.lua`: its arguments written, its reply read.
//!
//! The script returns the values as it read them and which checks had room. What is left, when to
//! retry and when more comes is derived here, by the same functions that the local store uses.

mod penalize;
mod settle;
mod telling;

use std::borrow::Borrow;

use redis::{Cmd, Value, cmd};

use super::local::Known;
use super::value::decode;
use crate::limit::{Check, Decision, Key, Limit, PermitId, Standing, State, Timestamp, decision};

pub use telling::{PERMITS_SOURCE, PermitsOf, Telling};

pub use penalize::{PenalizeCall, Penalized};
pub use settle::SettleCall;

/// The script that decides: the algorithms, then the decision.
pub const SOURCE: &str = concat!(
    include_str!("../../lua/token_bucket.lua"),
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/calendar.lua"),
    include_str!("../../lua/ban.lua"),
    include_str!("../../lua/concurrency.lua"),
    include_str!("../../lua/decide.lua"),
);

/// The same for calls without bans and permits, as most are. A script defines its functions anew
/// each time it runs: those that are not needed would cost a tenth of the time of a call.
pub const QUOTAS_SOURCE: &str = concat!(
    include_str!("../../lua/token_bucket.lua"),
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/calendar.lua"),
    "local ban, concurrency\n",
    include_str!("../../lua/decide.lua"),
);

/// The script that tells Redis what a gateway knows better.
pub const RESTORE_SOURCE: &str = concat!(
    include_str!("../../lua/token_bucket.lua"),
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/calendar.lua"),
    include_str!("../../lua/ban.lua"),
    include_str!("../../lua/restore.lua"),
);

/// The script that settles.
pub const SETTLE_SOURCE: &str = concat!(
    include_str!("../../lua/token_bucket.lua"),
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/calendar.lua"),
    include_str!("../../lua/settle.lua"),
);

/// The script that counts denials and makes bans.
pub const PENALIZE_SOURCE: &str = concat!(
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/ban.lua"),
    include_str!("../../lua/penalize.lua"),
);

/// Milliseconds that Redis remembers which call of restore.lua was a gateway's last.
const RECORD_MS: u64 = 3_600_000;

/// Which clock decides.
#[derive(Clone, Copy, Debug)]
pub enum Now {
    /// Redis' own.
    Redis,
    /// The given one, for tests; keys live a day longer.
    Given(Timestamp),
}

/// A list of requests to be decided in one atomic step.
#[derive(Debug)]
pub struct Call<'a> {
    requests: &'a [&'a [Check]],
    keys: Vec<(&'a Key, &'a Limit)>,
    /// For each check of each request in turn, the place of its key in `keys`.
    places: Vec<usize>,
    /// Repeated by the reply.
    number: u32,
}

/// What a call came to.
#[derive(Debug)]
pub struct Answer {
    /// The clock that decided.
    pub now: Timestamp,
    /// One list a request.
    pub decisions: Vec<Vec<Decision>>,
    /// Each key as it stands after the call, in the order in which the checks first name them.
    pub standings: Vec<Standing>,
}

/// A call of restore.lua about `known` at `now`: the command, with `record` the gateway's own key and
/// `number` that of the call.
pub fn restore(
    verb: &str,
    script: &str,
    record: &str,
    number: u64,
    known: &[impl Borrow<Known>],
    clock: (Now, Timestamp),
) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(known.len() + 1).arg(record);
    let each = || known.iter().map(Borrow::borrow);
    for known in each() {
        command.arg(known.key.as_ref());
    }
    command.arg(clock.0.argument()).arg(number).arg(RECORD_MS);
    for known in each() {
        let [a, b, c] = known.policy.limit.parameters();
        command.arg(known.policy.limit.letter().to_string()).arg(a).arg(b).arg(c);
        command.arg(&*known.seen_bytes()).arg(&*known.charged_bytes(clock.1));
    }
    command
}

/// The clock of Redis, and what it holds of each key that it was told of.
pub type Told = (Timestamp, Vec<Option<State>>);

/// What the reply to a call of restore.lua about `known` amounts to.
pub fn restored(known: &[impl Borrow<Known>], reply: &Value) -> Result<Told, Misread> {
    let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
    let [Value::Int(now), values @ ..] = parts.as_slice() else { return Err(Misread::Malformed) };
    if values.len() != known.len() {
        return Err(Misread::Malformed);
    }
    let states = known.iter().zip(values).map(|(known, value)| match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(decode(&known.borrow().policy.limit, bytes)),
        _ => Err(Misread::Malformed),
    });
    Ok((timestamp(*now)?, states.collect::<Result<_, Misread>>()?))
}

/// How each key stands whose value the script has returned.
fn states<'a>(
    limits: impl ExactSizeIterator<Item = &'a Limit>,
    values: &[Value],
    now: Timestamp,
) -> Result<Vec<Standing>, Misread> {
    if values.len() != limits.len() {
        return Err(Misread::Malformed);
    }
    let each = limits.zip(values).map(|(limit, value)| {
        let state = match (value, limit) {
            (Value::Int(in_flight), Limit::Concurrency(_)) => {
                let in_flight = u64::try_from(*in_flight).map_err(|_| Misread::Malformed)?;
                Some(State::InFlight(in_flight))
            }
            (_, Limit::Concurrency(_)) => return Err(Misread::Malformed),
            (Value::Nil, _) => None,
            (Value::BulkString(bytes), limit) => decode(limit, bytes),
            _ => return Err(Misread::Malformed),
        };
        Ok(limit.read(state.as_ref(), now))
    });
    each.collect()
}

fn timestamp(micros: i64) -> Result<Timestamp, Misread> {
    let micros = u64::try_from(micros).map_err(|_| Misread::Malformed)?;
    Ok(Timestamp::from_micros(micros))
}

/// A digit of a reply: 1 or 0, and nothing else passes for either.
const fn flag(digit: u8) -> Result<bool, Misread> {
    match digit {
        b'0' => Ok(false),
        b'1' => Ok(true),
        _ => Err(Misread::Malformed),
    }
}

/// What a check takes: units, or the permit that it offers.
fn taken(check: &Check) -> u64 {
    match (&check.policy.limit, &check.offer) {
        (Limit::Concurrency(_), offer) => offer.as_ref().map_or(0, |offer| offer.id.get()),
        _ => check.cost,
    }
}

/// Why a reply does not answer a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misread {
    /// It is not one that the script gives: something else answered.
    Malformed,
    /// It is that of another call: replies and calls are no longer in step.
    Foreign,
}

// === impl Now ===

impl Now {
    const fn argument(self) -> u64 {
        match self {
            Self::Redis => 0,
            Self::Given(now) => now.as_micros(),
        }
    }
}

// === impl Call ===

impl<'a> Call<'a> {
    /// A call that decides `requests` in their order.
    pub fn new(requests: &'a [&'a [Check]]) -> Self {
        let mut keys: Vec<(&Key, &Limit)> = Vec::new();
        let mut places = Vec::new();
        for check in requests.iter().copied().flatten() {
            let place = keys.iter().position(|(key, _)| *key == &check.key).unwrap_or_else(|| {
                keys.push((&check.key, &check.policy.limit));
                keys.len() - 1
            });
            places.push(place);
        }
        Self { requests, keys, places, number: fastrand::u32(..) }
    }

    /// Whether [`QUOTAS_SOURCE`] is enough for it.
    pub fn is_about_quotas(&self) -> bool {
        let of_quota = |limit: &Limit| !matches!(limit, Limit::Ban(_) | Limit::Concurrency(_));
        self.keys.iter().all(|(_, limit)| of_quota(limit))
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len());
        for (key, _) in &self.keys {
            command.arg(key.as_str());
        }
        command.arg(now.argument());
        command.arg(self.number);
        for (place, (_, limit)) in self.keys.iter().enumerate() {
            let [a, b, c] = limit.parameters();
            let freed = self.freed(place, limit);
            let c = if freed.is_empty() { c } else { freed.len() as u64 };
            command.arg(limit.letter().to_string()).arg(a).arg(b).arg(c);
            for permit in freed {
                command.arg(permit.get());
            }
        }
        let mut places = self.places.iter();
        for request in self.requests {
            command.arg(request.len());
            for (check, place) in request.iter().zip(&mut places) {
                command.arg(place + 1).arg(taken(check)).arg(u8::from(!check.policy.enforced()));
            }
        }
        command
    }

    /// What `reply` amounts to.
    pub fn answer(&self, reply: &Value) -> Result<Answer, Misread> {
        let Value::Array(parts) = reply else { return Err(Misread::Malformed) };
        let [Value::Int(now), Value::Int(number), Value::BulkString(answers), values @ ..] =
            parts.as_slice()
        else {
            return Err(Misread::Malformed);
        };
        if *number != i64::from(self.number) {
            return Err(Misread::Foreign);
        }
        let now = timestamp(*now)?;
        let limits = self.keys.iter().map(|(_, limit)| *limit);
        let mut standings = states(limits, values, now)?;
        let answers: Vec<&[u8]> = answers.split(|byte| *byte == b',').collect();
        if answers.len() != self.requests.len() {
            return Err(Misread::Malformed);
        }
        let mut places = self.places.iter();
        let each = self.requests.iter().zip(answers);
        let decisions = each.map(|(request, answer)| {
            if answer.len() != request.len() {
                return Err(Misread::Malformed);
            }
            let rooms = answer.iter().map(|digit| flag(*digit));
            let rooms = rooms.collect::<Result<Vec<bool>, Misread>>()?;
            let mine: Vec<usize> = places.by_ref().take(request.len()).copied().collect();
            let mut asked: Vec<Standing> = mine.iter().map(|&p| standings[p].clone()).collect();
            // The core finds the same rooms, or something else has answered.
            if decision::rooms(request, &asked) != rooms {
                return Err(Misread::Malformed);
            }
            let decisions = decision::decide(request, &mut asked, &rooms);
            for (place, standing) in mine.into_iter().zip(asked) {
                standings[place] = standing;
            }
            Ok(decisions)
        });
        let decisions = decisions.collect::<Result<_, Misread>>()?;
        Ok(Answer { now, decisions, standings })
    }

    /// The permits of a key that the gateway has given back.
    fn freed(&self, place: usize, limit: &Limit) -> Vec<PermitId> {
        if !matches!(limit, Limit::Concurrency(_)) {
            return Vec::new();
        }
        let checks = self.requests.iter().copied().flatten().zip(&self.places);
        let offers = checks.filter(|(_, of)| **of == place).filter_map(|(c, _)| c.offer.as_ref());
        let mut freed: Vec<PermitId> = offers.flat_map(|offer| &offer.freed).copied().collect();
        freed.sort_unstable();
        freed.dedup();
        freed
    }
}
