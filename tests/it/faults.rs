//! The fault matrix: what happens to Redis, or on the way to it, fails no request and makes none
//! wait; limits hold as far as they can; and everybody comes back by himself.
//!
//! Every row is a test and writes its line of the table that `make soak` prints.

mod report;
mod row;
mod rows;
mod scene;
mod watch;
