//! The views of one meter that Redis has not counted yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Delivered;
use crate::limit::Timestamp;
use crate::meter::{ITEM_MAX, Meter, View};
use crate::store::redis::{Counted, Counting, Sighting};

/// Most different views of a meter that wait: some 20 MiB with paths of a hundred bytes. More are
/// dropped, and counted as such.
const WAITING_MAX: usize = 65_536;
/// Most different views that travel in one call: Redis is busy with them for about a millisecond.
const CALL_MAX: usize = 256;

/// What waits, in order of arrival, and what became of the rest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    meter: Option<Arc<Meter>>,
    order: VecDeque<Arc<Sighting>>,
    /// How often each of them was seen.
    times: HashMap<Arc<Sighting>, u64>,
    /// A call that may or may not have been carried out.
    unconfirmed: Option<Arc<Counting>>,
    /// The number of the last call.
    number: u64,
    rest_until: Option<Timestamp>,
    pub(super) tally: Tally,
}

/// What became of the views and the batches of a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Views that counted.
    pub counted: u64,
    /// Views of an item that the subject had seen.
    pub known: u64,
    /// Views that Redis had no room for: too many items, or too many of one subject.
    pub full: u64,
    /// Views that this process had no room for, or whose path is too long.
    pub dropped: u64,
    /// Different views that wait, those under way included.
    pub waiting: usize,
    /// Batches that wait to be acknowledged, as last looked.
    pub pending: usize,
    /// Attempts to hand batches over, by what came of them: see [`Delivered::ALL`].
    pub batches: [u64; Delivered::ALL.len()],
}

// === impl Queue ===

impl Queue {
    pub(super) fn push(&mut self, view: View) {
        let View { meter, item, subject } = view;
        let each_counts = subject.is_none();
        self.meter = Some(meter);
        if item.len() > ITEM_MAX {
            self.tally.dropped += 1;
            return;
        }
        let sighting = Sighting { item, subject };
        if let Some(times) = self.times.get_mut(&sighting) {
            if each_counts {
                *times += 1;
            } else {
                self.tally.known += 1;
            }
        } else if self.order.len() >= WAITING_MAX {
            self.tally.dropped += 1;
        } else {
            let sighting = Arc::new(sighting);
            self.order.push_back(Arc::clone(&sighting));
            self.times.insert(sighting, 1);
        }
    }

    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let rested = self.rest_until.is_none_or(|until| until <= now);
        rested && (self.unconfirmed.is_some() || !self.order.is_empty())
    }

    /// The call that is to be sent: the one before, as long as it is not confirmed.
    pub(super) fn call(&mut self) -> Option<Arc<Counting>> {
        if self.unconfirmed.is_none() && !self.order.is_empty() {
            let meter = Arc::clone(self.meter.as_ref()?);
            self.number += 1;
            let count = self.order.len().min(CALL_MAX);
            let views = self.order.drain(..count).map(|sighting| {
                let times = self.times.remove(&sighting).unwrap_or(1);
                (sighting, times)
            });
            let views = views.collect();
            self.unconfirmed = Some(Arc::new(Counting { meter, number: self.number, views }));
        }
        self.unconfirmed.clone()
    }

    /// The call was carried out.
    pub(super) fn counted(&mut self, counted: &Counted) {
        self.unconfirmed = None;
        self.rest_until = None;
        self.tally.counted += counted.counted;
        self.tally.known += counted.known;
        self.tally.full += counted.full;
    }

    pub(super) const fn rest(&mut self, until: Timestamp) {
        self.rest_until = Some(until);
    }

    pub(super) fn tally(&self) -> Tally {
        let under_way = self.unconfirmed.as_ref().map_or(0, |call| call.views.len());
        Tally { waiting: self.order.len() + under_way, ..self.tally }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Micros;
    use crate::meter::Unique;

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

    fn view(item: &str, subject: Option<&str>) -> View {
        let meter = Meter {
            name: "views".to_owned(),
            paths: Vec::new(),
            methods: Vec::new(),
            unique: Unique::None,
            items_max: 10,
        };
        let subject = subject.map(str::to_owned);
        View { meter: Arc::new(meter), item: item.to_owned(), subject }
    }

    #[test]
    fn a_view_that_waits_is_one_entry_and_counts_as_often_as_it_should() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(view("/1", Some("ann")));
            queue.push(view("/1", Some("ben")));
            queue.push(view("/1", None));
        }
        let call = queue.call().unwrap();
        assert_eq!(call.views.iter().map(|(_, times)| *times).collect::<Vec<_>>(), [1, 1, 3]);
        assert_eq!((queue.tally().known, queue.tally().waiting), (4, 3));
    }

    #[test]
    fn a_call_stays_the_same_until_it_is_confirmed() {
        let mut queue = Queue::default();
        for number in 0..=CALL_MAX {
            queue.push(view(&format!("/{number}"), Some("ann")));
        }
        let first = queue.call().unwrap();
        assert_eq!((first.number, first.views.len()), (1, CALL_MAX));
        queue.push(view("/0", Some("ann")));
        assert!(Arc::ptr_eq(&first, &queue.call().unwrap()));
        queue.counted(&Counted { counted: 256, known: 0, full: 0 });
        let second = queue.call().unwrap();
        assert_eq!((second.number, second.views.len()), (2, 2), "what was sent may wait again");
        queue.rest(NOW.after(Micros::SECOND));
        assert!(!queue.is_ready(NOW) && queue.is_ready(NOW.after(Micros::SECOND)));
        queue.counted(&Counted { counted: 1, known: 1, full: 0 });
        assert_eq!(
            (queue.tally().counted, queue.tally().known, queue.tally().waiting),
            (257, 1, 0)
        );
        assert!(queue.call().is_none() && !queue.is_ready(NOW));
    }

    #[test]
    fn what_finds_no_room_is_counted_as_dropped() {
        let mut queue = Queue::default();
        for number in 0..WAITING_MAX {
            queue.push(view(&format!("/{number}"), Some("ann")));
        }
        queue.push(view("/new", Some("ann")));
        queue.push(view("/0", Some("ann")));
        assert_eq!((queue.tally().dropped, queue.tally().known), (1, 1));
        assert_eq!(queue.tally().waiting, WAITING_MAX);
        let mut queue = Queue::default();
        queue.push(view(&format!("/{}", "a".repeat(ITEM_MAX)), None));
        queue.push(view(&format!("/{}", "a".repeat(ITEM_MAX - 1)), None));
        assert_eq!((queue.tally().dropped, queue.tally().waiting), (1, 1));
    }
}
