//! Why the shared store did not decide.

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::address::Place;
use super::hint::hint;
use crate::store::script::Misread;

/// The shared store did not decide.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    detail: String,
    elsewhere: Option<Elsewhere>,
}

/// Where a server of a cluster sends a call that it did not carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// To the server that serves the slot.
    Moved(Place),
    /// For this once, to the server that the slot is moving to.
    Moving(Place),
    /// Some keys of the call have moved already: nowhere can have them all, for a moment.
    Split,
    /// Nobody serves the slot.
    Nowhere,
}

/// The kinds of faults: the label of a metric, so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is no proven connection; nothing was sent.
    Away,
    /// No answer within `store.timeout`.
    Timeout,
    /// The connection failed or could not be made.
    Connection,
    /// Redis answered with an error.
    ErrorReply,
    /// What came back is not a reply of the script.
    MalformedReply,
    /// A cluster is moving the key, or nobody there serves it; nothing was carried out.
    Moved,
}

// === impl Fault ===

impl Fault {
    pub(super) fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), elsewhere: None }
    }

    pub(super) fn away() -> Self {
        Self::new(FaultKind::Away, "no connection")
    }

    pub(super) fn unanswered() -> Self {
        Self::new(FaultKind::Timeout, "no answer in time")
    }

    pub(super) fn malformed() -> Self {
        Self::new(FaultKind::MalformedReply, "not a reply of the script")
    }

    /// Its kind.
    pub const fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Nothing, where a cluster is moving the keys: the server is well.
    pub(super) fn unless_moved(self) -> Result<(), Self> {
        if self.kind == FaultKind::Moved { Ok(()) } else { Err(self) }
    }

    /// The same where there is no cluster to be sent on in: an error reply like any other.
    pub(super) fn unmoved(self) -> Self {
        match self.elsewhere {
            Some(_) => Self::new(FaultKind::ErrorReply, self.detail),
            None => self,
        }
    }

    /// Where the call is to go instead, if a cluster says so.
    pub(super) const fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_ref()
    }
}

impl From<Misread> for Fault {
    fn from(misread: Misread) -> Self {
        match misread {
            Misread::Malformed => Self::malformed(),
            // Every reply to come is suspect.
            Misread::Foreign => Self::new(FaultKind::Connection, "a reply to another call"),
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        if let Some(elsewhere) = Elsewhere::of(&error) {
            let (kind, detail) = (FaultKind::Moved, error.to_string());
            return Self { kind, detail, elsewhere: Some(elsewhere) };
        }
        let kind = match error.kind() {
            // What cannot be parsed leaves nobody sure where the next reply begins.
            ErrorKind::Io | ErrorKind::Parse => FaultKind::Connection,
            ErrorKind::UnexpectedReturnType => FaultKind::MalformedReply,
            _ => FaultKind::ErrorReply,
        };
        match hint(&error) {
            Some(hint) => Self::new(kind, format!("{hint} ({error})")),
            None => Self::new(kind, error.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}

// === impl Elsewhere ===

impl Elsewhere {
    fn of(error: &RedisError) -> Option<Self> {
        let ErrorKind::Server(kind) = error.kind() else { return None };
        let place = || {
            // Of an IPv6 address it is the last colon.
            let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?))
        };
        match kind {
            ServerErrorKind::Moved => place().map(Self::Moved),
            ServerErrorKind::Ask => place().map(Self::Moving),
            ServerErrorKind::TryAgain => Some(Self::Split),
            // Else all of the cluster is down, and so is this server.
            ServerErrorKind::ClusterDown => {
                let unserved = error.detail().is_some_and(|text| text.contains("not served"));
                unserved.then_some(Self::Nowhere)
            }
            _ => None,
        }
    }
}

// === impl FaultKind ===

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Away,
        Self::Timeout,
        Self::Connection,
        Self::ErrorReply,
        Self::MalformedReply,
        Self::Moved,
    ];

    /// Its name in the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::ErrorReply => "error-reply",
            Self::MalformedReply => "malformed-reply",
            Self::Moved => "moved",
        }
    }
}
