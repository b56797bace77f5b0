//! Settlements in Redis.

use super::RedisStore;
use super::fault::Fault;
use super::route::Blame;
use super::scripts::SETTLE;
use crate::limit::{Check, Settlement, Standing, Timestamp};
use crate::store::script::{Now, SettleCall};

/// The clock of Redis, a check of each settled key, and how it stands since.
type Settled = (Timestamp, Vec<Check>, Vec<Standing>);

// === impl RedisStore ===

impl RedisStore {
    /// Settles all of `settlements` in one call, or, if it returns a fault, perhaps none of them.
    /// Their keys are of one of the [`Self::groups`].
    pub async fn settle(&self, settlements: &[Settlement]) -> Result<Settled, Fault> {
        let call = SettleCall::new(settlements);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let key = settlements.first().map_or("", |one| one.check.key.as_str());
        let (longest, read) = (self.common.timeout(), |reply: &_| Ok(call.standings(reply)?));
        let settled = self.ask(key, &SETTLE, command, longest, Blame::Store, read).await;
        let ((now, standings), shard) = settled?;
        shard.meet(now);
        Ok((now, call.into_checks(), standings))
    }
}
