//! The files of a replay: what is read is never written over.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::failed;
use super::source::STDIN;

/// The logs, which can all be read. Nothing has been created when they are there.
pub(super) struct Places {
    logs: Vec<(String, Metadata)>,
}

// === impl Places ===

impl Places {
    /// Looks whether all logs can be read.
    pub(super) fn of(files: &[PathBuf]) -> Result<Self, String> {
        let look = |path: &PathBuf| {
            let found = readable(path).map_err(|error| failed("read", path, &error))?;
            Ok((shown(path), found))
        };
        files.iter().map(look).collect::<Result<_, String>>().map(|logs| Self { logs })
    }

    /// Refuses outputs that are a log, or one another. What does not exist yet is neither: after
    /// it has been created it can be looked at again.
    pub(super) fn keep(&self, out: Option<&Path>, verdicts: Option<&Path>) -> Result<(), String> {
        let found = |path: Option<&Path>| path.and_then(|path| fs::metadata(path).ok());
        let (report, each) = (found(out), found(verdicts));
        for (option, path, output) in [("--out", out, &report), ("--verdicts", verdicts, &each)] {
            let (Some(path), Some(output)) = (path, output) else { continue };
            if let Some((log, _)) = self.logs.iter().find(|(_, log)| same(log, output)) {
                let path = shown(path);
                return Err(format!(
                    "`{option} {path}` is the log `{log}`: it would be written over"
                ));
            }
        }
        if let (Some(out), Some(report), Some(each)) = (out, report, each)
            && same(&report, &each)
        {
            let out = shown(out);
            return Err(format!("`--out` and `--verdicts` are the same file, `{out}`"));
        }
        Ok(())
    }
}

/// Whether both are one file that can be written over: not a terminal, a pipe or `/dev/null`.
fn same(a: &Metadata, b: &Metadata) -> bool {
    a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn readable(path: &Path) -> io::Result<Metadata> {
    if path == Path::new(STDIN) {
        return File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata();
    }
    let found = fs::metadata(path)?;
    // A pipe would wait here for who writes to it.
    if found.is_file() { File::open(path)?.metadata() } else { Ok(found) }
}

/// Whether a file can be written in the end, as far as can be told without a change to it.
pub(super) fn writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => OpenOptions::new().write(true).open(path).map(drop),
        Ok(_) => Ok(()),
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            fs::metadata(folder.unwrap_or(Path::new("."))).map(drop)
        }
    }
}

/// A path as it is shown to people: it tells no terminal what to do.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}
