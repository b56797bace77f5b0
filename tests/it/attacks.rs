//! A client that means harm, on raw sockets: the rows of the catalogue of attacks, by their numbers.

mod corpus;
mod framing;
mod limits;
mod mutants;
mod recorder;
mod slow;
mod volley;
