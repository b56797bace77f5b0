//! C-38: handshakes while every core is busy (cloudflare/pingora#946).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::SWITCH;
use super::upgrade;
use crate::support::gateway::{Gateway, app_at};

/// `SLUICEGATE_SOAK=1` makes twenty times as many.
const HANDSHAKES: usize = 5_000;
const SOAK_FACTOR: usize = 20;
/// That may fail; and in the soak.
const FAILED_MAX: usize = 2;
const SOAK_FAILED_MAX: usize = 10;
const CLIENTS: usize = 8;
/// Several, so that ports that rest do not run out.
const SERVERS: usize = 4;
/// Threads of a server: as many as there are clients, and some that are still about to notice.
const WORKERS: usize = 4 * CLIENTS;

/// An application that is as fast as can be: its 101 is there before the request. Then it sends
/// back what comes behind the head.
fn fast_app() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    for _ in 0..WORKERS {
        let listener = listener.try_clone().expect("a second handle");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if stream.write_all(SWITCH).is_err() {
                    continue;
                }
                let (mut head, mut byte) = (Vec::new(), [0]);
                while stream.read(&mut byte).is_ok_and(|read| read > 0) {
                    if !head.ends_with(b"\r\n\r\n") {
                        head.push(byte[0]);
                    } else if stream.write_all(&byte).is_err() {
                        break;
                    }
                }
            }
        });
    }
    address
}

/// Whether a tunnel opens and carries a byte there and back.
fn opens(gateway: SocketAddr) -> Result<(), std::io::Error> {
    let mut stream = std::net::TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30)))?;
    stream.write_all(upgrade("/socket").as_bytes())?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(std::io::Error::other(String::from_utf8_lossy(&head).into_owned()));
    }
    stream.write_all(b"!")?;
    stream.read_exact(&mut byte)
}

#[test]
fn c38_handshakes_survive_busy_cores() {
    let soak = std::env::var_os("SLUICEGATE_SOAK").is_some();
    let handshakes = if soak { SOAK_FACTOR * HANDSHAKES } else { HANDSHAKES };
    let first = fast_app();
    let servers: Vec<String> =
        (1..SERVERS).map(|_| fast_app()).chain([first]).map(|at| format!("\"{at}\"")).collect();
    let app =
        app_at(first).replace(&format!("[\"{first}\"]"), &format!("[{}]", servers.join(", ")));
    let gateway = Gateway::start(&format!("[store]\nkind = \"local\"\n{app}"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (asked, ended, failed) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    while asked.fetch_add(1, Ordering::Relaxed) < handshakes {
                        if let Err(error) = opens(gateway.public()) {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("{error}");
                        }
                    }
                })
            })
            .collect();
        let joined: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(joined.iter().all(Result::is_ok), "no client panics");
    });
    let failed = failed.into_inner();
    println!(
        "{failed} of {handshakes} handshakes failed, {cores} cores busy, {:?}",
        began.elapsed()
    );
    assert!(failed <= if soak { SOAK_FAILED_MAX } else { FAILED_MAX }, "{failed}");
}
