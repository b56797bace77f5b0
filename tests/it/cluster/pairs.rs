//! Requests of two subjects, whose keys are on two servers: one may take what the other denies.

use std::collections::BTreeMap;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::gateway;
use crate::endurance::{soaking, tell};
use crate::support::app::App;
use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, app_at};
use crate::support::load::{Caller, Sample, largest_count};
use crate::support::redis::RedisServer;

const WINDOW: Duration = Duration::from_secs(1);
/// Everybody together, a second.
const ALL: usize = 100;
/// A single one, a second.
const EACH: usize = 20;
/// Requests a second: three times what all may have.
const OFFERED: usize = 3 * ALL;
/// Every other request comes from one of these.
const HEAVY: [&str; 3] = ["x-name: a\r\n", "x-name: b\r\n", "x-name: c\r\n"];
const LIGHT: usize = 100;
const THREADS: usize = 10;

/// What came of a load.
struct Came {
    samples: Vec<(usize, Sample)>,
    admitted: usize,
    seconds: f64,
    refunds: usize,
}

/// Offers the load to both gateways for a while.
fn offer(gateways: &[Gateway; 2], time: Duration) -> Came {
    let began = Instant::now();
    let every = Duration::from_secs(1) * u32::try_from(THREADS).expect("few")
        / u32::try_from(OFFERED).expect("few");
    let samples: Vec<(usize, Sample)> = scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let gateway = &gateways[thread % 2];
                scope.spawn(move || ask(gateway, thread, every, began + time))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends well")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let admitted = samples.iter().filter(|(_, sample)| sample.admitted()).count();
    let refunds = |gateway: &Gateway| gateway.metric("sluicegate_refunds_total", &[]) as usize;
    Came { samples, admitted, seconds, refunds: gateways.iter().map(refunds).sum() }
}

/// One thread's part, each request with the number of who made it.
fn ask(gateway: &Gateway, thread: usize, every: Duration, until: Instant) -> Vec<(usize, Sample)> {
    let (mut caller, mut samples) = (Caller::new(gateway.public()), Vec::new());
    for turn in thread.. {
        let sent = Instant::now();
        if sent >= until {
            break;
        }
        let heavy = turn % 2 == 0;
        let who = if heavy { turn / 2 % HEAVY.len() } else { HEAVY.len() + turn / 2 % LIGHT };
        let light = format!("x-name: {who}\r\n");
        let header = if heavy { HEAVY[who] } else { &light };
        let status = caller.get("/", header).map_err(|error| error.kind());
        samples.push((who, Sample { target: 0, sent, received: Instant::now(), status }));
        sleep(every.saturating_sub(sent.elapsed()));
    }
    samples
}

/// The largest certain count of a window, of all and of the one who had most.
fn most(came: &Came) -> [usize; 2] {
    let times = || came.samples.iter().map(|(_, sample)| sample);
    let from = times().map(|sample| sample.sent).min().expect("there are some");
    let until = times().map(|sample| sample.received).max().expect("there are some");
    let largest = |samples: &[&Sample]| {
        largest_count(samples.iter().copied(), WINDOW, (from, until)).unwrap_or(0)
    };
    let mut by_who: BTreeMap<usize, Vec<&Sample>> = BTreeMap::new();
    for (who, sample) in &came.samples {
        by_who.entry(*who).or_default().push(sample);
    }
    let of_one = by_who.values().map(|samples| largest(samples)).max().unwrap_or(0);
    [largest(&times().collect::<Vec<_>>()), of_one]
}

/// Offers the load to a cluster and to a single server, under two policies of this algorithm that
/// admit at most `most` times their quota in a window.
fn compare(algorithm: &str, most_of: usize) {
    let time = Duration::from_secs(if soaking() { 60 } else { 10 });
    let app = App::start();
    let policy = |name: &str, quota: usize, partition: &str| {
        format!(
            "[policies.{name}]\nquota = {quota}\nwindow = \"1s\"\npartition = [{partition}]\n\
             algorithm = \"{algorithm}\"\n"
        )
    };
    let rules = format!(
        "{}{}[[rules]]\npath = \"/**\"\npolicies = [\"all\", \"each\"]\n",
        policy("all", ALL, ""),
        policy("each", EACH, "\"header:x-name\""),
    );
    let cluster = Cluster::start(3, 0);
    let apart = offer(&[(); 2].map(|()| gateway(&cluster, &app, "", &rules)), time);
    drop(cluster);
    let redis = RedisServer::start();
    let config = format!("{}{rules}", app_at(app.address()));
    let single = [(); 2].map(|()| Gateway::with_redis(&redis, "timeout = \"1s\"", &config));
    let together = offer(&single, time);
    for came in [&apart, &together] {
        let failed = came.samples.iter().find(|(_, sample)| sample.failed());
        assert!(failed.is_none(), "{failed:?}");
    }
    let rate = |came: &Came| came.admitted as f64 / came.seconds;
    let share = rate(&apart) / rate(&together);
    let [all, one] = most(&apart);
    let [all_max, one_max] = [most_of * ALL, most_of * EACH];
    let figures = format!(
        "{} requests, {} admitted in {:.1} s on a cluster, {} in {:.1} s on one \
         server: {share:.3}; {} refunds; most in a second: {all} of {all_max} by all, {one} of \
         {one_max} by one",
        apart.samples.len(),
        apart.admitted,
        apart.seconds,
        together.admitted,
        together.seconds,
        apart.refunds,
    );
    tell(&format!("cluster two subjects {algorithm}"), &figures);
    assert!(apart.refunds > 0, "the servers never disagreed");
    assert_eq!(together.refunds, 0);
    // What is being given back may be on top: a request of each thread.
    assert!(all <= all_max + THREADS && one <= one_max + THREADS);
    // A busy machine that stops for a second costs some of a short run.
    assert!(share >= if soaking() { 0.99 } else { 0.95 }, "{share}");
}

#[test]
fn two_subjects_on_two_servers_get_what_they_would_on_one() {
    compare("token-bucket", 2);
}

#[test]
fn no_window_of_two_subjects_is_exceeded() {
    compare("sliding-window", 1);
}
