//! What the log is told of the store: every change, but not every flutter.

use super::fault::Fault;

/// Connections in a row that may fail before they settle and still be told of.
const TOLD_MAX: u32 = 3;
/// Different pieces of advice in the life of a process.
const ADVICE_MAX: usize = 16;

/// Remembers what has been told.
#[derive(Debug, Default)]
pub(super) struct Teller {
    told_away: bool,
    unsettled: u32,
    advised: Vec<String>,
}

// === impl Teller ===

impl Teller {
    /// Whether to tell that the server, of this name if it has one, is back.
    pub(super) fn up(&mut self, node: Option<&str>, told: usize) {
        if self.unsettled < TOLD_MAX {
            tracing::info!(node, restored = told, "redis decides: connected");
            self.told_away = false;
        }
    }

    pub(super) fn away(&mut self, node: Option<&str>, fault: &Fault) {
        if self.told_away {
            return;
        }
        self.told_away = true;
        self.unsettled += 1;
        if self.unsettled < TOLD_MAX {
            tracing::warn!(node, %fault, "redis is away: deciding without it until it answers");
        } else {
            tracing::warn!(node, %fault, "redis keeps going away: deciding without it; silent until a connection has held for a minute");
        }
    }

    pub(super) fn settled(&mut self) {
        if self.unsettled >= TOLD_MAX {
            tracing::info!("redis decides: settled");
        }
        self.told_away = false;
        self.unsettled = 0;
    }

    /// Each piece of advice once, and so many pieces at most.
    pub(super) fn advise(&mut self, advice: Vec<String>) {
        for new in advice {
            if self.advised.len() < ADVICE_MAX && !self.advised.contains(&new) {
                tracing::warn!("{new}");
                self.advised.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::FaultKind;
    use super::*;
    use crate::limit::{Micros, Timestamp};
    use crate::store::breaker::Breaker;

    fn gone() -> Fault {
        Fault::new(FaultKind::Connection, "broken pipe")
    }

    #[test]
    fn flutter_is_told_of_a_few_times_and_then_not() {
        let mut teller = Teller::default();
        let told: Vec<bool> = (0..6)
            .map(|_| {
                teller.up(None, 0);
                let untold = !teller.told_away;
                teller.away(None, &gone());
                untold
            })
            .collect();
        assert_eq!(told, [true, true, true, false, false, false]);
    }

    #[test]
    fn an_hour_of_outage_is_one_line_and_a_bounded_number_of_attempts() {
        let start = Timestamp::from_micros(1_763_000_000_000_000);
        let (mut breaker, mut teller) = (Breaker::new(start), Teller::default());
        let (mut now, mut lines, mut attempts) = (start, 0, 0);
        while now.since(start) < Micros::new(3_600_000_000) {
            now = now.after(breaker.probe_in(now)).after(Micros::new(1_000));
            breaker.probe();
            attempts += 1;
            breaker.failed(now, 1.0);
            lines += u32::from(!teller.told_away);
            teller.away(None, &gone());
        }
        assert_eq!(lines, 1);
        assert!((3_590..3_610).contains(&attempts), "{attempts}: one a second");
    }

    #[test]
    fn advice_is_given_once_and_bounded() {
        let mut teller = Teller::default();
        for turn in 0..100 {
            teller.advise(vec![format!("advice {}", turn % 2)]);
        }
        assert_eq!(teller.advised.len(), 2);
        teller.advise((0..100).map(|number| format!("more {number}")).collect());
        assert_eq!(teller.advised.len(), ADVICE_MAX);
    }

    #[test]
    fn an_outage_after_a_settled_connection_is_told_afresh() {
        let mut teller = Teller::default();
        for _ in 0..6 {
            teller.up(None, 0);
            teller.away(None, &gone());
        }
        teller.up(None, 0);
        teller.settled();
        assert!(!teller.told_away && teller.unsettled == 0);
        teller.away(None, &gone());
        assert!(teller.told_away && teller.unsettled == 1);
    }
}
