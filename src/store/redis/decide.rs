//! Decisions in Redis.

use std::time::Duration;

use super::RedisStore;
use super::fault::{Fault, FaultKind};
use super::route::Blame;
use super::scripts::{DECIDE, DECIDE_QUOTAS};
use crate::limit::Check;
use crate::store::script::{Answer, Call, Now};

// === impl RedisStore ===

impl RedisStore {
    /// Decides `checks` in one call, which may take `longest`. Their keys are of one of the
    /// [`Self::groups`].
    pub async fn decide(&self, checks: &[Check], longest: Duration) -> Result<Answer, Fault> {
        let requests = [checks];
        let call = Call::new(&requests);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let script = if call.is_about_quotas() { &DECIDE_QUOTAS } else { &DECIDE };
        let key = checks.first().map_or("", |check| check.key.as_str());
        let read = |reply: &_| Ok(call.answer(reply)?);
        match self.ask(key, script, command, longest, Blame::Store, read).await {
            Ok((answer, shard)) => {
                shard.meet(answer.now);
                Ok(answer)
            }
            Err(fault) if fault.kind() == FaultKind::Away => Err(self.common.count(fault)),
            Err(fault) => Err(fault),
        }
    }
}
