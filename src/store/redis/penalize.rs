//! Tells Redis of denials, which may bring a ban.

use super::fault::Fault;
use super::scripts::PENALIZE;
use super::{FaultKind, RedisStore};
use crate::store::denials::Sum;
use crate::store::script::{Now, PenalizeCall, Penalized};

// === impl RedisStore ===

impl RedisStore {
    /// Counts `sums` in one call, for which no request waits. It is not repeated: what a lost call
    /// told is lost, and who goes on being denied is banned a little later.
    pub async fn penalize(&self, sums: &[Sum]) -> Result<Penalized, Fault> {
        let Some(link) = self.link.load_full() else {
            return Err(Fault::new(FaultKind::Away, "no connection"));
        };
        let call = PenalizeCall::new(sums);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let asked = link.run(&PENALIZE, command, self.patience()).await;
        match asked.and_then(|reply| Ok(call.answer(&reply)?)) {
            Ok(answer) => {
                if self.answered_on(&link) {
                    self.meet(answer.now);
                }
                Ok(answer)
            }
            Err(fault) => Err(self.note(&link, fault)),
        }
    }
}
