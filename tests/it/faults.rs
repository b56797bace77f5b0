//! The fault matrix: what happens to Redis, to its Sentinels, to nodes of a cluster, or on the way to
//! them, fails no request and makes none wait; limits hold as far as they can; and everybody comes back by himself.
//!
//! Every row is a test and writes its line of the table that `make soak` prints.

mod judge;
mod report;
mod row;
mod rows;
mod scene;
mod stage;
mod watch;
