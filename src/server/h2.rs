//! How clients may speak HTTP/2. Every bound is here for a flood that would do without it.

use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};

/// Streams that a client may have open on one connection. Each is a request of its own to every
/// limit; more than this at once and the further ones are refused (`REFUSED_STREAM`). Of the answer
/// to one that takes nothing of it, about half a megabyte waits in Pingora's buffers until
/// `server.write_timeout`: this is also what a connection can cost in memory.
const STREAMS_MAX: u32 = 100;
/// Bytes of one body that may come before the application takes them.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all bodies of a connection: what a client that sends and an application that does
/// not read can make the gateway keep. Sixteen times that of a stream, so that a stream that waits
/// does not hold up the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one answer that wait for the client to take them.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// Streams that a client resets before anybody has looked at them ("rapid reset",
/// CVE-2023-44487): the next one ends the connection (`ENHANCE_YOUR_CALM`).
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that we reset for what the client does on them ("made you reset", CVE-2025-8671), over
/// the life of a connection: the next one ends it (`ENHANCE_YOUR_CALM`). An honest client causes
/// some too: it may open more than it may have before it has read how many that is.
const PROVOKED_RESETS_MAX: usize = 1024;
/// Streams that we have reset and still remember, for frames that were on their way.
const REMEMBERED_RESETS: usize = 50;

/// The options for connections of clients. Of a request all names and values may have so many bytes,
/// and 32 for each of them: as decoded, so that a small block that refers to itself (an "HPACK
/// bomb") counts for what it becomes. More is answered with 431, much more ends the connection.
pub(super) fn h2_options(max_header_size: usize) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(max_header_size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(PROVOKED_RESETS_MAX))
        .max_concurrent_reset_streams(REMEMBERED_RESETS);
    options
}
