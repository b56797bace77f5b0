//! A proxy that is shown what a client sends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;

const CHUNK: usize = 1 << 20;

/// Whether the answers to these bytes, and all that follow on the connection, are swallowed. It may
/// take its time.
pub(super) trait Look: Fn(&[u8]) -> bool + Send + Sync + 'static {}
impl<T: Fn(&[u8]) -> bool + Send + Sync + 'static> Look for T {}

/// Starts a proxy to `targets`, which take connections in turn.
pub(super) fn spy(targets: Vec<SocketAddr>, look: impl Look) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let look = Arc::new(look);
    spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            if let Ok(server) = TcpStream::connect(targets[number % targets.len()]) {
                join(client, server, &look);
            }
        }
    });
    address
}

fn join(mut client: TcpStream, mut server: TcpStream, look: &Arc<impl Look>) {
    let (mut to_client, mut from_server) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    let quiet = Arc::new(AtomicBool::new(false));
    let (look, is_quiet) = (Arc::clone(look), Arc::clone(&quiet));
    spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = client.read(&mut chunk) {
            if look(&chunk[..length]) {
                quiet.store(true, Ordering::SeqCst);
            }
            if server.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    });
    spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = from_server.read(&mut chunk) {
            let passes = !is_quiet.load(Ordering::SeqCst);
            if passes && to_client.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// Whether `words` are among the bytes.
pub(super) fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}
