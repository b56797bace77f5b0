//! HTTP/2: many streams, floods of frames, and requests that HTTP/1.1 would read otherwise.

mod floods;
mod resets;
mod smuggling;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::app::{App, response};
use crate::support::gateway::{Gateway, app_at};
use crate::support::http2::{Connection, End, HEADERS, WHOLE, frame, get};
use crate::support::load::Caller;

const STREAMS: u32 = 100;
const QUOTA: usize = 37;
/// What an attack may leave behind or take up meanwhile.
const GROWTH_MAX: u64 = 50 << 20;

/// Who attacks has a quota; who is asked for by others has none.
fn start(app: &App, quota: usize) -> Gateway {
    start_with(app, quota, "")
}

/// The same with a further key of `[server]`.
fn start_with(app: &App, quota: usize, server: &str) -> Gateway {
    Gateway::start(&format!(
        "h2c = true\n{server}\n[store]\nkind = \"local\"\n{}\
         [policies.all]\nquota = {quota}\nwindow = \"1h\"\npartition = []\n\
         [[rules]]\npath = \"/attacked/**\"\npolicies = [\"all\"]\n",
        app_at(app.address())
    ))
}

fn decisions(gateway: &Gateway, decision: &str) -> usize {
    gateway.metric("sluicegate_decisions_total", &[&format!("decision=\"{decision}\"")]) as usize
}

/// What is measured while somebody attacks: how many others were served, and what memory was taken.
#[derive(Debug)]
struct Meanwhile {
    served: usize,
    growth: u64,
}

/// Runs `attack` while others ask; all of them are served.
fn while_others_ask(gateway: &Gateway, attack: impl FnOnce()) -> Meanwhile {
    let (ended, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut caller = Caller::new(gateway.public());
    assert_eq!(caller.get("/other", "").expect("an answer"), 200);
    let before = gateway.resident();
    let most = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            // At least once, however short the attack.
            loop {
                assert_eq!(caller.get("/other", "").expect("others are served"), 200);
                served.fetch_add(1, Ordering::Relaxed);
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let memory = scope.spawn(|| {
            let mut most = before;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(gateway.resident());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let ending = Ending(&ended);
        attack();
        drop(ending);
        others.join().expect("others are served");
        memory.join().expect("it measures")
    });
    let growth = most.max(gateway.resident()).saturating_sub(before);
    Meanwhile { served: served.into_inner(), growth }
}

/// Ends the others however the attack ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// C-11: every stream is charged, exactly, and one connection cannot beat the limit.
#[test]
fn c11_every_stream_of_a_connection_is_charged() {
    let app = App::start();
    let gateway = start(&app, QUOTA);
    let mut connection = Connection::open(gateway.public());
    let streams: Vec<u32> = (0..STREAMS).map(|number| 2 * number + 1).collect();
    for stream in &streams {
        connection.get(*stream, "/attacked/one").expect("the gateway reads");
    }
    let mut ends = BTreeMap::new();
    for _ in &streams {
        *ends.entry(connection.end_of(&streams).1).or_insert(0) += 1;
    }
    let denied = STREAMS as usize - QUOTA;
    let expected = BTreeMap::from([(End::Answer(200), QUOTA), (End::Answer(429), denied)]);
    assert_eq!(ends, expected);
    assert_eq!(app.seen().len(), QUOTA, "what the application got");
    assert_eq!((decisions(&gateway, "allow"), decisions(&gateway, "deny")), (QUOTA, denied));
}

/// More streams than are allowed at once are refused one by one; none passes uncounted.
#[test]
fn c11_streams_beyond_those_allowed_at_once_are_refused() {
    let app = App::answering(|_| {
        // So that all of them are under way.
        std::thread::sleep(Duration::from_millis(2));
        response("200 OK", "", b"")
    });
    let gateway = start(&app, 1_000_000);
    let mut connection = Connection::open(gateway.public());
    let streams: Vec<u32> = (0..3 * STREAMS).map(|number| 2 * number + 1).collect();
    let mut requests = Vec::new();
    for stream in &streams {
        requests.extend(frame(HEADERS, WHOLE, *stream, &get("/attacked/one")));
    }
    connection.send(&requests).expect("the gateway reads");
    let mut ends = BTreeMap::new();
    for _ in &streams {
        *ends.entry(connection.end_of(&streams).1).or_insert(0) += 1;
    }
    println!("{ends:?}");
    let answered = ends[&End::Answer(200)];
    assert!(answered >= STREAMS as usize, "those that are allowed: {ends:?}");
    assert!(ends.keys().all(|end| matches!(end, End::Answer(200) | End::Reset(7))), "{ends:?}");
    assert_eq!(app.seen().len(), answered);
    assert_eq!(decisions(&gateway, "allow"), answered);
}
