//! A spray of keys on a gateway without Redis: it costs no memory, and it frees nobody.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::scope;
use std::time::Instant;

use super::{soaking, tell};
use crate::support::gateway::Gateway;
use crate::support::load::Caller;
use crate::support::redis::free_port;

const MEMORY: u64 = 16 << 20;
/// A slot takes so many bytes at most.
const SLOT: u64 = 512;
const QUOTA: usize = 5;
const CONNECTIONS: u32 = 8;
/// How often each connection asks for the limited client.
const ASK_EVERY: u32 = 2_000;
/// The limited client; the others come from 11.0.0.0 on.
const LIMITED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const FIRST: u32 = 0x0b00_0000;

/// What else grows (connections, the allocator's own) does not depend on the number of keys.
const ELSE: u64 = 4 << 20;

/// Nothing takes this path, so that what is admitted is answered with 404 by the gateway itself.
fn ask(caller: &mut Caller, client: Ipv4Addr) -> u16 {
    let header = format!("x-forwarded-for: {client}\r\n");
    caller.get("/spray", &header).expect("the gateway answers")
}

#[test]
fn a_spray_of_keys_stays_within_memory_and_frees_nobody() {
    let keys: u32 = if soaking() { 5_000_000 } else { 200_000 };
    let gateway = Gateway::start(&format!(
        "[store]\nurl = \"redis://127.0.0.1:{}\"\nlocal_memory = \"{}KiB\"\n[client]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [upstreams.app]\nservers = [\"127.0.0.1:{}\"]\n\
         [[routes]]\npath = \"/app\"\nupstream = \"app\"\n\
         [policies.few]\nquota = {QUOTA}\nwindow = \"1h\"\n\
         [[rules]]\npath = \"/**\"\npolicies = [\"few\"]\n",
        free_port(),
        MEMORY >> 10,
        free_port(),
    ));
    gateway.wait_for_store("away");
    let mut caller = Caller::new(gateway.public());
    for _ in 0..QUOTA {
        assert_eq!(ask(&mut caller, LIMITED), 404, "admitted");
    }
    assert_eq!(ask(&mut caller, LIMITED), 429);
    let (before, began, most) = (gateway.resident(), Instant::now(), AtomicU64::new(0));
    scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (gateway, most) = (&gateway, &most);
            scope.spawn(move || {
                let mut caller = Caller::new(gateway.public());
                for number in (connection..keys).step_by(CONNECTIONS as usize) {
                    let fresh = Ipv4Addr::from(FIRST + number);
                    assert_eq!(ask(&mut caller, fresh), 404, "a fresh client is admitted");
                    if (number / CONNECTIONS).is_multiple_of(ASK_EVERY) {
                        assert_eq!(ask(&mut caller, LIMITED), 429, "freed after {number} keys");
                        most.fetch_max(gateway.resident(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // On a new connection: the gateway has closed the idle one by now.
    assert_eq!(ask(&mut Caller::new(gateway.public()), LIMITED), 429);
    let grown = most.into_inner().max(gateway.resident()).saturating_sub(before);
    let held = gateway.metric("sluicegate_local_entries", &[]);
    let figures = format!(
        "{keys} fresh keys in {:.0?}: grown by {grown} bytes of {MEMORY}, {held} states held, the \
         limited client refused all along",
        began.elapsed()
    );
    tell("spray", &figures);
    assert!(held * 2.0 > (MEMORY / SLOT) as f64, "{held} states: the table is not in use");
    assert!(grown <= MEMORY + ELSE, "grown by {grown} bytes of at most {MEMORY}");
}
