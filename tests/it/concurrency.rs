//! `concurrency`: so many requests under way at once, over all gateways, and nothing left behind.

mod alike;
