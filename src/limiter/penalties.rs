//! Bans for those who go on being denied: denials are noted as they come, and told once a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{Limiter, Shared};
use crate::limit::decision::Ruling;
use crate::limit::{Check, Clock, Decision, Limit, Micros, Retry, Standing, State, Verdict};
use crate::store::denials::{Denials, Sum};
use crate::store::redis::FaultKind;
use crate::store::script::Penalized;

/// How often denials are told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Keys that are told of at most in a call, those with the most denials first: the call takes Redis
/// less than a few milliseconds.
const TOLD_MAX: usize = 256;

/// The denials that are still to be told, and what has come of the others.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    denials: Denials,
    /// Bans that began with a call of this gateway, by policy.
    begun: Mutex<BTreeMap<String, u64>>,
}

// === impl Penalties ===

impl Penalties {
    /// Notes what `verdict` denies of `checks`, where a ban stands behind a check: what the policy
    /// itself denies, and not what a ban does, which ends by itself.
    pub(super) fn note(&self, checks: &[Check], verdict: &Verdict) {
        if verdict.ruling == Ruling::Pass {
            return;
        }
        let denied = |place: usize| {
            verdict.denials().any(|outcome| outcome.check == place && outcome.has_state())
        };
        for (place, ban) in checks.iter().enumerate().skip(1) {
            // A ban stands right behind the check of its policy.
            let is_ban = matches!(ban.policy.limit, Limit::Ban(_));
            if is_ban && denied(place - 1) && !denied(place) {
                self.denials.note(ban);
            }
        }
    }

    /// Counts the bans that begin with `answer`, and says so.
    fn announce(&self, sums: &[Sum], answer: &Penalized) {
        let each = sums.iter().zip(&answer.standings).zip(&answer.begun);
        let begun = each.filter_map(|((sum, standing), begun)| {
            let State::Ban(sentence) = standing.state() else { return None };
            begun.then_some((&sum.ban, sentence))
        });
        let begun: Vec<_> = begun.collect();
        let mut counts = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for (ban, _) in &begun {
            *counts.entry(ban.policy.name.clone()).or_default() += 1;
        }
        drop(counts);
        // One line a second at most: that of the longest ban.
        if let Some((ban, sentence)) = begun.iter().max_by_key(|(_, sentence)| sentence.until) {
            let seconds = sentence.until.since(answer.now).as_secs_ceil();
            let (policy, level, held_back) = (&ban.policy.name, sentence.level, begun.len() - 1);
            tracing::info!(policy, key = %ban.key, level, seconds, held_back, "banned");
        }
    }
}

// === impl Limiter ===

impl<C: Clock> Limiter<C> {
    /// Tells the store of denials once a second, for as long as the process runs. Must run on the
    /// runtime that also makes the calls.
    pub async fn penalize(&self) {
        loop {
            sleep(TELL_EVERY).await;
            let sums = self.penalties.denials.take(TOLD_MAX);
            if sums.is_empty() {
                continue;
            }
            let Some(shared) = &self.shared else {
                self.penalties.announce(&sums, &self.local.penalize(&sums, self.now()));
                continue;
            };
            let keys = sums.iter().map(|sum| sum.ban.key.as_str());
            let sums = &sums;
            let parts = shared.redis.groups(keys).into_iter().map(|places| async move {
                let mine: Vec<Sum> = places.iter().map(|place| sums[*place].clone()).collect();
                let answer = self.tell(shared, &mine).await;
                (mine, answer)
            });
            for (mine, answer) in join_all(parts).await {
                if let Some(answer) = answer {
                    self.penalties.announce(&mine, &answer);
                }
            }
        }
    }

    /// Bans that began with denials told by this gateway, by policy.
    pub fn bans(&self) -> Vec<(String, u64)> {
        let begun = self.penalties.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.iter().map(|(policy, count)| (policy.clone(), *count)).collect()
    }

    /// Denials that could bring no ban, for want of room.
    pub fn denials_dropped(&self) -> u64 {
        self.penalties.denials.dropped()
    }

    /// What comes of `sums`, which may be in one call; nothing if that is not known.
    async fn tell(&self, shared: &Shared, sums: &[Sum]) -> Option<Penalized> {
        let sent = self.clock.now();
        match shared.redis.penalize(sums).await {
            Ok(answer) => {
                self.local.learn(&Sum::bans(sums), &answer.standings, answer.now);
                for (sum, standing) in sums.iter().zip(&answer.standings) {
                    // Else a remembered denial of the policy would hide the ban from this gateway.
                    shared.deny_cache.remember(&sum.ban, denial_by(standing), sent);
                }
                Some(answer)
            }
            Err(fault) if matches!(fault.kind(), FaultKind::Away | FaultKind::Moved) => {
                let now = sums.first().map_or_else(|| self.now(), |sum| self.now_of(&sum.ban.key));
                Some(self.local.penalize(sums, now))
            }
            // It may have been carried out, so it is not done here as well.
            Err(_) => None,
        }
    }
}

/// The decision of a ban that stands so; [`Retry::Now`] if it has ended.
fn denial_by(standing: &Standing) -> Decision {
    let wait = standing.retry_after(1).unwrap_or(Micros::ZERO);
    let retry = if wait > Micros::ZERO { Retry::After(wait) } else { Retry::Now };
    Decision { retry, reset_after: wait, ..Decision::without_state(false) }
}
