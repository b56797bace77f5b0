//! A request whose keys are on several servers: each decides its own, all at once, and what one has
//! taken is given back if another denies.
//!
//! Between the two a unit is taken that nobody has: somebody else may be denied for it meanwhile.
//! No limit is exceeded, but by what is being given back: a unit comes free where it was taken, and
//! the clock has gone on since.

use std::time::Duration;

use futures_util::future::join_all;

use super::settling::Reason;
use super::{Limiter, Shared, outcome};
use crate::limit::decision::{Outcome, Ruling};
use crate::limit::{Check, Clock, Limit, OnStoreError, Provenance, Standing, Verdict};
use crate::store::redis::FaultKind;

/// What has become of a request so far, server by server.
#[derive(Default)]
struct Progress {
    /// What was decided, and how it stands since where a server told.
    outcomes: Vec<(Outcome, Option<Standing>)>,
    /// Checks without an answer.
    unanswered: Vec<usize>,
    /// Those of them that may have been charged all the same.
    unsure: Vec<usize>,
    asked: bool,
}

// === impl Limiter ===

impl<C: Clock> Limiter<C> {
    /// Decides checks, part by part as they may be in one call, within `left`. What nobody can be
    /// asked about at this moment is decided here, and first: who is refused for it costs no server
    /// anything.
    pub(super) async fn apart(
        &self,
        shared: &Shared,
        checks: &[Check],
        parts: &[Vec<usize>],
        left: Duration,
    ) -> Verdict {
        let sent = self.clock.now();
        let can_be_asked = |part: &&Vec<usize>| {
            part.first().is_some_and(|place| shared.redis.is_reachable(checks[*place].key.as_str()))
        };
        let (there, away): (Vec<&Vec<usize>>, Vec<&Vec<usize>>) =
            parts.iter().partition(can_be_asked);
        let mut progress = Progress::default();
        let away: Vec<usize> = away.into_iter().flatten().copied().collect();
        if !away.is_empty() {
            let verdict = self.without_store(checks, &away);
            if verdict.ruling != Ruling::Pass {
                return verdict;
            }
            progress.take(verdict);
        }
        self.ask_all(shared, checks, &there, left, &mut progress).await;
        let mut closed = None;
        // Who is denied already is not charged here as well. But rule 8 comes first.
        let refuses = |place: &usize| {
            let policy = &checks[*place].policy;
            policy.enforced() && policy.on_store_error == OnStoreError::Deny
        };
        let is_closed = progress.unanswered.iter().any(refuses);
        if is_closed || !progress.unanswered.is_empty() && !progress.is_denied() {
            let verdict = self.without_store(checks, &progress.unanswered);
            if verdict.ruling == Ruling::Unavailable {
                closed = Some(verdict);
            } else {
                progress.take(verdict);
            }
        }
        let mut unsure = std::mem::take(&mut progress.unsure);
        if closed.is_some() || progress.is_denied() {
            self.give_back(checks, &mut progress, &mut unsure);
        }
        let asked = progress.asked;
        let mut verdict = closed.unwrap_or_else(|| progress.verdict());
        verdict.store_time = asked.then(|| self.clock.now().since(sent));
        verdict.unsure = unsure;
        verdict
    }

    /// Has each part decided by its server.
    async fn ask_all(
        &self,
        shared: &Shared,
        checks: &[Check],
        parts: &[&Vec<usize>],
        left: Duration,
        progress: &mut Progress,
    ) {
        let sent = self.clock.now();
        let calls = parts.iter().map(|places| async move {
            let mine: Vec<Check> = places.iter().map(|place| checks[*place].clone()).collect();
            let answer = shared.redis.decide(&mine, left).await;
            (*places, mine, answer)
        });
        for (places, mine, answer) in join_all(calls).await {
            match answer {
                Ok(answer) => {
                    let (decisions, standings) = self.learn(shared, &mine, answer, sent);
                    let each = places.iter().zip(&mine).zip(decisions).zip(standings);
                    progress.outcomes.extend(each.map(|(((place, check), decision), standing)| {
                        (outcome(*place, check, decision, Provenance::Redis), Some(standing))
                    }));
                    progress.asked = true;
                }
                Err(fault) => {
                    progress.unanswered.extend(places);
                    progress.asked |= fault.kind() != FaultKind::Away;
                    // A server that sends a call elsewhere has not carried it out.
                    if !matches!(fault.kind(), FaultKind::Away | FaultKind::Moved) {
                        progress.unsure.extend(places);
                    }
                }
            }
        }
    }

    /// Gives back what a refused request has taken, each once. Permits come back when the request
    /// lets go of them, so the server that counts them is to be told.
    fn give_back(&self, checks: &[Check], progress: &mut Progress, unsure: &mut Vec<usize>) {
        for (outcome, standing) in &mut progress.outcomes {
            let check = &checks[outcome.check];
            if outcome.decision.receipt.is_none() {
                continue;
            }
            if matches!(check.policy.limit, Limit::Concurrency(_)) {
                outcome.decision.receipt = None;
                if outcome.provenance == Provenance::Redis {
                    unsure.push(outcome.check);
                }
                continue;
            }
            let (decision, given) = outcome.decision.given_back(check, standing.as_mut());
            outcome.decision = decision;
            if let Some(given) = given {
                self.settle_for(Reason::Denied, given, outcome.provenance);
            }
        }
    }
}

// === impl Progress ===

impl Progress {
    fn take(&mut self, verdict: Verdict) {
        self.outcomes.extend(verdict.outcomes.into_iter().map(|outcome| (outcome, None)));
    }

    fn is_denied(&self) -> bool {
        self.outcomes.iter().any(|(outcome, _)| outcome.denies())
    }

    fn verdict(self) -> Verdict {
        let mut outcomes: Vec<Outcome> = self.outcomes.into_iter().map(|(one, _)| one).collect();
        outcomes.sort_by_key(|outcome| outcome.check);
        Verdict::new(outcomes)
    }
}
