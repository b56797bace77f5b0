//! From a file to a configuration: at the start, at a reload, and with changed files of keys.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, Origin, Problem, Problems, Stamp, file};

/// A configuration, and the doubts about it.
pub type Loaded = (Config, Vec<Problem>);

/// Why a file could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// It could not be read.
    Read {
        /// Which file.
        path: PathBuf,
        /// The reason the system gives.
        error: std::io::Error,
    },
    /// It is not what a configuration can be read from.
    Unfit {
        /// Which file.
        path: PathBuf,
        /// Why, in words.
        why: &'static str,
    },
    /// It was read, and is invalid.
    Invalid(Problems),
}

// === impl Config ===

impl Config {
    /// Reads the file at `path`, with the process' environment.
    pub fn load(path: &Path, generation: u64) -> Result<Loaded, LoadError> {
        let before = Stamp::of_file(path);
        let (mut config, warnings) = Self::of_bytes(file::whole(path)?, path, generation)?;
        config.origin.found = if path.is_file() { before } else { Stamp::of_file(path) };
        Ok((config, warnings))
    }

    /// The same at a reload: only of a regular file, since a pipe would be waited for, and only as
    /// it stood for as long as it was read. Also says how it was found.
    pub fn load_again(path: &Path, generation: u64) -> (Stamp, Result<Loaded, LoadError>) {
        let (found, contents) = file::settled(path);
        let loaded = contents.and_then(|contents| {
            let (mut config, warnings) = Self::of_bytes(contents, path, generation)?;
            config.origin.found = found.clone();
            Ok((config, warnings))
        });
        (found, loaded)
    }

    fn of_bytes(contents: Vec<u8>, path: &Path, generation: u64) -> Result<Loaded, LoadError> {
        let file = path.display().to_string();
        let text = String::from_utf8(contents)
            .map_err(|error| LoadError::Invalid(Problems::not_utf8(&error, &file)))?;
        Self::parse(&text, &file, &variable, generation).map_err(LoadError::Invalid)
    }

    /// Reads the same text again, and anew the files with keys that it names. What stands by now in
    /// the file of the configuration, and in others that it names, does not matter: it may be half
    /// edited.
    pub fn again(&self, generation: u64) -> Result<Loaded, Problems> {
        let Origin { text, file, found, kept } = &self.origin;
        let read = Self::parse_with(text, file, &variable, generation, kept.clone());
        let (mut config, warnings) = read?;
        config.origin.found = found.clone();
        Ok((config, warnings))
    }
}

/// A variable of the process' environment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read `{}`: {error}", path.display()),
            Self::Unfit { path, why } => write!(f, "cannot read `{}`: {why}", path.display()),
            Self::Invalid(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}
