//! Settlements in Redis.

use super::RedisStore;
use super::fault::Fault;
use super::link::Link;
use super::scripts::SETTLE;
use crate::limit::{Check, Settlement, Standing, Timestamp};
use crate::store::script::{Now, SettleCall};

/// The clock of Redis, a check of each settled key, and how it stands since.
type Settled = (Timestamp, Vec<Check>, Vec<Standing>);

// === impl RedisStore ===

impl RedisStore {
    /// Settles all of `settlements` in one call, or, if it returns a fault, perhaps none of them.
    pub async fn settle(&self, settlements: &[Settlement]) -> Result<Settled, Fault> {
        let Some(link) = self.link.load_full() else { return Err(Fault::away()) };
        match self.settle_on(&link, settlements).await {
            Ok(settled) => {
                self.answered_on(&link);
                Ok(settled)
            }
            Err(fault) => Err(self.note(&link, fault)),
        }
    }

    async fn settle_on(&self, link: &Link, settlements: &[Settlement]) -> Result<Settled, Fault> {
        let call = SettleCall::new(settlements);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let reply = link.run(&SETTLE, command, self.timeout).await?;
        let (now, standings) = call.standings(&reply)?;
        Ok((now, call.into_checks(), standings))
    }
}
