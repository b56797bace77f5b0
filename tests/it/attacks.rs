//! Attacks, by the number that each has in `docs/security.md`: what clients do on purpose, and what
//! has to come of it.

mod cardinality;
mod exposure;
mod state;
