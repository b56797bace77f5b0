//! One call of `decide.lua`: its arguments written, its reply read.
//!
//! The script returns the values as it read them and which checks had room. What is left, when to
//! retry and when more comes is derived here, by the same functions that the local store uses.

use redis::{Cmd, Value, cmd};

use crate::limit::sliding_window::{Log, Record};
use crate::limit::token_bucket::Tat;
use crate::limit::{Check, Decision, Key, Limit, Standing, State, Timestamp, decision, quota};

/// The whole script: both algorithms, then the decision.
pub const SOURCE: &str = concat!(
    include_str!("../../lua/token_bucket.lua"),
    include_str!("../../lua/sliding_window.lua"),
    include_str!("../../lua/decide.lua"),
);

/// Lua's largest exact integer.
const EXACT_MAX: u64 = 1 << 53;
/// Digits of a TAT's whole microseconds.
const TAT_DIGITS: usize = 16;
/// Most bytes of a TAT; a longer value is not ours.
const TAT_MAX: usize = 32;
/// Bytes of a sliding-window value before its first running count.
const HEAD: usize = 13;

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
}

/// The reply is not one that the script gives: something else answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

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
        Self { requests, keys, places }
    }

    /// The command; `verb` and `script` are EVALSHA and the hash, or EVAL and the source.
    pub fn command(&self, verb: &str, script: &str, now: Now) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len());
        for (key, _) in &self.keys {
            command.arg(key.as_str());
        }
        command.arg(match now {
            Now::Redis => 0,
            Now::Given(now) => now.as_micros(),
        });
        for (_, limit) in &self.keys {
            let [a, b, c] = limit.parameters();
            command.arg(limit.letter().to_string()).arg(a).arg(b).arg(c);
        }
        let mut places = self.places.iter();
        for request in self.requests {
            command.arg(request.len());
            for (check, place) in request.iter().zip(&mut places) {
                command.arg(place + 1).arg(check.cost).arg(u8::from(!check.policy.enforced()));
            }
        }
        command
    }

    /// The decisions that `reply` amounts to: one list a request.
    pub fn decisions(&self, reply: &Value) -> Result<Vec<Vec<Decision>>, Malformed> {
        let Value::Array(parts) = reply else { return Err(Malformed) };
        let [Value::Int(now), Value::BulkString(answers), values @ ..] = parts.as_slice() else {
            return Err(Malformed);
        };
        let now = Timestamp::from_micros(u64::try_from(*now).map_err(|_| Malformed)?);
        let mut standings = self.standings(values, now)?;
        let answers: Vec<&[u8]> = answers.split(|byte| *byte == b',').collect();
        if answers.len() != self.requests.len() {
            return Err(Malformed);
        }
        let mut places = self.places.iter();
        let each = self.requests.iter().zip(answers);
        each.map(|(request, answer)| {
            if answer.len() != request.len() {
                return Err(Malformed);
            }
            let rooms: Vec<bool> = answer.iter().map(|digit| *digit == b'1').collect();
            let mine: Vec<usize> = places.by_ref().take(request.len()).copied().collect();
            let mut asked: Vec<Standing> = mine.iter().map(|&p| standings[p].clone()).collect();
            // The core finds the same rooms, or something else has answered.
            if decision::rooms(request, &asked) != rooms {
                return Err(Malformed);
            }
            let decisions = decision::settle(request, &mut asked, &rooms);
            for (place, standing) in mine.into_iter().zip(asked) {
                standings[place] = standing;
            }
            Ok(decisions)
        })
        .collect()
    }

    fn standings(&self, values: &[Value], now: Timestamp) -> Result<Vec<Standing>, Malformed> {
        if values.len() != self.keys.len() {
            return Err(Malformed);
        }
        let each = self.keys.iter().zip(values);
        each.map(|((_, limit), value)| {
            let state = match value {
                Value::Nil => None,
                Value::BulkString(bytes) => decode(limit, bytes),
                _ => return Err(Malformed),
            };
            Ok(limit.read(state.as_ref(), now))
        })
        .collect()
    }
}

/// The state that `bytes` hold; `None` if the script did not write them, as the script has it.
fn decode(limit: &Limit, bytes: &[u8]) -> Option<State> {
    match limit {
        Limit::TokenBucket(_) => decode_tat(bytes).map(State::TokenBucket),
        Limit::SlidingWindow(_) => decode_log(bytes).map(State::SlidingWindow),
    }
}

fn decode_tat(bytes: &[u8]) -> Option<Tat> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TAT_MAX)?;
    let (at, parts) = match text.split_once(':') {
        Some(halves) => halves,
        None => text.split_at_checked(TAT_DIGITS).unwrap_or((text, "")),
    };
    let parts = if parts.is_empty() && !text.contains(':') { "0" } else { parts };
    Some(Tat { at: Timestamp::from_micros(number(at)?), parts: number(parts)? })
}

/// Digits and nothing else; Rust's own parser would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn decode_log(bytes: &[u8]) -> Option<Log> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let width = usize::from(head[0]);
    let (tick, newest) = (big_endian(&head[1..7]), big_endian(&head[7..13]));
    let exact = newest.checked_mul(tick).is_some_and(|end| end < EXACT_MAX);
    if !(width == 3 || width == 6) || tick == 0 || !exact {
        return None;
    }
    let (before, rest) = rest.split_at_checked(width)?;
    let records = rest.chunks_exact(width + 1);
    if !records.remainder().is_empty() || records.len() == 0 || records.len() > 255 {
        return None;
    }
    let mut before = big_endian(before);
    let mask = (1 << (8 * width)) - 1;
    let records = records.map(|record| {
        let age = newest.wrapping_sub(u64::from(record[0])) % 256;
        let count = big_endian(&record[1..]);
        let units = count.wrapping_sub(before) & mask;
        before = count;
        Record { index: newest.saturating_sub(age), units: units.min(quota::UNITS_MAX) }
    });
    Some(Log { tick, records: records.collect() })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
