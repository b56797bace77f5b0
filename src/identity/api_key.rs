//! Keys that the operator has given out, known here by their hashes alone.
//!
//! A presented key is hashed, and the hash looked up in a map. That needs no comparison in constant
//! time: how long the look-up takes depends on the hash, and nobody can choose keys whose hashes
//! come nearer and nearer to a stored one. What is stored gives no key away, so the keys must be
//! long and random: a hash without salt does not protect a word.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::credential::{Finding, Person, Place, Presented};
use crate::request::RequestView;

/// Bytes of a key: a shorter one can be guessed.
const LENGTH: RangeInclusive<usize> = 16..=512;

/// SHA-256 of a key.
pub type KeyHash = [u8; 32];

/// The keys and where they are presented.
#[derive(Clone)]
pub struct ApiKeys {
    place: Place,
    keys: Arc<HashMap<KeyHash, Person>>,
}

// === impl ApiKeys ===

impl ApiKeys {
    /// Keys presented in `place`, each with whom it stands for.
    pub fn new(place: Place, keys: HashMap<KeyHash, Person>) -> Self {
        Self { place, keys: Arc::new(keys) }
    }

    /// Where clients present their keys.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The owner of the key that the request presents.
    pub fn find(&self, view: &RequestView<'_>) -> Finding {
        match self.place.look(view) {
            Presented::Nothing => Finding::Absent,
            Presented::Ambiguous => Finding::Invalid,
            Presented::One(key) => self.owner(&key).into(),
        }
    }

    fn owner(&self, key: &[u8]) -> Option<Person> {
        let hash = LENGTH.contains(&key.len()).then(|| KeyHash::from(Sha256::digest(key)))?;
        self.keys.get(&hash).cloned()
    }
}

impl fmt::Debug for ApiKeys {
    /// Without the hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.keys.len();
        f.debug_struct("ApiKeys").field("place", &self.place).field("count", &count).finish()
    }
}
