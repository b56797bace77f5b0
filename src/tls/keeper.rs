//! Keeps the certificates in force as their files are.
//!
//! Whoever renews a certificate replaces two files, one after the other. So a pair is looked at as
//! a whole: what does not belong together, is cut off or is just being written changes nothing, and
//! is complained of when it stays so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Certificates;
use super::held::Held;
use crate::config::{Authorities, Https, Pair, Stamp};
use crate::metrics::{Metrics, Reload};

/// The certificates in force, and how their files were last seen.
#[derive(Debug)]
pub struct Keeper {
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    seen: Mutex<Vec<Seen>>,
}

/// How the files of a pair were last seen, or the file of the authorities.
#[derive(Debug, Default)]
struct Seen {
    /// When what they hold was in force.
    good: Option<[Stamp; 2]>,
    /// When they held something unusable, and whether that has been told.
    bad: Option<([Stamp; 2], bool)>,
}

/// What files hold by now.
enum Found<T> {
    /// What is in force.
    Same,
    /// Something else.
    New(T),
    /// Nothing that can be used, and it stays so.
    Bad(String),
}

// === impl Keeper ===

impl Keeper {
    /// Keeps what `certificates` were made of.
    pub fn new(certificates: Arc<Certificates>, metrics: Arc<Metrics>) -> Self {
        let keeper = Self { certificates, metrics, seen: Mutex::default() };
        keeper.tell();
        keeper
    }

    /// Puts those of a new configuration in force. One without TLS changes nothing: its listeners
    /// are there until the next start.
    pub fn put(&self, https: &Https) {
        if https.pairs.is_empty() {
            return;
        }
        self.seen().clear();
        self.replace(&https.pairs, https.clients.as_ref(), https.clients_required);
    }

    /// Puts in force what has changed in the files of those that are.
    pub fn look(&self) {
        let held = self.certificates.held();
        let mut pairs = held.pairs().to_vec();
        let mut clients = held.clients().map(|clients| Arc::clone(&clients.authorities));
        let mut changed = false;
        for (number, pair) in pairs.iter_mut().enumerate() {
            match self.pair(number, pair) {
                Found::Same => {}
                Found::New(new) => {
                    tracing::info!(names = new.names().join(", "), "a new certificate is in force");
                    (*pair, changed) = (Arc::new(new), true);
                }
                Found::Bad(why) => self.complain(&why),
            }
        }
        match clients.as_ref().map(|authorities| self.authorities(pairs.len(), authorities)) {
            None | Some(Found::Same) => {}
            Some(Found::New(new)) => {
                tracing::info!(file = %new.path().display(), "the authorities are in force");
                (clients, changed) = (Some(Arc::new(new)), true);
            }
            Some(Found::Bad(why)) => self.complain(&why),
        }
        if changed && self.replace(&pairs, clients.as_ref(), required(&held)) {
            self.metrics.reloaded(Reload::Applied);
        }
    }

    fn pair(&self, number: usize, old: &Pair) -> Found<Pair> {
        let stamps = || {
            let place = old.place();
            [Stamp::of_file(&place.certificate), Stamp::of_file(&place.key)]
        };
        self.seen_at(number, |seen| seen.look(stamps, || old.again(), |new| new.is_same_as(old)))
    }

    fn authorities(&self, number: usize, old: &Authorities) -> Found<Authorities> {
        let stamps = || [old.path(), old.path()].map(Stamp::of_file);
        self.seen_at(number, |seen| seen.look(stamps, || old.again(), |new| new.is_same_as(old)))
    }

    fn replace(
        &self,
        pairs: &[Arc<Pair>],
        clients: Option<&Arc<Authorities>>,
        required: bool,
    ) -> bool {
        let replaced = self.certificates.replace(pairs, clients, required);
        match &replaced {
            Ok(()) => self.tell(),
            Err(why) => self.complain(why),
        }
        replaced.is_ok()
    }

    fn complain(&self, why: &str) {
        tracing::error!("the certificates stay as they were: {why}");
        self.metrics.reloaded(Reload::Rejected);
    }

    fn tell(&self) {
        self.metrics.certificates(&self.certificates.ends());
    }

    fn seen_at<T>(&self, number: usize, look: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen();
        if seen.len() <= number {
            seen.resize_with(number + 1, Seen::default);
        }
        look(&mut seen[number])
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn required(held: &Held) -> bool {
    held.clients().is_some_and(|clients| clients.required)
}

// === impl Seen ===

impl Seen {
    /// What the files hold by now: `stamps` says how they are, `read` reads them.
    fn look<T>(
        &mut self,
        stamps: impl Fn() -> [Stamp; 2],
        read: impl FnOnce() -> Result<T, String>,
        is_same: impl FnOnce(&T) -> bool,
    ) -> Found<T> {
        let before = stamps();
        if self.good.as_ref() == Some(&before) {
            return Found::Same;
        }
        let read = read();
        if stamps() != before {
            // Somebody is writing: at the next look.
            return Found::Same;
        }
        match read {
            Ok(new) => {
                self.bad = None;
                self.good = Some(before);
                if is_same(&new) { Found::Same } else { Found::New(new) }
            }
            Err(why) if self.note_bad(before) => Found::Bad(why),
            Err(_) => Found::Same,
        }
    }

    /// Whether to complain: once, at the second look that finds them like this.
    fn note_bad(&mut self, stamps: [Stamp; 2]) -> bool {
        match &mut self.bad {
            Some((bad, told)) if *bad == stamps => !std::mem::replace(told, true),
            _ => {
                self.bad = Some((stamps, false));
                false
            }
        }
    }
}
