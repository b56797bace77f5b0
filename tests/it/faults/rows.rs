//! The rows, by what they do it to. The numbers are their order in the table.

mod cluster;
mod network;
mod process;
mod sentinel;
mod server;
