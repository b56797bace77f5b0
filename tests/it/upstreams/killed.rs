//! A server that is killed and started again under load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

use super::server::{Barrier, Reply, Server};
use super::{gateway, upstream};
use crate::support::load::Caller;
use crate::support::redis::wait_until;

const CLIENTS: usize = 6;
const DEATHS: usize = 10;
/// Requests between a death and a return, and after it.
const MEANWHILE: usize = 150;
const METHODS: [&str; 3] = ["GET", "PUT", "POST"];

/// How often each method ended with each status.
type Ends = BTreeMap<(&'static str, u16), usize>;

fn client(address: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<Ends> {
    spawn(move || {
        let (mut caller, mut ends) = (Caller::new(address), Ends::new());
        for method in METHODS.into_iter().cycle() {
            if stop.load(Ordering::SeqCst) {
                return ends;
            }
            let head = format!("{method} /x HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
            let status = caller.send(head.as_bytes()).expect("the gateway always answers");
            *ends.entry((method, status)).or_default() += 1;
        }
        unreachable!("methods go round")
    })
}

/// A killed server costs what is under way and cannot be done twice, and nothing else.
fn survives(more: &str) {
    let (stays, mut dies) = (Server::start(), Server::start());
    let gateway = gateway(&[stays.address(), dies.address()], more);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| client(gateway.public(), Arc::clone(&stop))).collect();
    for death in 0..DEATHS {
        let (before, other) = (dies.requests(), stays.requests());
        wait_until(&format!("traffic in life {death}"), || dies.requests() > before + MEANWHILE);
        dies.kill();
        wait_until("traffic elsewhere", || stays.requests() > other + MEANWHILE);
        dies.revive();
    }
    let before = dies.requests();
    wait_until("traffic in the last life", || dies.requests() > before);
    stop.store(true, Ordering::SeqCst);
    let mut ends = Ends::new();
    for (end, count) in clients.into_iter().flat_map(|client| client.join().unwrap()) {
        *ends.entry(end).or_default() += count;
    }
    let lost: usize =
        ends.iter().filter(|((_, status), _)| *status != 200).map(|(_, count)| count).sum();
    for (method, status) in ends.keys() {
        assert!(matches!((*method, *status), (_, 200) | ("POST", 502)), "{more}: {ends:?}");
    }
    assert_eq!(upstream(&gateway, "errors_total", &[]), lost as u64, "{ends:?}");
    assert!(upstream(&gateway, "retries_total", &[]) > 0);
}

#[test]
fn a_killed_server_costs_no_idempotent_request() {
    survives("[upstreams.app.ejection]\nfailures = 3\nfor = \"100ms\"");
}

#[test]
fn nor_does_one_whose_health_is_checked() {
    survives(
        "[upstreams.app.health]\npath = \"/healthz\"\ninterval = \"100ms\"\ntimeout = \"100ms\"",
    );
}

/// Far more than the floor and the share of the budget.
const AT_ONCE: usize = 100;

#[test]
fn many_that_are_under_way_at_once_are_all_tried_elsewhere() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let stays = Server::start();
    let mut dies = Server::doing(move |_| {
        held.pass();
        Reply::Status(200)
    });
    let gateway = gateway(&[stays.address(), dies.address()], "");
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (client, url) = (gateway.client().clone(), gateway.url("/"));
            spawn(move || client.get(url).send().expect("an answer").status().as_u16())
        })
        .collect();
    wait_until("half of them to be held", || dies.requests() == AT_ONCE / 2);
    dies.kill();
    barrier.open();
    let statuses: Vec<u16> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(statuses, [200; AT_ONCE]);
}
