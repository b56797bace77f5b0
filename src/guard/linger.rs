//! The end of a connection on which the client may still be sending. Closed at once, it would be
//! reset by the client's next bytes, and the client would never see the answer that it was given.

use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connections::Permit;

/// How long the rest of what a client sends is taken.
const LINGER: Duration = Duration::from_millis(500);
/// How much of it.
const LINGER_BYTES: usize = 256 * 1024;
/// Bytes that are read at once.
const READ_SIZE: usize = 4 * 1024;

/// Closes our side, and the rest when the client has closed its own: within bounds. The permit is
/// held until then.
pub(super) fn linger(mut transport: Stream, permit: Option<Permit>) {
    // Without a runtime the process is ending.
    let Ok(runtime) = Handle::try_current() else { return };
    let lingering = permit.as_ref().map(Permit::lingers);
    runtime.spawn(async move {
        let _ = timeout(LINGER, drain(&mut transport)).await;
        drop((transport, permit, lingering));
    });
}

async fn drain(transport: &mut Stream) {
    if transport.shutdown().await.is_err() {
        return;
    }
    let (mut read, mut space) = (0, [0; READ_SIZE]);
    while read < LINGER_BYTES {
        match transport.read(&mut space).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => read += bytes,
        }
    }
}
