//! Attacks, by the number that each has in `docs/security.md`: what clients do on purpose, and what
//! has to come of it.

mod addresses;
mod cardinality;
mod corpus;
mod exposure;
mod framing;
mod heads;
mod limits;
mod multiplexed;
mod mutants;
mod paths;
mod recorder;
mod scene;
mod slow;
mod sockets;
mod state;
mod streams;
mod volley;
