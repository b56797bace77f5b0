//! What attackers send, row by row of a catalogue of 42: the name of a test begins with its number.

mod addresses;
mod heads;
mod paths;
mod scene;
mod streams;
