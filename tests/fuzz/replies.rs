//! Replies of the store: no verdict comes of anything but a reply of the script to this very call.

use std::sync::Arc;

use redis::{Arg, Value};
use sluicegate::limit::calendar::{Calendar, Period};
use sluicegate::limit::sliding_window::SlidingWindow;
use sluicegate::limit::token_bucket::TokenBucket;
use sluicegate::limit::{Check, Key, Limit, Micros, Mode, OnStoreError, Policy, Quota, Timestamp};
use sluicegate::store::script::{Answer, Call, Misread, Now};

use crate::ITERATIONS;
use crate::text::text;

/// Checks of the call, each of another algorithm and key.
const CHECKS: usize = 3;
const NOW: &str = "1763000000000000";
/// Pieces of replies; `{n}` is the number of the call.
const WORDS: [&str; 26] = [
    "\r\n",
    "*6\r\n:1763000000000000\r\n:{n}\r\n",
    "$3\r\n111\r\n",
    "$3\r\n110\r\n",
    "$3\r\n011\r\n",
    "$3\r\n000\r\n",
    "$3\r\n1x1\r\n",
    "$-1\r\n",
    "_\r\n",
    ":0\r\n",
    ":-1\r\n",
    "$16\r\n1763000060000000\r\n",
    "$19\r\n1763000060000000123\r\n",
    "$16\r\n9999999999999999\r\n",
    "$29\r\n1763000000:1763086400:0000005\r\n",
    "$23\r\n1762900000:1763086400:5\r\n",
    "-OOM no\r\n",
    "*0\r\n",
    "*-1\r\n",
    "%1\r\n",
    "#t\r\n",
    "+OK\r\n",
    "$0\r\n\r\n",
    ":9223372036854775807\r\n",
    "$20\r\n\u{3}\0\0\0\0\0\u{1}\0\0\0\0\0\u{9}\0\0\0\u{9}\0\0\u{1}\r\n",
    "{n}",
];

/// Values of keys: none, and what each algorithm writes, in use and used up.
const VALUES: [&str; 9] = [
    "$-1\r\n",
    "$16\r\n1763000000000000\r\n",
    "$16\r\n1763000060000000\r\n",
    "$19\r\n1763000059999999000\r\n",
    "$29\r\n1763000000:1763086400:0000005\r\n",
    "$23\r\n1763000000:1763086400:4\r\n",
    "$20\r\n\u{3}\0\0\0\0\0\u{1}\0\0\0\0\0\u{9}\0\0\0\u{9}\0\0\u{1}\r\n",
    "$3\r\nabc\r\n",
    ":5\r\n",
];

#[test]
fn replies_are_of_the_script_or_none() {
    let requests = [checks()];
    let requests: Vec<&[Check]> = requests.iter().map(Vec::as_slice).collect();
    let call = Call::new(&requests);
    let number = number_of(&call);
    bolero::check!(name = "replies")
        .with_iterations(ITERATIONS)
        .with_max_len(128)
        .for_each(|input| is_of_the_script_or_none(&call, &written(input).replace("{n}", &number)));
}

fn is_of_the_script_or_none(call: &Call<'_>, reply: &str) {
    let Ok(reply) = redis::parse_redis_value(reply.as_bytes()) else { return };
    match call.answer(&reply) {
        Ok(answer) => is_verdict(call, &reply, &answer),
        Err(Misread::Foreign) => {
            let number = number_of(call);
            let Value::Array(parts) = &reply else { panic!("no reply of any call: {reply:?}") };
            assert_ne!(parts[1], Value::Int(number.parse().unwrap()));
        }
        Err(Misread::Malformed) => {}
    }
}

/// ASCII first: the reply itself. Else one with the right head, whose rooms and values follow.
fn written(input: &[u8]) -> String {
    const ROOMS: [&str; 8] = ["000", "001", "010", "011", "100", "101", "110", "111"];
    let Some(first @ 0x80..) = input.first() else { return text(input, &WORDS) };
    let rooms = ROOMS[usize::from(first % 8)];
    let values: String = input[1..].iter().map(|byte| text(&[byte | 0x80], &VALUES)).collect();
    format!("*6\r\n:{NOW}\r\n:{{n}}\r\n$3\r\n{rooms}\r\n{values}")
}

/// The number of the call: behind the script, the count of keys, the keys and the clock.
fn number_of(call: &Call<'_>) -> String {
    let command = call.command("EVAL", "script", Now::Redis);
    let argument = command.args_iter().nth(4 + CHECKS);
    let Some(Arg::Simple(bytes)) = argument else { panic!("it has a number") };
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// It has all that a verdict takes, and none comes of the same reply with one sign changed.
fn is_verdict(call: &Call<'_>, reply: &Value, answer: &Answer) {
    let Value::Array(parts) = reply else { panic!("a verdict of {reply:?}") };
    let [Value::Int(now), Value::Int(_), Value::BulkString(rooms), values @ ..] = &parts[..] else {
        panic!("a verdict of {reply:?}")
    };
    assert_eq!(answer.now, Timestamp::from_micros(u64::try_from(*now).expect("a clock")));
    assert_eq!((rooms.len(), values.len()), (CHECKS, CHECKS), "{reply:?}");
    assert!(rooms.iter().all(|digit| matches!(digit, b'0' | b'1')), "{reply:?}");
    let allowed: Vec<bool> = answer.decisions[0].iter().map(|one| one.allowed).collect();
    assert_eq!(allowed, rooms.iter().map(|digit| *digit == b'1').collect::<Vec<_>>(), "{reply:?}");
    for place in 0..rooms.len() {
        for digit in [b'0', b'1', b'x'] {
            let mut other = rooms.clone();
            other[place] = digit;
            let mut parts = parts.clone();
            parts[2] = Value::BulkString(other.clone());
            let read = call.answer(&Value::Array(parts)).is_ok();
            assert_eq!(read, other == *rooms, "{reply:?} with {other:?}");
        }
    }
    let mut foreign = parts.clone();
    foreign[1] = Value::Int(0);
    assert_eq!(call.answer(&Value::Array(foreign)).err(), Some(Misread::Foreign));
}

fn checks() -> Vec<Check> {
    let quota = Quota::new(5, Micros::new(60_000_000)).unwrap();
    let day = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
    let period = Period::new(day(1_763_000_000), day(1_763_086_400)).unwrap();
    let limits = [
        Limit::TokenBucket(TokenBucket::new(quota, 5).unwrap()),
        Limit::SlidingWindow(SlidingWindow::new(quota, 64).unwrap()),
        Limit::Calendar(Calendar::new(5, period).unwrap()),
    ];
    let each = limits.into_iter().enumerate().map(|(id, limit)| {
        let policy = Arc::new(Policy {
            id,
            generation: 0,
            variant: 0,
            name: format!("p{id}"),
            limit,
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        });
        let key = Key::new("sg", "203.0.113.7", &policy);
        Check::new(policy, key, 1)
    });
    each.collect()
}
