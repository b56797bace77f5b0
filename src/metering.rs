//! COUNT: views go from requests to Redis, and no request waits for it.
//!
//! A request that has been answered leaves its views in a queue of the process. A task sends them,
//! many in a call and one call at a time, a moment later. While Redis is away they wait; the same
//! view of the same subject waits once. A call that got no answer is sent again with its number,
//! and Redis counts it once.
//!
//! Not promised: the views of the last moment before the process is killed, and those for which the
//! queue has no room (they are counted as dropped).

mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::limit::{Clock, Micros, SystemClock, Timestamp};
use crate::meter::View;
use crate::store::redis::{Counting, Fault, FaultKind, RedisStore};
use queue::Queue;

pub use queue::Tally;

/// How long views gather before they are sent: what is lost at most if the process is killed.
const GATHER: Duration = Duration::from_millis(100);
/// How long the views of a meter rest after Redis has refused them.
const REST: Micros = Micros::new(1_000_000);
/// Refused views are one line of the log in so long.
const COMPLAIN_EVERY: Micros = Micros::new(60_000_000);
/// How often [`Metering::flushed`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The views of this process that Redis has not counted yet, and what became of the others.
#[derive(Debug)]
pub struct Metering {
    queues: Mutex<Queues>,
    arrived: Notify,
    clock: SystemClock,
}

#[derive(Debug, Default)]
struct Queues {
    by_meter: BTreeMap<String, Queue>,
    /// The meter whose call was the last: the others have their turn first.
    last: String,
    complained: Option<Timestamp>,
}

/// What became of the batches of a meter that this gateway sent to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The application has it.
    Acknowledged,
    /// The application answered with another status than 2xx.
    Refused,
    /// It did not answer, or Redis did not.
    Failed,
}

// === impl Metering ===

impl Metering {
    /// Nothing has been seen yet.
    pub fn new(clock: SystemClock) -> Self {
        Self { queues: Mutex::default(), arrived: Notify::new(), clock }
    }

    /// Takes a view, to be counted in a moment.
    pub fn take(&self, view: View) {
        let mut queues = self.queues();
        if let Some(queue) = queues.by_meter.get_mut(&view.meter.name) {
            queue.push(view);
        } else {
            let name = view.meter.name.clone();
            queues.by_meter.entry(name).or_default().push(view);
        }
        drop(queues);
        self.arrived.notify_one();
    }

    /// Sends views to `redis` for as long as the process runs. Must run on the runtime that makes
    /// the other calls.
    pub async fn run(&self, redis: &RedisStore) {
        loop {
            while self.waiting() == 0 {
                self.arrived.notified().await;
            }
            sleep(GATHER).await;
            while let Some(call) = self.next() {
                match redis.count_views(&call).await {
                    Ok(counted) => self.queue_of(&call, |queue| queue.counted(&counted)),
                    Err(fault) if fault.kind() == FaultKind::ErrorReply => {
                        self.refused(&call, &fault);
                    }
                    // Redis is away: nothing else would get through either.
                    Err(_) => break,
                }
            }
        }
    }

    /// Returns when every view has been counted.
    pub async fn flushed(&self) {
        while self.waiting() > 0 {
            sleep(LOOK_EVERY).await;
        }
    }

    /// What became of the views and batches of each meter that has had any.
    pub fn tallies(&self) -> Vec<(String, Tally)> {
        let queues = self.queues();
        let each = queues.by_meter.iter();
        each.map(|(name, queue)| (name.clone(), queue.tally())).collect()
    }

    /// Notes how many batches of a meter are pending.
    pub fn pending(&self, meter: &str, batches: usize) {
        self.note(meter, |queue| queue.tally.pending = batches);
    }

    /// Notes what became of an attempt to hand a batch over.
    pub fn delivered(&self, meter: &str, result: Delivered) {
        self.note(meter, |queue| queue.tally.batches[result as usize] += 1);
    }

    fn note(&self, meter: &str, note: impl FnOnce(&mut Queue)) {
        note(self.queues().by_meter.entry(meter.to_owned()).or_default());
    }

    /// The next call, of the meters in turn.
    fn next(&self) -> Option<Arc<Counting>> {
        let now = self.clock.now();
        let mut queues = self.queues();
        let last = std::mem::take(&mut queues.last);
        let ready = |queue: &Queue| queue.is_ready(now);
        let mut later = queues.by_meter.range(last.clone()..).filter(|(name, _)| **name != last);
        let next = later.find(|(_, queue)| ready(queue));
        let next = next.or_else(|| queues.by_meter.iter().find(|(_, queue)| ready(queue)));
        let name = next.map(|(name, _)| name.clone())?;
        let call = queues.by_meter.get_mut(&name)?.call();
        queues.last = name;
        call
    }

    /// Redis answers, but will not count: a right is missing, or a key holds something else.
    fn refused(&self, call: &Counting, fault: &Fault) {
        let now = self.clock.now();
        self.queue_of(call, |queue| queue.rest(now.after(REST)));
        let mut queues = self.queues();
        let due = queues.complained.is_none_or(|at| at.after(COMPLAIN_EVERY) <= now);
        if due {
            queues.complained = Some(now);
            tracing::warn!(
                meter = call.meter.name, %fault,
                "Redis refuses to count views: they wait; grant what docs/operating.md lists"
            );
        }
    }

    fn queue_of(&self, call: &Counting, change: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues().by_meter.get_mut(&call.meter.name) {
            change(queue);
        }
    }

    /// Views and calls that wait.
    fn waiting(&self) -> usize {
        self.queues().by_meter.values().map(|queue| queue.tally().waiting).sum()
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Delivered ===

impl Delivered {
    /// Every result, in the order of [`Tally::batches`].
    pub const ALL: [Self; 3] = [Self::Acknowledged, Self::Refused, Self::Failed];

    /// Its name in the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}
