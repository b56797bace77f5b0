//! Keeps Redis told of the permits that this gateway holds: what has changed at once, and what is
//! held again and again, so that it lasts.
//!
//! One telling is under way at a time, and what changes meanwhile goes with the next: so no renewal
//! of a permit overtakes its return, and many returns share a call. In a cluster a telling is a call
//! for each slot; what concerns a server that is away waits until it is back.
//!
//! Not promised: a call on a connection that has broken may still be carried out after what was
//! told on the next one. A permit that it brings back ends by itself.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::RedisStore;
use super::fault::Fault;
use super::link::Link;
use super::route::Blame;
use super::scripts::PERMITS;
use super::shard::Shard;
use super::slots::calls_for;
use crate::limit::concurrency::RENEW_EVERY;
use crate::limit::{Micros, Timestamp};
use crate::store::permits::{Permits, SHARDS};
use crate::store::script::{Now, PermitsOf, Telling};

/// How long to wait before Redis is told again after it could not be.
const PAUSE: Duration = Duration::from_millis(100);

// === impl RedisStore ===

impl RedisStore {
    /// Tells Redis of `permits` for as long as the process runs.
    pub async fn keep(&self, permits: &Permits) -> Infallible {
        let mut renewed = self.common.clock.now();
        loop {
            let _ = timeout(self.until_renewal(renewed).into(), permits.changed()).await;
            if self.is_away() {
                sleep(PAUSE).await;
                continue;
            }
            let now = self.common.clock.now();
            let told = if self.until_renewal(renewed) == Micros::ZERO {
                renewed = now;
                self.tell_held(permits).await
            } else {
                self.tell_changes(permits).await
            };
            if !told {
                sleep(PAUSE).await;
            }
        }
    }

    /// Tells of every permit that is held, to renew it; of what has changed meanwhile in between.
    /// False if somebody could not be told.
    async fn tell_held(&self, permits: &Permits) -> bool {
        let mut all = true;
        for place in 0..SHARDS {
            {
                let _one_at_a_time = self.common.telling.lock().await;
                for batch in permits.held(place, |key| self.is_reachable(key.as_str())) {
                    all &= self.tell(&batch).await.len() == batch.len();
                }
            }
            all &= self.tell_changes(permits).await;
        }
        all
    }

    async fn tell_changes(&self, permits: &Permits) -> bool {
        let _one_at_a_time = self.common.telling.lock().await;
        let mut changes = permits.changes(|key| self.is_reachable(key.as_str()));
        let told = self.tell(&changes).await;
        let all = told.len() == changes.len();
        changes.told(&told);
        all
    }

    /// Tells of `permits`. Returns the places of those that were taken.
    async fn tell(&self, permits: &[PermitsOf]) -> Vec<usize> {
        let groups = self.groups(permits.iter().map(|of| of.key.as_str()));
        let calls = groups.into_iter().map(|places| async move {
            let mine: Vec<PermitsOf> = places.iter().map(|at| permits[*at].clone()).collect();
            let telling = Telling::new(&mine);
            let command = |verb: &str, script: &str| telling.command(verb, script, Now::Redis);
            let key = mine[0].key.as_str();
            let (longest, read) = (self.common.patience(), |reply: &_| Ok(telling.told(reply)?));
            let asked = self.ask(key, &PERMITS, command, longest, Blame::Store, read).await;
            asked.map_or_else(|_| Vec::new(), |_| places)
        });
        join_all(calls).await.concat()
    }

    fn until_renewal(&self, renewed: Timestamp) -> Micros {
        renewed.after(RENEW_EVERY).since(self.common.clock.now())
    }
}

// === impl Shard ===

impl Shard {
    /// Tells the server on `link` of every permit that is held of its keys: because it has
    /// forgotten, or has not been told for a while.
    pub(super) async fn renew(&self, link: &Link, permits: &Permits) -> Result<(), Fault> {
        for place in 0..SHARDS {
            let _one_at_a_time = self.common.telling.lock().await;
            for batch in permits.held(place, |key| self.serves(key.as_str())) {
                let keys = batch.iter().map(|of| of.key.as_str());
                for places in calls_for(self.duty().slots.is_some(), keys) {
                    let mine: Vec<PermitsOf> = places.iter().map(|at| batch[*at].clone()).collect();
                    let told = tell_on(link, &mine, self.common.patience()).await;
                    // What is moving is told with the next renewal, where it is then.
                    told.or_else(Fault::unless_moved)?;
                }
            }
        }
        Ok(())
    }
}

async fn tell_on(link: &Link, permits: &[PermitsOf], longest: Duration) -> Result<(), Fault> {
    let telling = Telling::new(permits);
    let command = |verb: &str, script: &str| telling.command(verb, script, Now::Redis);
    telling.told(&link.run(&PERMITS, command, longest).await?)?;
    Ok(())
}
