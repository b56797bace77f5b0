//! What the operator sees of the shared store.

use crate::limit::Micros;
use crate::store::breaker::Position;

/// How the shared store stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether decisions go there.
    pub state: State,
    /// Each of its servers: one, or the masters of a cluster.
    pub nodes: Vec<Reading>,
}

/// Whether decisions go to the shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All do.
    Up,
    /// Of a cluster, those do whose keys are on servers that answer.
    Partly,
    /// None do.
    Away,
}

/// A server of the store.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Its address, if somebody else than the configuration says what it is.
    pub name: Option<String>,
    /// Where its breaker stands.
    pub position: Position,
    /// How long the last probe took.
    pub latency: Micros,
}

// === impl Status ===

impl Status {
    /// How servers stand of which `all_served` says whether they have all keys between them.
    pub(super) fn of(nodes: Vec<Reading>, all_served: bool) -> Self {
        let up = nodes.iter().filter(|node| node.is_up()).count();
        let state = match up {
            0 => State::Away,
            _ if up == nodes.len() && all_served => State::Up,
            _ => State::Partly,
        };
        Self { state, nodes }
    }

    /// The breaker that is furthest from closed.
    pub fn breaker(&self) -> Position {
        let worst = |position: &Position| match position {
            Position::Closed => 0,
            Position::HalfOpen => 1,
            Position::Open => 2,
        };
        let positions = self.nodes.iter().map(|node| node.position);
        positions.max_by_key(worst).unwrap_or(Position::Open)
    }

    /// How long the slowest of the last probes took, where they were answered.
    pub fn latency(&self) -> Option<Micros> {
        self.nodes.iter().filter(|node| node.is_up()).map(|node| node.latency).max()
    }
}

// === impl Reading ===

impl Reading {
    /// Whether decisions go there.
    pub fn is_up(&self) -> bool {
        self.position == Position::Closed
    }
}

// === impl State ===

impl State {
    /// Its name in the readiness report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Partly => "partly",
            Self::Away => "away",
        }
    }
}
