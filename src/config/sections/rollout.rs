//! `[rollout]`.

use std::path::PathBuf;

use crate::config::Rollout;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::rules::Enforcement;

pub(super) fn rollout(mut section: Section<'_>) -> Rollout {
    let modes = [Enforcement::Full, Enforcement::Shadow, Enforcement::Off];
    let modes = modes.map(|mode| (mode.name(), mode));
    let rollout = Rollout {
        mode: section.word("mode", &modes).unwrap_or(Enforcement::Full),
        switch_file: section.parsed("switch_file", absolute),
    };
    section.finish();
    rollout
}

fn absolute(text: &Text) -> Result<PathBuf, Mistake> {
    let path = PathBuf::from(&text.value);
    if path.is_absolute() && path.file_name().is_some() && !text.value.contains('\0') {
        return Ok(path);
    }
    Err(Mistake::new(format!("not the absolute path of a file: {}", text.shown()))
        .help("as in `/run/sluicegate/switch`; the file need not exist"))
}
