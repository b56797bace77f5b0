//! What goes on for long, or comes in masses: a flood, a long outage, a spray of keys.

mod flood;
mod outage;
mod spray;

use std::fs;
use std::path::Path;

/// Whether this is `make soak`, which asks for all of it.
pub(crate) fn soaking() -> bool {
    std::env::var_os("SLUICEGATE_SOAK").is_some()
}

/// Tells what was measured, and leaves it where `make soak` finds it.
pub(crate) fn tell(name: &str, figures: &str) {
    const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/endurance");
    eprintln!("{name}: {figures}");
    fs::create_dir_all(FOLDER).expect("a folder for the lines");
    let line = format!("| {name} | {figures} |\n");
    fs::write(Path::new(FOLDER).join(format!("{}.md", name.replace(' ', "-"))), line)
        .expect("the line is written");
}
