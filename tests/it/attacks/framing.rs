//! C-16: what two parsers could read differently is refused, or reaches the application as the one
//! request that was charged, however the bytes are split over packets.

use std::collections::HashMap;
use std::io::Write;

use super::corpus::{Case, Reaching, cases};
use super::recorder::{End, Noted, Recorder};
use super::volley::{Outcome, QUOTA, Run, fire, is_own};
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;
use crate::support::redis::wait_until;

/// Places at which a stream is cut in two, where it is not cut at every one.
const PLACES: usize = 8;
/// Longer streams are not sent byte by byte.
const BYTEWISE_MAX: usize = 1200;
const SEED: u64 = 16;

/// A gateway that charges every request to the address that it comes from.
pub(super) fn gateway(app: &Recorder, server: &str) -> Gateway {
    gateway_with(app, server, QUOTA)
}

pub(super) fn gateway_with(app: &Recorder, server: &str, quota: usize) -> Gateway {
    Gateway::start(&format!(
        "{server}[store]\nkind = \"local\"\n{}[policies.all]\nquota = {quota}\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n",
        app_at(app.address())
    ))
}

/// The ways to send a stream: whole, byte by byte, and in two.
fn ways(case: &Case, random: &mut fastrand::Rng) -> Vec<Vec<usize>> {
    let length = case.bytes.len();
    let mut ways = vec![Vec::new()];
    if length <= BYTEWISE_MAX {
        ways.push((1..length).collect());
    }
    if case.every {
        ways.extend((1..length).map(|place| vec![place]));
    } else {
        ways.extend((0..PLACES.min(length - 1)).map(|_| vec![random.usize(1..length)]));
    }
    ways
}

#[test]
fn c16_every_stream_comes_to_the_same_however_it_is_split() {
    let app = Recorder::start();
    let gateway = gateway(&app, "");
    let mut random = fastrand::Rng::with_seed(SEED);
    let cases = cases();
    let only = std::env::var("STREAM").unwrap_or_default();
    let chosen = cases.iter().filter(|case| case.name.contains(&only));
    let mut runs = Vec::new();
    for case in chosen {
        runs.extend(ways(case, &mut random).into_iter().map(|cuts| Run::new(case, cuts)));
    }
    assert!(!runs.is_empty(), "no stream of that name");
    let outcomes = fire(gateway.public(), &runs);
    wait_until("all requests to end", || app.is_idle());
    let notes = by_client(app.notes());
    let mut faults = Faults::default();
    for (run, outcome) in runs.iter().zip(&outcomes) {
        let none = Vec::new();
        let seen = notes.get(&run.client.to_string()).unwrap_or(&none);
        faults.judge(run, outcome, seen);
    }
    let known: Vec<String> = runs.iter().map(|run| run.client.to_string()).collect();
    let strays = notes.keys().filter(|client| !known.contains(client));
    let strays: Vec<_> = strays.map(|client| &notes[client]).collect();
    eprintln!("{} streams sent in {} ways", cases.len(), runs.len());
    assert!(strays.is_empty(), "requests of nobody: {strays:?}\n{}", faults.told());
    assert!(faults.is_empty(), "{}", faults.told());
    assert_eq!(gateway.metric("sluicegate_decisions_total", &["deny"]), 0.0);
}

/// What the application has seen of each client, but for what the runs ask by themselves.
pub(super) fn by_client(notes: Vec<Noted>) -> HashMap<String, Vec<Noted>> {
    let mut by_client: HashMap<String, Vec<Noted>> = HashMap::new();
    for note in notes.into_iter().filter(|note| !is_own(&note.target)) {
        by_client.entry(note.client()).or_default().push(note);
    }
    by_client
}

/// What was wrong, by case: the first of it, and of how many ways to send it.
#[derive(Default)]
struct Faults {
    found: Vec<(String, String, usize)>,
    /// Whether the first run of a case was closed, where either will do.
    closed: HashMap<String, bool>,
}

impl Faults {
    fn judge(&mut self, run: &Run<'_>, outcome: &Outcome, seen: &[Noted]) {
        let case = run.case;
        let expected = Outcome {
            statuses: case.statuses.clone(),
            closed: case.half_close || *self.closed_before(case, outcome),
            hung: false,
            charged: case.charged(),
        };
        let mut wrong = Vec::new();
        if *outcome != expected {
            wrong.push(format!("came to {outcome:?}, not {expected:?}"));
        }
        if seen.len() != case.requests.len() {
            let count = case.requests.len();
            wrong.push(format!("{} requests at the application, not {count}", seen.len()));
        }
        for (noted, reaching) in seen.iter().zip(&case.requests) {
            wrong.extend(differences(noted, reaching));
        }
        if !wrong.is_empty() {
            let seen: Vec<String> = seen.iter().map(Noted::brief).collect();
            self.add(run, &format!("{}\n    the application: {seen:?}", wrong.join("\n    ")));
        }
    }

    fn closed_before(&mut self, case: &Case, outcome: &Outcome) -> &bool {
        let first = case.closed.unwrap_or(outcome.closed);
        self.closed.entry(case.name.clone()).or_insert(first)
    }

    fn add(&mut self, run: &Run<'_>, what: &str) {
        let name = &run.case.name;
        if let Some((.., times)) = self.found.iter_mut().find(|(known, ..)| known == name) {
            *times += 1;
            return;
        }
        let pieces = run.cuts.len() + 1;
        let at = run.cuts.first().copied().unwrap_or_default();
        let what = format!("in {pieces} pieces, the first of {at} bytes:\n    {what}");
        self.found.push((name.clone(), what, 1));
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn told(&self) -> String {
        let each =
            self.found.iter().map(|(name, what, times)| format!("{name} ({times} ways), {what}"));
        format!("{} streams:\n{}", self.found.len(), each.collect::<Vec<_>>().join("\n"))
    }
}

fn differences(noted: &Noted, reaching: &Reaching) -> Vec<String> {
    let mut wrong = Vec::new();
    if (&noted.method, &noted.target) != (&reaching.method, &reaching.target) {
        let (method, target) = (&reaching.method, &reaching.target);
        wrong.push(format!("{} {}, not {method} {target}", noted.method, noted.target));
    }
    match (&noted.end, reaching.whole) {
        (End::Whole, true) if noted.body != reaching.body => {
            let body = String::from_utf8_lossy(&noted.body);
            wrong.push(format!("the body {body:?}"));
        }
        (End::Whole, true) | (End::Cut, false) => {}
        (end, _) => wrong.push(format!("a request that is {end:?}")),
    }
    for (name, value) in &reaching.has {
        let values = noted.values(name);
        if values != [value.as_str()] {
            wrong.push(format!("`{name}` is {values:?}"));
        }
    }
    let there = reaching.lacks.iter().filter(|name| !noted.values(name).is_empty());
    wrong.extend(there.map(|name| format!("`{name}` is there")));
    wrong
}

/// Asks `GET /b` on new connections, as somebody who has nothing to do with it.
fn ask_as_somebody_else(gateway: &Gateway) {
    for number in 0..8 {
        let request = b"GET /b HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
        let answer = raw::exchange(gateway.public(), request);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let own = answer.contains("x-target: /b\r\n") && answer.ends_with("\r\n\r\nok");
        assert!(answer.starts_with("HTTP/1.1 200") && own, "{number}: {answer}");
    }
}

/// CL.0 the other way round: an application that answers before it has the body. The next request
/// on that connection would be the rest of it.
#[test]
fn c16_an_early_answer_leaves_nothing_for_the_next_client() {
    let app = Recorder::start();
    let gateway = gateway(&app, "");
    for framing in ["Content-Length: 500\r\n\r\nhel", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"]
    {
        let mut stream = raw::connect(gateway.public());
        let request = format!("POST /early HTTP/1.1\r\nHost: a\r\n{framing}");
        stream.write_all(request.as_bytes()).expect("it is read");
        let (head, _) = raw::read_answer(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        ask_as_somebody_else(&gateway);
        // What the client says now is no request, and comes too late for being a body.
        let _ = stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        ask_as_somebody_else(&gateway);
    }
    let notes = app.notes();
    assert!(notes.iter().all(|noted| ["/early", "/b"].contains(&noted.target.as_str())));
    let broken = notes.iter().find(|noted| matches!(noted.end, End::Broken(_)));
    assert!(broken.is_none(), "{broken:?}");
}

/// An application that answers a HEAD with a body says something that the next client would take
/// for its own answer.
#[test]
fn c16_a_body_that_nobody_has_asked_for_is_nobodys_answer() {
    let app = Recorder::start();
    let gateway = gateway(&app, "");
    for _ in 0..20 {
        let request = b"HEAD /rude HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = raw::exchange(gateway.public(), request);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
        assert!(answer.ends_with(b"\r\n\r\n"), "{}", answer.escape_ascii());
        ask_as_somebody_else(&gateway);
    }
}
