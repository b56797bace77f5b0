//! C-16, for streams that nobody has thought of: those of the corpus, spoiled at random.
//!
//! What has to come of them is not written down anywhere. But it is the same however they are
//! split, the application gets plain HTTP, and as many requests as are charged.

use std::collections::HashMap;

use super::corpus::{Case, cases};
use super::framing::{by_client, gateway};
use super::recorder::{End, Noted, Recorder};
use super::volley::{Outcome, Run, fire};
use crate::support::redis::wait_until;

/// Spoiled streams of an ordinary run, and of a long one.
const MUTANTS: usize = 600;
const MUTANTS_SOAK: usize = 20_000;
/// Longer streams of the corpus are long and nothing else.
const LENGTH_MAX: usize = 600;
const SEED: u64 = 1616;
/// What is put in, or in the place of something.
const PIECES: [&[u8]; 38] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\xff",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"0\r\n\r\n",
    b"5\r\n",
    b"1;a\r\n",
    b"-",
    b"+",
    b"x",
    b"/",
    b"*",
    b"%",
    b"#",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"chunked",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
];

/// A stream of the corpus with one to four things done to it.
fn mutant(cases: &[Case], random: &mut fastrand::Rng) -> Vec<u8> {
    let short: Vec<&Case> = cases.iter().filter(|case| case.bytes.len() <= LENGTH_MAX).collect();
    let any = |random: &mut fastrand::Rng| short[random.usize(..short.len())].bytes.clone();
    let mut bytes = any(random);
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..8)).min(bytes.len());
        let piece = PIECES[random.usize(..PIECES.len())];
        match random.usize(..7) {
            0 | 1 => bytes.splice(at..at, piece.iter().copied()).for_each(drop),
            2 => bytes.splice(at..end, piece.iter().copied()).for_each(drop),
            3 => bytes.drain(at..end).for_each(drop),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(end..end, again).for_each(drop);
            }
            5 => bytes.extend(any(random)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// The same bytes whole, one by one and in two.
fn ways(case: &Case, random: &mut fastrand::Rng) -> Vec<Vec<usize>> {
    let length = case.bytes.len();
    match length {
        0 | 1 => vec![Vec::new()],
        _ => vec![Vec::new(), (1..length).collect(), vec![random.usize(1..length)]],
    }
}

#[test]
fn c16_spoiled_streams_come_to_the_same_however_they_are_split() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let count = if soak { MUTANTS_SOAK } else { MUTANTS };
    let start = std::env::var("SEED").map_or(SEED, |text| text.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(start);
    let known = cases();
    let case = |number, bytes| {
        let name = format!("spoiled {number}");
        // The client closes its half: what waits for more is told that there is none.
        Case { name, bytes, half_close: true, ..Case::default() }
    };
    let mutants = (0..count).map(|number| case(number, mutant(&known, &mut random)));
    let mutants: Vec<Case> = mutants.collect();
    let mut runs = Vec::new();
    for case in &mutants {
        runs.extend(ways(case, &mut random).into_iter().map(|cuts| Run::new(case, cuts)));
    }
    let app = Recorder::start();
    let gateway = gateway(&app, "");
    let outcomes = fire(gateway.public(), &runs);
    wait_until("all requests to end", || app.is_idle());
    let notes = by_client(app.notes());
    let (mut first, mut wrong, mut passed): (HashMap<&str, _>, _, _) =
        (HashMap::new(), Vec::new(), 0);
    for (run, outcome) in runs.iter().zip(&outcomes) {
        let seen = notes.get(&run.client.to_string()).cloned().unwrap_or_default();
        passed += seen.len();
        let result = (outcome.clone(), seen.iter().map(brief).collect::<Vec<_>>());
        let before = first.entry(run.case.name.as_str()).or_insert_with(|| result.clone());
        wrong.extend(fault(run, outcome, &seen));
        if *before != result {
            wrong.push(format!("{}: {result:?}, and before {before:?}", shown(run)));
        }
    }
    let strays: usize = notes.values().map(Vec::len).sum::<usize>() - passed;
    eprintln!("{count} spoiled streams sent in {} ways: {passed} requests passed", runs.len());
    assert_eq!(strays, 0, "requests of nobody");
    assert!(passed > count / 4, "hardly anything gets through: {passed}");
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is the same in all ways: of a request that was cut, how much came of it is not.
fn brief(noted: &Noted) -> String {
    let mut noted = noted.clone();
    if noted.end == End::Cut {
        noted.body.clear();
    }
    noted.brief()
}

fn fault(run: &Run<'_>, outcome: &Outcome, seen: &[Noted]) -> Option<String> {
    let broken = seen.iter().any(|noted| matches!(noted.end, End::Broken(_) | End::Open));
    let wrong = outcome.hung || broken || outcome.charged != seen.len();
    let seen: Vec<String> = seen.iter().map(Noted::brief).collect();
    wrong.then(|| format!("{}: {outcome:?}, the application: {seen:?}", shown(run)))
}

fn shown(run: &Run<'_>) -> String {
    let (name, pieces) = (&run.case.name, run.cuts.len() + 1);
    format!("{name} {} in {pieces}", run.case.bytes.escape_ascii())
}
