//! The gateway as a service: what a service manager hears, what a container does, and what is
//! written for both.

mod container;
mod kubernetes;
mod manager;
mod unit;
