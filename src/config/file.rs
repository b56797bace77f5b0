//! Files that the configuration names.
//!
//! Those with keys of users are watched and read again when they change. All others are read with
//! the configuration and kept: when a key is revoked, a slip in one of them must not be in the way.
//! Certificates that clients are shown are watched by `tls`, each pair by itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::LoadError;
use super::diagnostic::Mistake;
use super::value::Text;

/// Largest file that is read: the certificates of a whole system have a quarter of it.
pub(super) const KEYS_MAX: u64 = 1 << 20;

/// Largest configuration: ten thousand routes and as many rules have half of it.
const CONFIG_MAX: u64 = 8 << 20;
/// How often a file is read that changes while it is read.
const READINGS_MAX: usize = 3;

/// The right of everybody to read, among those of a file.
const OTHERS_READ: u32 = 0o004;

/// What is said of a configuration that cannot be read again.
const NO_FILE: &str = "not a regular file: only at the start it may be a pipe";
const TOO_LARGE: &str = "larger than 8 MiB";
const CHANGING: &str = "it changes while it is read: write a new file and move it over this one";

/// The contents of files by path, as they were read with the configuration.
pub(super) type Kept = BTreeMap<PathBuf, Vec<u8>>;

/// The files of a configuration that is being read.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Those that are not to be read again.
    kept: Kept,
    read: RefCell<Kept>,
    watched: RefCell<Vec<Watched>>,
}

/// A file, and how it was found when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    path: PathBuf,
    found: Stamp,
}

/// What changes when a file does: when it was written, its size, which file it is, and when any of
/// that or its rights last changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64, u64, (i64, i64))>);

/// What a file should be, for the mistake that it is not.
pub(super) struct Kind {
    /// As in `a PEM file`.
    pub(super) name: &'static str,
    /// As in `/etc/sluicegate/ca.pem`.
    pub(super) example: &'static str,
    /// Most bytes that are read.
    pub(super) size_max: u64,
}

// === impl Watched ===

impl Watched {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was when it was read.
    pub const fn found(&self) -> &Stamp {
        &self.found
    }

    /// How it is now.
    pub fn stamp(&self) -> Stamp {
        Stamp::of_file(&self.path)
    }
}

// === impl Stamp ===

impl Stamp {
    /// How the file at `path` is now.
    pub fn of_file(path: &Path) -> Self {
        Self::of(fs::metadata(path).ok().as_ref())
    }

    fn of(found: Option<&Metadata>) -> Self {
        Self(found.and_then(|found| {
            let changed = (found.ctime(), found.ctime_nsec());
            Some((found.modified().ok()?, found.len(), found.ino(), changed))
        }))
    }
}

// === impl Files ===

impl Files {
    /// No file has been read; those of `kept` will not be again.
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, ..Self::default() }
    }

    /// The contents of a file that stays as it is while the configuration is in force.
    pub(super) fn keep(&self, text: &Text, kind: &Kind) -> Result<Vec<u8>, Mistake> {
        let path = Path::new(&text.value);
        let contents = match self.kept.get(path) {
            Some(contents) => contents.clone(),
            None => read(text, kind)?.1,
        };
        self.read.borrow_mut().insert(path.to_owned(), contents.clone());
        Ok(contents)
    }

    /// The contents of a file that may change while the configuration is in force.
    pub(super) fn watch(&self, text: &Text, kind: &Kind) -> Result<Vec<u8>, Mistake> {
        let (watched, contents) = read(text, kind)?;
        self.watched.borrow_mut().push(watched);
        Ok(contents)
    }

    /// Those that were kept, and those that are to be watched.
    pub(super) fn into_read(self) -> (Kept, Vec<Watched>) {
        (self.read.into_inner(), self.watched.into_inner())
    }
}

/// The contents of the configuration at `path`, whatever it is: at the start it may be a pipe.
pub(super) fn whole(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |error| LoadError::Read { path: path.to_owned(), error };
    let mut contents = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(CONFIG_MAX + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > CONFIG_MAX {
        return Err(LoadError::Unfit { path: path.to_owned(), why: TOO_LARGE });
    }
    Ok(contents)
}

/// The contents of the configuration at `path`, a regular file that nobody writes to meanwhile, and
/// how it was found.
pub(super) fn settled(path: &Path) -> (Stamp, Result<Vec<u8>, LoadError>) {
    let unfit = |why| LoadError::Unfit { path: path.to_owned(), why };
    let mut found = Stamp(None);
    for _ in 0..READINGS_MAX {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                return (Stamp(None), Err(LoadError::Read { path: path.to_owned(), error }));
            }
        };
        found = Stamp::of(Some(&metadata));
        // What is no file is not opened: it could block.
        if !metadata.is_file() {
            return (found, Err(unfit(NO_FILE)));
        }
        let contents = whole(path);
        if Stamp::of_file(path) == found {
            return (found, contents);
        }
    }
    (found, Err(unfit(CHANGING)))
}

/// What is to be said of a file with a key, if every user of the machine can read it.
pub(super) fn readable_by_all(path: &Path, shown: &str) -> Option<Mistake> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS_READ != 0).then(|| {
        Mistake::new(format!("everybody on this machine can read the key: {shown}"))
            .help("take the right away, as in `chmod o-r`")
    })
}

/// The file that `text` names, and its contents. What is no file is not opened: it could block.
fn read(text: &Text, kind: &Kind) -> Result<(Watched, Vec<u8>), Mistake> {
    let path = Path::new(&text.value);
    if !path.is_absolute() {
        let mistake = Mistake::new(format!("not an absolute path: {}", text.shown()));
        return Err(mistake.help(format!("as in `{}`", kind.example)));
    }
    let unreadable = |error: std::io::Error| {
        Mistake::new(format!("cannot read {}: {error}", text.shown()))
            .help("the user that the gateway runs as has to be able to read it")
    };
    // Looked at before it is read: a change in between is then seen as one.
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > kind.size_max {
        let mistake = Mistake::new(format!("not {}: {}", kind.name, text.shown()));
        return Err(mistake.help(format!("a regular file of at most {} bytes", kind.size_max)));
    }
    let contents = fs::read(path).map_err(unreadable)?;
    Ok((Watched { path: path.to_owned(), found: Stamp::of(Some(&found)) }, contents))
}
