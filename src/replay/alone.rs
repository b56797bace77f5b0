//! A policy alone, asked again what it was asked, with other quotas: which one would be enough?

use std::ops::Range;

use crate::limit::calendar::Period;
use crate::limit::quota::UNITS_MAX;
use crate::limit::settlement::Adjustment;
use crate::limit::{Limit, LimitError, State, Timestamp};
use crate::rules::calendar::Periods;

use super::events::{Event, Events};

/// A quota is enough if at most one request of so many is denied.
const ONE_OF: u64 = 100;
/// Points of a curve, those of the file's quota and of the proposed one aside.
const POINTS: u32 = 20;

/// The limit of a policy and what it was asked.
pub(super) struct Alone {
    limit: Limit,
    /// Of a calendar, all periods that there are checks in, in order.
    periods: Vec<Period>,
    /// Key by key.
    events: Vec<Event>,
    /// The keys, those with the most units first.
    runs: Vec<Run>,
}

/// The checks of a key.
struct Run {
    events: Range<usize>,
    units: u64,
}

/// A quota that is enough: the smallest, where all requests cost the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// The quota.
    pub(super) units: u64,
    /// Most units at once, of a token bucket.
    pub(super) burst: Option<u64>,
    /// How many checks it denies.
    pub(super) denied: u64,
    /// The next smaller quota that was tried is so much less: 1, but for token buckets that cannot
    /// be counted exactly with just any quota.
    pub(super) step: u64,
}

/// A quota, and how many checks it denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) units: u64,
    pub(super) denied: u64,
}

// === impl Alone ===

impl Alone {
    /// `limit`, a calendar's with its periods, and what it was asked.
    pub(super) fn new(limit: Limit, periods: Option<&Periods>, events: Events) -> Self {
        let mut events = events.all;
        let periods = periods.map_or_else(Vec::new, |periods| met(periods, &events));
        // Stable: within a key they stay as they happened.
        events.sort_by_key(|event| event.key);
        let mut runs: Vec<Run> = Vec::new();
        let mut start = 0;
        for run in events.chunk_by(|a, b| a.key == b.key) {
            let most = |event: &Event| event.taken.max(event.cost);
            let units = run.iter().fold(0_u64, |sum, event| sum.saturating_add(most(event)));
            runs.push(Run { events: start..start + run.len(), units });
            start += run.len();
        }
        runs.sort_by_key(|run| std::cmp::Reverse(run.units));
        Self { limit, periods, events, runs }
    }

    /// How many checks there are.
    pub(super) fn asked(&self) -> u64 {
        self.events.len() as u64
    }

    /// The smallest quota found that denies at most one check of a hundred; `None` if nothing was
    /// asked, or no quota does. Where costs differ there may be a smaller one: a quota that has
    /// room for one dear request may deny several cheap ones for it. It is never more than the
    /// limit's own if that is enough.
    pub(super) fn propose(&self) -> Option<Proposal> {
        if self.events.is_empty() {
            return None;
        }
        let own = self.limit.units();
        let (mut low, mut below_own, mut found) = (0, 0, None);
        for units in round_numbers() {
            match self.enough(units) {
                Ok(true) => {
                    found = self.between(low, units);
                    break;
                }
                Ok(false) => low = units,
                Err(_) => {}
            }
            if low < own {
                below_own = low;
            }
        }
        let better = found.is_none_or(|found| own < found.units);
        if better && self.enough(own).is_ok_and(|enough| enough) {
            return self.between(below_own, own);
        }
        found
    }

    /// The smallest that is enough above `low`, which is not, up to `high`, which is.
    fn between(&self, low: u64, high: u64) -> Option<Proposal> {
        let steps = std::iter::successors(Some(1_u64), |step| step.checked_mul(10));
        let steps =
            steps.take_while(|step| *step <= high - low && (high - low).is_multiple_of(*step));
        let mut units_step = steps.map(|step| (self.search(low, high, step), step));
        let (units, step) = units_step
            .find_map(|(found, step)| Some((found.ok()?, step)))
            .unwrap_or((high, high - low));
        let limit = self.limit.with_units(units).ok()?;
        let burst = matches!(limit, Limit::TokenBucket(_)).then(|| limit.cost_max());
        Some(Proposal { units, burst, denied: self.denied(units, u64::MAX).ok()?, step })
    }

    /// The same among those that are a number of steps above `low`.
    fn search(&self, low: u64, high: u64, step: u64) -> Result<u64, LimitError> {
        let (mut below, mut above) = (0, (high - low) / step);
        while above - below > 1 {
            let middle = below.midpoint(above);
            if self.enough(low + middle * step)? { above = middle } else { below = middle }
        }
        Ok(low + above * step)
    }

    fn enough(&self, units: u64) -> Result<bool, LimitError> {
        let most = self.asked() / ONE_OF;
        self.denied(units, most).map(|denied| denied <= most)
    }

    /// What quotas around that of the file and the proposed one deny.
    pub(super) fn curve(&self, proposed: Option<u64>) -> Vec<Point> {
        let own = self.limit.units();
        let proposed = proposed.unwrap_or(own);
        let from = (own.min(proposed) / 8).max(1) as f64;
        let to = own.max(proposed).saturating_mul(2).min(UNITS_MAX) as f64;
        let ratio = to / from;
        let scattered = (0..POINTS).map(|point| {
            (from * ratio.powf(f64::from(point) / f64::from(POINTS - 1))).round() as u64
        });
        let mut quotas: Vec<u64> = scattered.chain([own, proposed]).collect();
        quotas.sort_unstable();
        quotas.dedup();
        let points = quotas
            .into_iter()
            .filter_map(|units| Some(Point { units, denied: self.denied(units, u64::MAX).ok()? }));
        points.collect()
    }

    /// How many checks a quota of `units` denies; it is not counted on when there are more than
    /// `most`.
    fn denied(&self, units: u64, most: u64) -> Result<u64, LimitError> {
        let limit = self.limit.with_units(units)?;
        let mut denied = 0;
        // Who never asked for more than there is at once was never denied.
        for run in self.runs.iter().take_while(|run| run.units > limit.cost_max()) {
            denied += self.denied_of(run, &limit);
            if denied > most {
                break;
            }
        }
        Ok(denied)
    }

    fn denied_of(&self, run: &Run, limit: &Limit) -> u64 {
        let (mut state, mut denied): (Option<State>, u64) = (None, 0);
        for event in &self.events[run.events.clone()] {
            let mut standing = self.at(limit, event.at).read(state.as_ref(), event.at);
            if standing.has_room(event.taken) {
                let receipt = standing.charge(event.taken);
                let adjustment = Adjustment::between(event.taken, event.cost, receipt);
                if let Some(adjustment) = adjustment {
                    standing.adjust(&adjustment);
                }
            } else {
                denied += 1;
            }
            if standing.must_be_stored() {
                state = Some(standing.state());
            }
        }
        denied
    }

    /// The limit at a moment: that of its period.
    fn at(&self, limit: &Limit, now: Timestamp) -> Limit {
        let Limit::Calendar(calendar) = limit else { return *limit };
        let after = self.periods.partition_point(|period| period.end <= now);
        let over = self.periods.get(after).and_then(|period| calendar.over(*period).ok());
        Limit::Calendar(over.unwrap_or(*calendar))
    }
}

/// The periods in which events happened, which are in order.
fn met(periods: &Periods, events: &[Event]) -> Vec<Period> {
    let mut met: Vec<Period> = Vec::new();
    for event in events {
        if met.last().is_none_or(|last| !last.contains(event.at)) {
            met.push(periods.around(event.at));
        }
    }
    met
}

/// 1, 2, 5, 10, 20 and so on: most token buckets can be counted exactly with them.
fn round_numbers() -> impl Iterator<Item = u64> {
    let tens = std::iter::successors(Some(1_u64), |ten| ten.checked_mul(10));
    let tens = tens.take_while(|ten| *ten <= UNITS_MAX);
    tens.flat_map(|ten| [ten, ten * 2, ten * 5]).filter(|units| *units <= UNITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::sliding_window::SlidingWindow;
    use crate::limit::token_bucket::TokenBucket;
    use crate::limit::{Micros, Quota};

    /// 200 keys; the one of number `n` asks `n` times at once.
    fn alone(limit: Limit) -> Alone {
        let at = Timestamp::from_micros(1_763_000_000_000_000);
        let each = |key: u32| (0..key).map(move |_| Event { key, at, taken: 1, cost: 1 });
        let events = (1..=200).flat_map(each).collect();
        Alone::new(limit, None, Events { all: events, one_in: 1, beginning: false })
    }

    fn sliding() -> Limit {
        let quota = Quota::new(10, Micros::SECOND).unwrap();
        Limit::SlidingWindow(SlidingWindow::new(quota, 64).unwrap())
    }

    /// Denied if each key gets `quota`.
    fn over(quota: u64) -> u64 {
        (1..=200_u64).map(|asked| asked.saturating_sub(quota)).sum()
    }

    #[test]
    fn the_proposal_is_the_smallest_that_is_enough() {
        let proposal = alone(sliding()).propose().unwrap();
        let Proposal { units, denied, burst, step } = proposal;
        assert_eq!((denied, burst, step), (over(units), None, 1));
        let asked = over(0);
        assert!(over(units) * 100 <= asked && over(units - 1) * 100 > asked, "{proposal:?}");
    }

    #[test]
    fn a_bucket_keeps_the_ratio_of_its_burst() {
        let quota = Quota::new(10, Micros::SECOND).unwrap();
        let bucket = Limit::TokenBucket(TokenBucket::new(quota, 20).unwrap());
        let Proposal { units, burst, denied, .. } = alone(bucket).propose().unwrap();
        assert_eq!((burst, denied), (Some(units * 2), over(units * 2)));
        assert!(over(units * 2) * 100 <= over(0) && over((units - 1) * 2) * 100 > over(0));
    }

    #[test]
    fn a_bucket_that_cannot_count_every_quota_goes_in_steps() {
        let quota = Quota::new(1, Micros::new(366 * 86_400 * 1_000_000)).unwrap();
        let bucket = Limit::TokenBucket(TokenBucket::new(quota, 1).unwrap());
        let asked = alone(bucket);
        assert!(bucket.with_units(163).is_err(), "or this test tries nothing");
        let Proposal { units, denied, step, .. } = asked.propose().unwrap();
        assert!(step > 1 && asked.enough(units).unwrap(), "{units} by {step}");
        assert!(!asked.enough(units - step).unwrap());
        assert_eq!(denied, over(units));
    }

    #[test]
    fn where_costs_differ_the_own_quota_is_not_too_small_if_it_is_enough() {
        // 250 has no room for the dear one, 251 has, and then none for 250 cheap ones.
        let at = Timestamp::from_micros(1_763_000_000_000_000);
        let event = |key, taken| Event { key, at, taken, cost: taken };
        let dear = std::iter::once(event(1, 251)).chain((0..250).map(|_| event(1, 1)));
        let others = (0..1_000).map(|place| event(2 + place, 1));
        let all: Vec<Event> = dear.chain(others).collect();
        let quota = Quota::new(250, Micros::SECOND).unwrap();
        let limit = Limit::SlidingWindow(SlidingWindow::new(quota, 64).unwrap());
        let alone = Alone::new(limit, None, Events { all, one_in: 1, beginning: false });
        assert!(!alone.enough(260).unwrap(), "or this test tries nothing");
        let Proposal { units, denied, step, .. } = alone.propose().unwrap();
        assert!(units <= 250 && denied * 100 <= alone.asked(), "{units}");
        assert!(!alone.enough(units - step).unwrap());
    }

    #[test]
    fn the_curve_falls_and_holds_what_matters() {
        let alone = alone(sliding());
        let proposed = alone.propose().unwrap().units;
        let curve = alone.curve(Some(proposed));
        assert!(curve.len() >= POINTS as usize - 4);
        for point in &curve {
            assert_eq!(point.denied, over(point.units), "{point:?}");
        }
        for units in [10, proposed] {
            assert!(curve.iter().any(|point| point.units == units));
        }
    }
}
