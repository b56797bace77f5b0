//! TLS to clients, by clients that others wrote: curl, Python's `ssl`, rustls.

mod browsers;
mod handshakes;
mod mutual;
mod names;
mod protocols;
mod renewed;
mod scene;
mod written;
