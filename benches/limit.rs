//! What a decision costs in memory: the pure core, and the local store over it.

#![expect(missing_docs, reason = "criterion's macros write functions without")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::limit::calendar::{Calendar, Period};
use sluicegate::limit::sliding_window::SlidingWindow;
use sluicegate::limit::token_bucket::TokenBucket;
use sluicegate::limit::{
    Check, Key, Limit, LimitError, Micros, Mode, OnStoreError, Policy, Quota, Timestamp,
};
use sluicegate::store::local::LocalStore;

const START: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);
/// Time between two requests: about the rate that the quotas admit.
const PAUSE: Micros = Micros::new(60_000);
const KEYS: usize = 100_000;

fn limits() -> Result<[(&'static str, Limit); 3], LimitError> {
    let quota = Quota::new(1_000, Micros::new(60_000_000))?;
    let period = Period::new(START, START.after(Micros::new(86_400_000_000)))?;
    Ok([
        ("token-bucket", Limit::TokenBucket(TokenBucket::new(quota, 1_000)?)),
        ("sliding-window", Limit::SlidingWindow(SlidingWindow::new(quota, 64)?)),
        ("calendar", Limit::Calendar(Calendar::new(1_000_000, period)?)),
    ])
}

fn policy(name: String, limit: Limit) -> Arc<Policy> {
    Arc::new(Policy {
        id: 0,
        generation: 0,
        variant: 0,
        name,
        limit,
        mode: Mode::Enforce,
        on_store_error: OnStoreError::Local,
    })
}

fn check(policy: &Arc<Policy>, subject: &str) -> Check {
    Check::new(Arc::clone(policy), Key::new("sg", subject, policy), 1)
}

/// One read, decision and charge, without a store.
fn core(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    for (name, limit) in limits().into_iter().flatten() {
        let (mut state, mut now) = (None, START);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now = now.after(PAUSE);
                let mut standing = limit.read(state.as_ref(), now);
                if standing.has_room(1) {
                    standing.charge(1);
                    state = Some(standing.state());
                }
                black_box(standing.remaining())
            });
        });
    }
    group.finish();
}

/// All checks of a request, for one hot key and for many.
fn local_store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("local-store");
    group.throughput(Throughput::Elements(1));
    for (name, limit) in limits().into_iter().flatten() {
        for policies in [1, 3] {
            let policies: Vec<_> =
                (0..policies).map(|number| policy(format!("p{number}"), limit)).collect();
            for keys in [1, KEYS] {
                let requests: Vec<Vec<Check>> = (0..keys)
                    .map(|key| policies.iter().map(|p| check(p, &format!("k{key}"))).collect())
                    .collect();
                let store = LocalStore::new(KEYS * 2_048, true);
                let (mut now, mut turn) = (START, 0);
                let id = format!("{name}/{} policies", policies.len());
                group.bench_function(BenchmarkId::new(id, format!("{keys} keys")), |bencher| {
                    bencher.iter(|| {
                        now = now.after(Micros::new(10));
                        turn = (turn + 7_919) % keys;
                        black_box(store.decide(&requests[turn], now, 1))
                    });
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, core, local_store);
criterion_main!(benches);
