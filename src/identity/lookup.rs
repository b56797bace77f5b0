//! What only the store knows, asked without knowing the store.

use std::fmt;

use async_trait::async_trait;

/// Most bytes of an answer that are read: a session is small, and what is larger is none.
pub const ANSWER_MAX: usize = 64 * 1024;

/// A question about one key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Is it there?
    Exists(String),
    /// Which string does it hold?
    Value(String),
    /// Which values do these fields of its hash have?
    Fields(String, Vec<String>),
}

/// The answer.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// Whether it is there.
    Exists(bool),
    /// The string; `None` if there is none, or a larger one than [`ANSWER_MAX`].
    Value(Option<Vec<u8>>),
    /// The value of each field, in order.
    Fields(Vec<Option<Vec<u8>>>),
}

impl Question {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Exists(key) | Self::Value(key) | Self::Fields(key, _) => key,
        }
    }
}

impl fmt::Debug for Question {
    /// Without the key: the id of a session is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exists(_) => "Exists(***)",
            Self::Value(_) => "Value(***)",
            Self::Fields(..) => "Fields(***)",
        })
    }
}

impl fmt::Debug for Answer {
    /// Without the session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(there) => write!(f, "Exists({there})"),
            Self::Value(value) => write!(f, "Value({} bytes)", value.as_ref().map_or(0, Vec::len)),
            Self::Fields(values) => write!(f, "Fields({})", values.len()),
        }
    }
}

/// The store was not asked or has not answered. It says nothing about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

/// Somebody who knows.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// The answer, within the time that the whole request has.
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered>;
}
