//! Keeps Redis told of the permits that this gateway holds: what has changed at once, and what is
//! held again and again, so that it lasts.
//!
//! One telling is under way at a time, and what changes meanwhile goes with the next: so no renewal
//! of a permit overtakes its return, and many returns share a call.
//!
//! Not promised: a call on a connection that has broken may still be carried out after what was
//! told on the next one. A permit that it brings back ends by itself.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::RedisStore;
use super::fault::Fault;
use super::link::Link;
use super::scripts::PERMITS;
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
        let mut renewed = self.clock.now();
        loop {
            let _ = timeout(self.until_renewal(renewed).into(), permits.changed()).await;
            let Some(link) = self.link.load_full() else {
                sleep(PAUSE).await;
                continue;
            };
            let now = self.clock.now();
            let told = if self.until_renewal(renewed) == Micros::ZERO {
                self.renew(&link, permits).await.map(|()| renewed = now)
            } else {
                self.tell_changes(&link, permits).await
            };
            if let Err(fault) = told {
                self.note(&link, fault);
                sleep(PAUSE).await;
            }
        }
    }

    /// Tells Redis on `link` of every permit that is held: to renew it, or because it has forgotten.
    /// What has changed meanwhile is told in between.
    pub(super) async fn renew(&self, link: &Link, permits: &Permits) -> Result<(), Fault> {
        for place in 0..SHARDS {
            self.tell_held(link, permits, place).await?;
            self.tell_changes(link, permits).await?;
        }
        Ok(())
    }

    async fn tell_held(&self, link: &Link, permits: &Permits, place: usize) -> Result<(), Fault> {
        let _one_at_a_time = self.telling.lock().await;
        for batch in permits.held(place) {
            self.tell(link, &batch).await?;
        }
        Ok(())
    }

    async fn tell_changes(&self, link: &Link, permits: &Permits) -> Result<(), Fault> {
        let _one_at_a_time = self.telling.lock().await;
        let changes = permits.changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.tell(link, &changes).await?;
        changes.told();
        Ok(())
    }

    async fn tell(&self, link: &Link, permits: &[PermitsOf]) -> Result<(), Fault> {
        let telling = Telling::new(permits);
        let command = |verb: &str, script: &str| telling.command(verb, script, Now::Redis);
        let reply = link.run(&PERMITS, command, self.patience()).await?;
        telling.told(&reply)?;
        Ok(())
    }

    fn until_renewal(&self, renewed: Timestamp) -> Micros {
        renewed.after(RENEW_EVERY).since(self.clock.now())
    }
}
