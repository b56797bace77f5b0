//! What a row must have been.

use std::time::{Duration, Instant};

use super::report::{Counts, Report};
use super::row::{Notice, Row};
use super::scene::{BUCKET, Bounds, STRAYS_MAX, Scene, TIMEOUT, WINDOW};
use super::stage::Stage;
use crate::support::load::{Sample, largest_count};

/// A busy machine's scheduling, on top of `store.timeout`.
const LATE: Duration = Duration::from_secs(2);

/// When what happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) began: Instant,
    /// Until when the store certainly decided, and from when again.
    pub(super) healthy: (Instant, Instant),
    pub(super) injected: Instant,
    pub(super) noticed: Option<Instant>,
    /// From when on all gateways said until the repair that nothing of the store is there.
    pub(super) away: Option<Instant>,
    pub(super) repairing: Instant,
    pub(super) repaired: Instant,
    pub(super) returned: Instant,
    pub(super) ended: Instant,
}

/// Admissions that the gateways decided by themselves while the store decided: single calls that
/// were not answered in time. They come on top of what it admits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strays {
    pub(super) before: usize,
    pub(super) after: usize,
}

/// Writes the row's line and fails where it broke a promise.
pub(super) fn judge<S: Stage>(
    row: &Row<S>,
    scene: &Scene<S>,
    samples: &[Sample],
    times: Times,
    strays: Strays,
) {
    let healthy = !S::is_dead(row.plan);
    let early = |sample: &&Sample| healthy && sample.received < times.injected;
    let longest = |samples: &mut dyn Iterator<Item = &Sample>| {
        samples.map(Sample::waited).max().unwrap_or_default()
    };
    // Of the client that got most, and of all together.
    let each = phases(row, times, |phase| most_of_one(samples, S::CLIENTS, phase));
    let all = phases(row, times, |phase| {
        let clients = samples.iter().filter(|sample| sample.target != BUCKET);
        largest_count(clients, WINDOW, phase)
    });
    let report = Report {
        number: row.number,
        name: row.name,
        requests: samples.len(),
        failed: samples.iter().filter(|sample| sample.failed()).count(),
        longest_before: healthy.then(|| longest(&mut samples.iter().filter(early))),
        longest: longest(&mut samples.iter()),
        noticed: times.noticed.map(|at| at - times.injected),
        returned: times.returned - times.repaired,
        counts: each,
        strays: strays.before + strays.after,
        log_lines: scene.log_lines(),
    };
    report.write();
    let failure = samples.iter().find(|sample| sample.failed());
    assert!(report.failed == 0, "{} requests failed, the first: {failure:?}", report.failed);
    assert!(report.longest < TIMEOUT + LATE, "a request waited {:?}", report.longest);
    let from_bucket = samples.iter().filter(|sample| sample.target == BUCKET);
    let from_bucket = largest_count(from_bucket, WINDOW, (times.began, times.ended));
    let most = Bounds::of(S::CLIENTS);
    let bounds = [
        ("before the fault", each.before, most.quota + strays.before),
        ("without Redis", each.without, most.without_redis),
        ("after the return", each.after, most.quota + strays.after),
        ("over all", each.whole, most.over_edges),
        ("all clients before the fault", all.before, most.all + strays.before),
        ("all clients without Redis", all.without, most.all),
        ("all clients after the return", all.after, most.all + strays.after),
        ("all clients over all", all.whole, most.all_over_edges),
        ("from the bucket", from_bucket, most.bucket),
    ];
    for (when, count, most) in bounds {
        assert!(count.is_none_or(|count| count <= most), "{when}: {count:?} of {most}");
    }
    let strays = strays.before + strays.after;
    // What the machine held up for longer than a decision waits is not the row's matter.
    let held_up = scene.timeouts();
    let few = row.notice != Notice::None || strays <= STRAYS_MAX + held_up;
    assert!(few, "{strays} were decided alone, {held_up} held up, and nothing was at fault");
    let least = most.quota / 2;
    assert!(each.whole >= Some(least), "a limit that starves: {:?} of {least}", each.whole);
}

fn phases<S: Stage>(
    row: &Row<S>,
    times: Times,
    count: impl Fn((Instant, Instant)) -> Option<usize>,
) -> Counts {
    let before = (!S::is_dead(row.plan)).then_some((times.began, times.healthy.0));
    let away = times.away.filter(|_| row.notice == Notice::All);
    Counts {
        before: before.and_then(&count),
        without: away.and_then(|away| count((away, times.repairing))),
        after: count((times.healthy.1, times.ended)),
        whole: count((times.began, times.ended)),
    }
}

/// The largest certain count of a client.
fn most_of_one(samples: &[Sample], clients: usize, phase: (Instant, Instant)) -> Option<usize> {
    let count = |number: usize| {
        let mine = samples.iter().filter(|sample| sample.target == number);
        largest_count(mine, WINDOW, phase)
    };
    (0..clients).filter_map(count).max()
}
