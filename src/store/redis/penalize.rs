//! Tells Redis of denials, which may bring a ban.

use super::RedisStore;
use super::fault::Fault;
use super::route::Blame;
use super::scripts::PENALIZE;
use crate::store::denials::Sum;
use crate::store::script::{Now, PenalizeCall, Penalized};

// === impl RedisStore ===

impl RedisStore {
    /// Counts `sums` in one call, for which no request waits. It is not repeated: what a lost call
    /// told is lost, and who goes on being denied is banned a little later. The keys are of one of
    /// the [`Self::groups`].
    pub async fn penalize(&self, sums: &[Sum]) -> Result<Penalized, Fault> {
        let call = PenalizeCall::new(sums);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let key = sums.first().map_or("", |sum| sum.ban.key.as_str());
        let (longest, read) = (self.common.patience(), |reply: &_| Ok(call.answer(reply)?));
        let (answer, shard) =
            self.ask(key, &PENALIZE, command, longest, Blame::Store, read).await?;
        shard.meet(answer.now);
        Ok(answer)
    }
}
