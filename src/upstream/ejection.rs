//! What requests have found of a server: who fails too often in a row gets none for a while.

use std::time::Duration;

use crate::limit::{Micros, Timestamp};

/// The longest ejection, however many came before.
pub(super) const EJECTION_MAX: Duration = Duration::from_secs(300);

/// When a server is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionRule {
    /// So many failures in a row; 0: never.
    pub failures: u32,
    /// For how long; each time in a row for twice as long.
    pub span: Duration,
}

/// What requests have found of a server so far.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// In a row.
    failures: u32,
    /// Ejections in a row.
    times: u32,
    until: Option<Timestamp>,
}

// === impl Ejection ===

impl Ejection {
    /// When the ejection ends, if there is one.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| *until > now)
    }

    /// A request failed. True if the server is ejected by that; never, unless there are `others`
    /// that go on. Who was ejected before and has not answered since is ejected by one failure.
    pub(super) fn failed(&mut self, now: Timestamp, rule: &EjectionRule, others: bool) -> bool {
        if rule.failures == 0 || self.until(now).is_some() {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if !others || (self.failures < rule.failures && self.times == 0) {
            return false;
        }
        let longest = Micros::from(EJECTION_MAX.max(rule.span)).get();
        let span = Micros::from(rule.span).get();
        let span = span.saturating_mul(1 << self.times.min(32)).min(longest);
        self.until = Some(now.after(Micros::new(span)));
        self.times = self.times.saturating_add(1);
        self.failures = 0;
        true
    }

    /// A request was answered, or a check says that the server is back. True if that ends an
    /// ejection, or the time after one.
    pub(super) fn succeeded(&mut self) -> bool {
        std::mem::take(self).times > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: EjectionRule = EjectionRule { failures: 3, span: Duration::from_secs(10) };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn failures_in_a_row_eject() {
        let mut ejection = Ejection::default();
        let fail = |ejection: &mut Ejection, now| ejection.failed(at(now), &RULE, true);
        assert!(!fail(&mut ejection, 0) && !fail(&mut ejection, 1));
        assert!(!ejection.succeeded());
        assert!(!fail(&mut ejection, 2) && !fail(&mut ejection, 3) && fail(&mut ejection, 4));
        assert_eq!(ejection.until(at(4)), Some(at(14)));
        assert_eq!(ejection.until(at(14)), None);
        assert!(!fail(&mut ejection, 5), "what was under way says nothing new");
    }

    #[test]
    fn each_in_a_row_takes_twice_as_long_up_to_a_bound() {
        let mut ejection = Ejection { times: 1, ..Ejection::default() };
        let mut now = 0;
        for span in [20, 40, 80, 160, 300, 300] {
            assert!(ejection.failed(at(now), &RULE, true), "one failure is enough");
            assert_eq!(ejection.until(at(now)), Some(at(now + span)));
            now += span;
        }
        assert!(ejection.succeeded() && !ejection.succeeded());
        assert!(!ejection.failed(at(now), &RULE, true), "all is forgotten");
    }

    #[test]
    fn the_last_one_stays_until_there_are_others() {
        let mut ejection = Ejection::default();
        for now in 0..100 {
            assert!(!ejection.failed(at(now), &RULE, false));
        }
        assert!(ejection.failed(at(100), &RULE, true));
        let never = EjectionRule { failures: 0, ..RULE };
        assert!(!(0..100).any(|now| Ejection::default().failed(at(now), &never, true)));
    }
}
