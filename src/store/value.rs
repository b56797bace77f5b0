//! A state as bytes: what the scripts store under a key. The local store keeps the same bytes, so
//! that a state can go from one store to the other and is as small in both.
//!
//! The layouts are given at the top of the algorithms' files in `lua/`.

use crate::limit::ban::{LEVEL_MAX, Sentence};
use crate::limit::calendar::{COUNT_MAX as UNITS_COUNTED_MAX, Count, Period};
use crate::limit::sliding_window::{Log, Record};
use crate::limit::token_bucket::{Rate, Tat};
use crate::limit::{Limit, Micros, Standing, State, Timestamp};

/// Lua's largest exact integer.
const EXACT_MAX: u64 = 1 << 53;
/// Digits of a TAT's whole microseconds, as version 0.1.0 wrote it.
const TAT_DIGITS: usize = 16;
/// Most bytes of a TAT; a longer value is not ours.
const TAT_MAX: usize = 72;
/// Bytes of a sliding-window value before its first running count.
const HEAD: usize = 13;
/// A unit of a bucket costs less: no window is longer than 366 days.
const UNIT_END: u64 = 1 << 45;
/// The latest moment that has so many digits.
const TAT_AT_MAX: u64 = 9_999_999_999_999_999;
/// Counts below this are written in three bytes, others in six.
const COUNT_SHORT: u64 = 1 << 24;
const COUNT_MAX: u64 = (1 << 48) - 1;
/// Most bytes of a calendar's count; a longer value is not ours.
const CALENDAR_MAX: usize = 38;
/// Most bytes of a sentence; a longer value is not ours.
const BAN_MAX: usize = 19;
/// Seconds below this are exact in Lua as microseconds.
const SECONDS_END: u64 = EXACT_MAX / 1_000_000;

/// The bytes of a state.
pub(super) type Value = Box<[u8]>;

/// The state that `bytes` hold; `None` if the script did not write them, as the script has it.
pub(super) fn decode(limit: &Limit, bytes: &[u8]) -> Option<State> {
    match limit {
        Limit::TokenBucket(bucket) => decode_tat(bytes, bucket.rate()).map(State::TokenBucket),
        Limit::SlidingWindow(_) => decode_log(bytes).map(State::SlidingWindow),
        Limit::Calendar(_) => decode_count(bytes).map(State::Calendar),
        Limit::Ban(_) => decode_sentence(bytes).map(State::Ban),
        // Permits are no value: they are counted.
        Limit::Concurrency(_) => None,
    }
}

/// The bytes of `state`, as the script of `limit` would write them; `None` if nothing is in it.
pub(super) fn encode(limit: &Limit, state: &State) -> Option<Value> {
    match (limit, state) {
        (_, State::TokenBucket(tat)) => Some(encode_tat(tat)),
        (_, State::SlidingWindow(log)) => encode_log(limit, log),
        (_, State::Calendar(count)) => encode_count(count),
        (_, State::Ban(sentence)) => encode_sentence(sentence),
        _ => None,
    }
}

/// What `standing` amounts to as a charge, for restore.lua: parts of a token-bucket, the bytes of
/// the others.
pub(super) fn encode_charge(limit: &Limit, standing: &Standing) -> Value {
    match standing.debt() {
        Some(parts) => parts.to_string().into_bytes().into(),
        None => encode(limit, &standing.state()).unwrap_or_default(),
    }
}

fn encode_tat(tat: &Tat) -> Value {
    let Rate { numerator, denominator } = tat.rate;
    let at = tat.at.as_micros().min(TAT_AT_MAX);
    format!("{at}:{}:{numerator}:{denominator}", tat.parts).into_bytes().into()
}

fn encode_log(limit: &Limit, log: &Log) -> Option<Value> {
    let newest = log.records.last()?.index;
    let used = log.records.iter().fold(0_u64, |used, record| used.saturating_add(record.units));
    let short = used.max(limit.units()) < COUNT_SHORT;
    let width: usize = if short { 3 } else { 6 };
    let mut bytes = Vec::with_capacity(HEAD + width + log.records.len() * (width + 1));
    bytes.push(width as u8);
    push(&mut bytes, log.tick, 6);
    push(&mut bytes, newest, 6);
    push(&mut bytes, 0, width);
    let mut count = 0_u64;
    for record in &log.records {
        // What no longer fits is far beyond every quota: full is full.
        count = count.saturating_add(record.units).min(COUNT_MAX);
        bytes.push((record.index % 256) as u8);
        push(&mut bytes, count, width);
    }
    Some(bytes.into())
}

fn encode_count(count: &Count) -> Option<Value> {
    if count.units == 0 {
        return None;
    }
    let seconds = |at: Timestamp| at.as_micros() / Micros::SECOND.get();
    let Period { start, end } = count.period;
    let units = count.units.min(UNITS_COUNTED_MAX);
    Some(format!("{}:{}:{units}", seconds(start), seconds(end)).into_bytes().into())
}

fn encode_sentence(sentence: &Sentence) -> Option<Value> {
    let Sentence { until, level } = *sentence;
    let text = format!("{}:{level}", until.as_micros().min(EXACT_MAX - 1));
    (level > 0).then(|| text.into_bytes().into())
}

/// The `width` lowest bytes of `number`, the highest first.
fn push(bytes: &mut Vec<u8>, number: u64, width: usize) {
    bytes.extend_from_slice(&number.to_be_bytes()[8 - width..]);
}

/// A value without a rate is of version 0.1.0; it counts in the `present` one.
fn decode_tat(bytes: &[u8], present: Rate) -> Option<Tat> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TAT_MAX)?;
    let words: Vec<&str> = text.split(':').collect();
    let exact = |text: &str| number(text).filter(|number| *number < EXACT_MAX);
    let below = |text: &str, end| number(text).filter(|number| (1..end).contains(number));
    let (at, parts, rate) = match words[..] {
        [at, parts, numerator, denominator] => {
            let (numerator, denominator) =
                (below(numerator, UNIT_END)?, below(denominator, EXACT_MAX)?);
            (at, exact(parts)?, Rate { numerator, denominator })
        }
        [at, parts] => (at, exact(parts)?, present),
        [text] => {
            let (at, parts) = text.split_at_checked(TAT_DIGITS).unwrap_or((text, ""));
            (at, if parts.is_empty() { 0 } else { exact(parts)? }, present)
        }
        _ => return None,
    };
    Some(Tat { at: Timestamp::from_micros(exact(at)?), parts, rate })
}

fn decode_count(bytes: &[u8]) -> Option<Count> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= CALENDAR_MAX)?;
    let (start, rest) = text.split_once(':')?;
    let (end, units) = rest.split_once(':')?;
    let (start, end, units) = (number(start)?, number(end)?, number(units)?);
    if end >= SECONDS_END || units == 0 || units > UNITS_COUNTED_MAX {
        return None;
    }
    let at = |seconds: u64| Timestamp::from_micros(seconds.saturating_mul(Micros::SECOND.get()));
    Some(Count { period: Period::new(at(start), at(end)).ok()?, units })
}

fn decode_sentence(bytes: &[u8]) -> Option<Sentence> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BAN_MAX)?;
    let (until, level) = text.split_once(':')?;
    let until = number(until).filter(|until| *until < EXACT_MAX)?;
    let level = u32::try_from(number(level)?).ok()?;
    let until = Timestamp::from_micros(until);
    (1..=LEVEL_MAX).contains(&level).then_some(Sentence { until, level })
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
        Record { index: newest.saturating_sub(age), units }
    });
    Some(Log { tick, records: records.collect() })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::calendar::Calendar;
    use crate::limit::sliding_window::SlidingWindow;
    use crate::limit::token_bucket::TokenBucket;
    use crate::limit::{Quota, quota};

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

    fn back(limit: &Limit, state: &State) -> Option<State> {
        decode(limit, &encode(limit, state).unwrap())
    }

    #[test]
    fn a_bucket_comes_back_as_it_was() {
        for (units, parts) in [(1, 0), (7, 3), (7, 0), (1_009, 1_000)] {
            let quota = Quota::new(units, Micros::SECOND).unwrap();
            let bucket = TokenBucket::new(quota, 5).unwrap();
            let limit = Limit::TokenBucket(bucket);
            for rate in [bucket.rate(), Rate { numerator: 600_000, denominator: 7 }] {
                let state = State::TokenBucket(Tat { at: NOW, parts, rate });
                assert_eq!(back(&limit, &state), Some(state), "{units} a second, {rate:?}");
            }
        }
    }

    #[test]
    fn what_an_older_version_wrote_counts_in_the_present_rate() {
        let quota = Quota::new(7, Micros::SECOND).unwrap();
        let bucket = TokenBucket::new(quota, 5).unwrap();
        let limit = Limit::TokenBucket(bucket);
        let forms = [
            ("1763000000000000", 0),
            ("1763000000000000003", 3),
            ("1763000000000000:1005", 1_005),
            ("1763000000000000:3:1000000:7", 3),
        ];
        for (text, parts) in forms {
            let tat = Tat { at: NOW, parts, rate: bucket.rate() };
            let state = State::TokenBucket(tat);
            assert_eq!(decode(&limit, text.as_bytes()), Some(state), "{text}");
        }
        for text in
            ["", ":", "1:2:3", "1:2:0:4", "1:2:3:0", "1:2:3:4:5", "-1", "1:x", "9007199254740992"]
        {
            assert_eq!(decode(&limit, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_log_comes_back_as_it_was() {
        for (quota, units) in [(10, 3), (10, 20_000_000), (quota::UNITS_MAX, quota::UNITS_MAX / 3)]
        {
            let quota = Quota::new(quota, Micros::SECOND).unwrap();
            let limit = Limit::SlidingWindow(SlidingWindow::new(quota, 64).unwrap());
            let records = [1, 2, 60].map(|age| Record { index: 100_000 - 60 + age, units });
            let state = State::SlidingWindow(Log { tick: 15_625, records: records.into() });
            assert_eq!(back(&limit, &state), Some(state), "{units} units");
        }
    }

    #[test]
    fn a_count_comes_back_as_it_was() {
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        for (start, end) in [(0, 1), (1_763_000_000, 1_763_086_400), (0, 366 * 86_400)] {
            let period = Period::new(at(start), at(end)).unwrap();
            let limit = Limit::Calendar(Calendar::new(5, period).unwrap());
            for units in [1, 6, UNITS_COUNTED_MAX] {
                let state = State::Calendar(Count { period, units });
                assert_eq!(back(&limit, &state), Some(state), "{start} to {end}");
            }
            let most = State::Calendar(Count { period, units: u64::MAX });
            let counted = State::Calendar(Count { period, units: UNITS_COUNTED_MAX });
            assert_eq!(back(&limit, &most), Some(counted));
            assert_eq!(encode(&limit, &State::Calendar(Count { period, units: 0 })), None);
        }
    }

    #[test]
    fn an_empty_log_is_nothing() {
        let quota = Quota::new(10, Micros::SECOND).unwrap();
        let limit = Limit::SlidingWindow(SlidingWindow::new(quota, 64).unwrap());
        assert_eq!(
            encode(&limit, &State::SlidingWindow(Log { tick: 1, records: Vec::new() })),
            None
        );
    }
}
