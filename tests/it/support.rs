//! What the tests stand on: real processes on free ports, each ended by the test that started it.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod fault_proxy;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod policies;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod sentinels;
pub(crate) mod traffic;
