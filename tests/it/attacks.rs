//! Attacks, by the number that each has in `docs/security.md`: what clients do on purpose, and what
//! has to come of it.

mod cardinality;
mod corpus;
mod exposure;
mod framing;
mod limits;
mod mutants;
mod recorder;
mod slow;
mod sockets;
mod state;
mod streams;
mod volley;
