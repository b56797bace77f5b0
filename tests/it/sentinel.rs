//! A master behind Sentinel: everything that uses Redis works there as with a single one, and goes
//! on with the next master.

mod features;
mod rights;
