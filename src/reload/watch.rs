//! When a file has changed: the configuration itself, and those with keys that it names.
//!
//! The configuration is looked at by its path, through whatever links lead to the file: so a new
//! file moved over the old one is seen, and so is the way in which Kubernetes puts a new folder
//! behind a link. It counts as changed when two looks in a row find the same, so that what is being
//! written has time to be whole. Not promised: that of a file which is written with a pause longer
//! than that; who moves a finished file into place is safe.

use crate::config::{Config, Stamp};

/// The configuration in force, and how its files were last seen.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) config: Config,
    seen: Vec<Stamp>,
}

/// Files that are not as they were read.
pub(super) struct Changed {
    pub(super) files: Vec<String>,
    /// Whether they are not as they were last seen either.
    pub(super) is_news: bool,
}

/// The file of the configuration.
#[derive(Debug)]
pub(super) struct Watch {
    /// How it was when it was last read, with whatever result.
    read: Stamp,
    /// How it was at the last look.
    seen: Stamp,
}

// === impl Applied ===

impl Applied {
    pub(super) fn new(config: Config) -> Self {
        let seen = config.files.iter().map(|file| file.found().clone()).collect();
        Self { config, seen }
    }

    /// The files that are not as they were read, if there are any; they are like `now`, in order.
    pub(super) fn changed(&mut self, now: Vec<Stamp>) -> Option<Changed> {
        let each = self.config.files.iter().zip(&now);
        let changed = each.filter(|(file, now)| file.found() != *now);
        let files: Vec<_> = changed.map(|(file, _)| file.path().display().to_string()).collect();
        let is_news = self.seen != now;
        self.seen = now;
        (!files.is_empty()).then_some(Changed { files, is_news })
    }
}

// === impl Watch ===

impl Watch {
    /// A file that was found like this when it was read.
    pub(super) fn new(read: Stamp) -> Self {
        Self { seen: read.clone(), read }
    }

    /// It has been read, and was found like this.
    pub(super) fn was_read(&mut self, found: Stamp) {
        self.seen = found.clone();
        self.read = found;
    }

    /// It could not be read, nor even looked at: that is no reason to try the same again.
    pub(super) fn was_lost(&mut self) {
        self.read = self.seen.clone();
    }

    /// Whether it is to be read, if it is like `now`: it has changed, and is at rest.
    pub(super) fn is_due(&mut self, now: Stamp) -> bool {
        let at_rest = self.seen == now;
        self.seen = now;
        at_rest && self.seen != self.read
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Watched;

    fn temporary(what: &str) -> PathBuf {
        std::env::temp_dir().join(format!("sluicegate-{}-{what}.toml", std::process::id()))
    }

    #[test]
    fn a_change_is_news_once_and_a_change_until_it_is_in_force() {
        let path = temporary("applied");
        let good = format!("[[keys]]\nid = \"a\"\nsha256 = \"{}\"\n", "0".repeat(64));
        fs::write(&path, &good).unwrap();
        let text = format!(
            "[identity.api_key]\nheader = \"x-api-key\"\nfile = \"{}\"\n\
             [upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
             [[routes]]\npath = \"/**\"\nupstream = \"app\"\n",
            path.display()
        );
        let (config, _) = Config::parse(&text, "gateway.toml", &|_| None, 0).unwrap();
        let mut applied = Applied::new(config);
        let mut look = || {
            let now = applied.config.files.iter().map(Watched::stamp).collect();
            applied.changed(now).map(|changed| (changed.files.len(), changed.is_news))
        };
        assert_eq!(look(), None);
        fs::write(&path, "broken, and longer or shorter than before").unwrap();
        assert_eq!([look(), look()], [Some((1, true)), Some((1, false))]);
        fs::remove_file(&path).unwrap();
        assert_eq!([look(), look()], [Some((1, true)), Some((1, false))], "gone is a change");
    }

    #[test]
    fn a_file_is_due_once_when_it_is_at_rest() {
        let path = temporary("watched");
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            Stamp::of_file(&path)
        };
        let (first, second, third) = (write("1"), write("22"), write("333"));
        fs::remove_file(&path).unwrap();
        let gone = Stamp::of_file(&path);
        let mut watch = Watch::new(first.clone());
        let mut looks = |stamps: &[&Stamp]| -> Vec<bool> {
            stamps.iter().map(|now| watch.is_due((*now).clone())).collect()
        };
        assert_eq!(looks(&[&first, &first]), [false, false]);
        assert_eq!(looks(&[&second, &third, &third]), [false, false, true], "being written");
        assert_eq!(looks(&[&first, &first]), [false, false], "back to what was read");
        assert_eq!(looks(&[&gone, &gone]), [false, true], "gone is a change");
        watch.was_read(gone.clone());
        assert!(!watch.is_due(gone), "and is complained of once");
    }
}
