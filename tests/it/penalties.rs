//! Bans for those who go on being denied.

mod scripts;
