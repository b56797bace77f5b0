//! Which of a cluster's servers has how much to do.

use std::collections::BTreeSet;

use super::gateway;
use crate::endurance::{soaking, tell};
use crate::support::app::App;
use crate::support::cluster::{Cluster, SLOTS, slot_of};
use crate::support::load::Caller;

const RULES: &str = "[policies.by-name]\nquota = 1000\nwindow = \"1h\"\n\
                     partition = [\"header:x-name\"]\n\
                     [[rules]]\npath = \"/**\"\npolicies = [\"by-name\"]\n";
/// Subjects that somebody makes up who wants them all in one place.
const HOSTILE: usize = 10_000;
/// Parts of the slots that are told apart.
const PARTS: usize = 16;

/// Whether none of these is further than a fifth from what each would have if they were even.
fn is_even(counts: &[usize]) -> bool {
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts.iter().all(|count| (*count as f64 - mean).abs() <= mean / 5.0)
}

/// Values that try to name their own slot, or to be none; all are different.
fn hostile(number: usize) -> String {
    match number % 8 {
        0 => format!("{{x}}{number}"),
        1 => format!("}}{{{number}"),
        2 => format!("{{}}{number}"),
        3 => format!("{{x}}:by-name:s {number}"),
        4 => format!("sg:{{gateway}}:live{number}"),
        5 => format!("x}}{number}{{x"),
        6 if number < 800 => format!("{number}{}", "{".repeat(8 * 1024 - 4)),
        6 => format!("{number}\t{{x}}"),
        _ => format!("{{{{x}}}}{number}"),
    }
}

#[test]
fn no_client_chooses_its_slot() {
    let (cluster, app) = (Cluster::start(3, 0), App::start());
    let gateway = gateway(&cluster, &app, "", RULES);
    let values: BTreeSet<String> = (0..HOSTILE).map(hostile).collect();
    assert_eq!(values.len(), HOSTILE);
    let used = || [0, 1, 2].map(|node| cluster.used_memory(node));
    let before = used();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (values, address) = (&values, gateway.public());
            scope.spawn(move || {
                let mut caller = Caller::new(address);
                for value in values.iter().skip(part).step_by(4) {
                    let status = caller.get("/", &format!("x-name: {value}\r\n"));
                    assert_eq!(status.expect("an answer"), 200, "{value}");
                }
            });
        }
    });
    // Nobody at all counts by the address.
    assert_eq!(Caller::new(gateway.public()).get("/", "x-name:\r\n").expect("an answer"), 200);
    let mut keys = cluster.keys();
    keys.retain(|key| key.contains(":by-name:"));
    assert_eq!(keys.len(), HOSTILE + 1);
    let (mut parts, mut masters) = ([0; PARTS], [0; 3]);
    for slot in keys.iter().map(|key| slot_of(key)) {
        parts[usize::from(slot) * PARTS / usize::from(SLOTS)] += 1;
        masters[cluster.master_of(slot)] += 1;
    }
    let after = used().into_iter().zip(before);
    let sizes = after.zip(masters).map(|((after, before), keys)| (after - before) / keys as u64);
    let figures = format!(
        "{HOSTILE} hostile subjects: {masters:?} a master, {parts:?} a sixteenth of the slots; {:?} \
         bytes a key",
        sizes.collect::<Vec<_>>()
    );
    tell("cluster hostile subjects", &figures);
    assert!(is_even(&masters) && is_even(&parts));
}

/// Decisions of many subjects: how many script calls each master had, and how much of its time a
/// decision took, in microseconds.
fn work(masters: usize, decisions: usize) -> (Vec<usize>, f64) {
    let (cluster, app) = (Cluster::start(masters, 0), App::start());
    let gateway = gateway(&cluster, &app, "", RULES);
    let stats = |node: usize| {
        let cpu = |name: &str| {
            let text = cluster.server(node).info("cpu", name).expect("it tells");
            text.parse::<f64>().expect("a number")
        };
        let calls = cluster.calls(node).get("evalsha").copied().unwrap_or(0);
        (calls, cpu("used_cpu_sys") + cpu("used_cpu_user"))
    };
    let before: Vec<(u64, f64)> = (0..masters).map(stats).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let address = gateway.public();
            scope.spawn(move || {
                let mut caller = Caller::new(address);
                for turn in 0..decisions / 4 {
                    let header = format!("x-name: {thread}-{}\r\n", turn % 500);
                    assert_eq!(caller.get("/", &header).expect("an answer"), 200);
                }
            });
        }
    });
    let after: Vec<(u64, f64)> = (0..masters).map(stats).collect();
    let each = || before.iter().zip(&after);
    let calls = each().map(|(before, after)| (after.0 - before.0) as usize).collect();
    let seconds: f64 = each().map(|(before, after)| after.1 - before.1).sum();
    (calls, seconds * 1e6 / decisions as f64)
}

#[test]
fn three_masters_share_the_work_of_one() {
    let decisions = if soaking() { 100_000 } else { 8_000 };
    let (one, alone) = work(1, decisions);
    let (three, shared) = work(3, decisions);
    let figures = format!(
        "{decisions} decisions: one master {one:?} calls, {alone:.1} µs of its time each; three \
         masters {three:?} calls, {shared:.1} µs each"
    );
    tell("cluster work of the masters", &figures);
    assert!(one[0] >= decisions && three.iter().sum::<usize>() >= decisions);
    assert!(is_even(&three), "{three:?}");
}
