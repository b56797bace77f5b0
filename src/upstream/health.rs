//! What active checks have found of a server: up, until so many in a row say otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::limit::{Micros, Timestamp};

/// How servers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for; `None`: a connection, with its handshake of TLS, is enough.
    pub path: Option<String>,
    /// The host that is asked for; `None`: the server's own.
    pub host: Option<String>,
    /// How often.
    pub interval: Duration,
    /// Longest that a check takes: at most the interval.
    pub timeout: Duration,
    /// The statuses that are good.
    pub good: Arc<BTreeSet<u16>>,
    /// So many bad checks in a row, and a server is down.
    pub unhealthy_after: u32,
    /// So many good ones, and it is up again.
    pub healthy_after: u32,
}

impl HealthCheck {
    /// Whether both ask for the same, however often.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        (&self.path, &self.host, &self.good) == (&other.path, &other.host, &other.good)
    }
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The server is down now.
    Down,
    /// It is up again.
    Up,
}

/// What checks have found of a server so far.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_down: bool,
    /// Checks in a row that speak against `is_down`.
    against: u32,
    is_known: bool,
    /// When the last check began, and which part of the interval (of 256) lies behind it.
    began: Option<(Timestamp, u64)>,
}

// === impl Health ===

impl Health {
    /// Whether requests may go there. Who was never checked is up.
    pub(super) const fn is_up(&self) -> bool {
        !self.is_down
    }

    /// What is known comes of another kind of check: the next is due at once, and decides by itself.
    pub(super) const fn doubt(&mut self) {
        self.is_known = false;
        self.began = None;
        self.against = 0;
    }

    /// Whether any check has ended.
    pub(super) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// When the next check is due; `None`: at once, there was none.
    pub(super) fn due(&self, interval: Duration) -> Option<Timestamp> {
        let (began, part) = self.began?;
        let interval = Micros::from(interval).get();
        Some(began.after(Micros::new(interval / 256 * part.min(256))))
    }

    /// A check begins. The next comes after `part` of 256 of an interval: never later than one, so
    /// that a server is found again within it.
    pub(super) const fn begin(&mut self, now: Timestamp, part: u64) {
        self.began = Some((now, part));
    }

    /// A check has ended. The first of all decides by itself.
    pub(super) fn note(&mut self, is_good: bool, check: &HealthCheck) -> Option<Change> {
        let first = !std::mem::replace(&mut self.is_known, true);
        if is_good != self.is_down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.is_down { check.healthy_after } else { check.unhealthy_after };
        if self.against < needed && !first {
            return None;
        }
        self.against = 0;
        self.is_down = !is_good;
        Some(if is_good { Change::Up } else { Change::Down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            path: None,
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            good: Arc::default(),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }

    fn after(results: &[bool]) -> Vec<Option<Change>> {
        let mut health = Health::default();
        results.iter().map(|good| health.note(*good, &check())).collect()
    }

    #[test]
    fn so_many_in_a_row_change_it() {
        let down = Some(Change::Down);
        let up = Some(Change::Up);
        assert_eq!(after(&[true, false, false, false]), [None, None, None, down]);
        assert_eq!(after(&[true, false, false, true, false, false]), [None; 6], "not in a row");
        let back = after(&[true, false, false, false, true, false, true, true, false]);
        assert_eq!(back[3..], [down, None, None, None, up, None]);
    }

    #[test]
    fn the_first_check_decides_by_itself() {
        assert!(Health::default().is_up() && !Health::default().is_known());
        assert_eq!(after(&[false, true, true]), [Some(Change::Down), None, Some(Change::Up)]);
        assert_eq!(after(&[true]), [None]);
    }

    #[test]
    fn the_next_check_is_never_later_than_an_interval() {
        let mut health = Health::default();
        let interval = Duration::from_secs(5);
        assert_eq!(health.due(interval), None);
        let now = Timestamp::from_micros(1_000_000);
        for (part, seconds) in [(256, 5.0), (204, 3.984), (1_000, 5.0)] {
            health.begin(now, part);
            let wait = Duration::from(health.due(interval).unwrap().since(now)).as_secs_f64();
            assert!((wait - seconds).abs() < 0.001, "{part}: {wait}");
        }
    }
}
