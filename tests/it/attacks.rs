//! The catalogue of attacks, each by its number.

mod sockets;
mod streams;
