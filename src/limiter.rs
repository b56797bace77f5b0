//! DECIDE: the deny cache, then the shared store in one call, else without it.
//!
//! [`Limiter::decide`] always answers, within the one `store.timeout` of a request, which its
//! look-ups ([`Asking`]) share. What happens when Redis is away is policy, so it is settled
//! here and recorded as provenance, never returned as an error.

mod apart;
mod asking;
mod holding;
mod penalties;
mod settling;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use crate::limit::decision::Outcome;
use crate::limit::{
    Check, Clock, Decision, Key, Micros, OnStoreError, Provenance, Standing, Timestamp, Verdict,
};
use crate::store::answers::AnswerCache;
use crate::store::deny_cache::{DenyCache, Known, Turn};
use crate::store::local::LocalStore;
use crate::store::redis::{FaultKind, RedisStore};
use crate::store::script::Answer;

pub use asking::{Asking, Guard};
pub use holding::Holding;
use penalties::Penalties;
use settling::Settling;
pub use settling::{Fate, Reason};

/// The decision path over the stores.
#[derive(Debug)]
pub struct Limiter<C> {
    shared: Option<Shared>,
    local: Arc<LocalStore>,
    clock: C,
    /// 0: as many as were last counted.
    expected_instances: AtomicU64,
    penalties: Penalties,
    settling: Settling,
}

/// Whether Redis is to be asked.
enum Admission<'a> {
    /// Yes; nobody else asks about what these are about.
    Ask(Vec<Turn<'a>>),
    /// No: a denial is remembered.
    Denied(Verdict),
    /// No: somebody else has asked and not been answered.
    InVain,
}

/// The shared store and what is remembered of its denials.
#[derive(Debug)]
pub struct Shared {
    /// The store.
    pub redis: Arc<RedisStore>,
    /// Its denials.
    pub deny_cache: DenyCache,
    /// Its answers about sessions and revocations.
    pub answers: AnswerCache,
}

// === impl Limiter ===

impl<C: Clock> Limiter<C> {
    /// A limiter over `shared`, falling back to `local`; without `shared`, over `local` alone.
    ///
    /// `local` takes this gateway's share of every quota: one of `expected_instances`, or else of
    /// as many as were last counted.
    pub fn new(
        shared: Option<Shared>,
        local: LocalStore,
        clock: C,
        expected_instances: Option<u64>,
    ) -> Self {
        Self {
            shared,
            local: Arc::new(local),
            clock,
            expected_instances: AtomicU64::new(expected_instances.unwrap_or_default()),
            penalties: Penalties::default(),
            settling: Settling::new(),
        }
    }

    /// Look-ups for one request, whose answers are used again for `longest`. Before the first one
    /// `guard` is asked whether the request is refused anyway.
    pub const fn asking<'a>(&'a self, longest: Micros, guard: &'a Guard<'a>) -> Asking<'a, C> {
        Asking::new(self, longest, guard)
    }

    /// The verdict on a request that has to pass at least `checks`, if a denial of one is
    /// remembered.
    pub fn remembered(&self, checks: &[Check]) -> Option<Verdict> {
        let shared = self.shared.as_ref()?;
        let now = self.clock.now();
        let enforced = checks.iter().enumerate().filter(|(_, check)| check.policy.enforced());
        let denied = enforced.filter_map(|(place, check)| {
            let decision = shared.deny_cache.denial(check, now)?;
            Some(outcome(place, check, decision, Provenance::DenyCache))
        });
        let denied: Vec<Outcome> = denied.collect();
        let verdict = (!denied.is_empty()).then(|| Verdict::new(denied))?;
        self.penalties.note(checks, &verdict);
        Some(verdict)
    }

    /// Decides all checks of one request, all or nothing. `began` is when the request first waited
    /// for Redis, if it has: what that took is taken from the time that is left.
    pub async fn decide(&self, checks: &[Check], began: Option<Timestamp>) -> Verdict {
        let verdict = self.ask(checks, began).await;
        self.penalties.note(checks, &verdict);
        verdict
    }

    async fn ask(&self, checks: &[Check], began: Option<Timestamp>) -> Verdict {
        if checks.is_empty() {
            return Verdict::new(Vec::new());
        }
        let Some(shared) = &self.shared else {
            return Verdict::new(self.locally(checks));
        };
        let began = began.unwrap_or_else(|| self.clock.now());
        let turns = match shared.turns(checks, &self.clock, began).await {
            Admission::Ask(turns) => turns,
            Admission::Denied(verdict) => return verdict,
            Admission::InVain => return self.without_store(checks, &all(checks)),
        };
        let sent = self.clock.now();
        // Waiting for somebody else's answer is part of the one timeout.
        let left = shared.left(began, sent);
        if left.is_zero() {
            return self.without_store(checks, &all(checks));
        }
        let keys = || checks.iter().map(|check| check.key.as_str());
        let verdict = if shared.redis.are_together(keys()) {
            self.together(shared, checks, left).await
        } else {
            self.apart(shared, checks, &shared.redis.groups(keys()), left).await
        };
        drop(turns);
        verdict
    }

    /// Decides all checks in one call.
    async fn together(&self, shared: &Shared, checks: &[Check], left: Duration) -> Verdict {
        let sent = self.clock.now();
        let fault = match shared.redis.decide(checks, left).await {
            Ok(answer) => {
                let decisions = self.learn(shared, checks, answer, sent).0;
                let mut verdict = Verdict::new(outcomes(checks, decisions, Provenance::Redis));
                verdict.store_time = Some(self.clock.now().since(sent));
                return verdict;
            }
            Err(fault) => fault,
        };
        let mut verdict = self.without_store(checks, &all(checks));
        if fault.kind() != FaultKind::Away {
            verdict.store_time = Some(self.clock.now().since(sent));
            verdict.unsure = all(checks);
        }
        verdict
    }

    /// Keeps the shared store connected, if there is one, and carries out what is to be settled
    /// there, for as long as the process runs.
    pub async fn supervise(&self) {
        if let Some(shared) = &self.shared {
            let keeping = shared.redis.keep(self.local.permits());
            tokio::join!(shared.redis.supervise(&self.local), self.keep_settling(shared), keeping);
        }
    }

    /// The present moment by the clock of the store: Redis' as last met, or without one this
    /// process'.
    pub fn now(&self) -> Timestamp {
        self.shared.as_ref().map_or_else(|| self.clock.now(), |shared| shared.redis.now())
    }

    /// The same by the clock of the server that has `key`.
    fn now_of(&self, key: &Key) -> Timestamp {
        self.shared.as_ref().map_or_else(|| self.clock.now(), |shared| shared.redis.now_of(key))
    }

    /// Gateways that share the quotas when each decides by itself.
    pub fn instances(&self) -> u64 {
        let counted = || self.shared.as_ref().map_or(1, |shared| shared.redis.instances());
        match self.expected_instances.load(Ordering::Relaxed) {
            0 => counted(),
            expected => expected,
        }
    }

    /// What a reload may change of the stores: the longest wait of a decision, how long a denial is
    /// remembered, and how many gateways share the quotas. Nothing that is remembered is lost.
    pub fn adjust(&self, timeout: Duration, deny_cache: Micros, expected_instances: Option<u64>) {
        if let Some(shared) = &self.shared {
            shared.redis.set_timeout(timeout);
            shared.deny_cache.set_remembered(deny_cache);
        }
        self.expected_instances.store(expected_instances.unwrap_or_default(), Ordering::Relaxed);
    }

    /// The shared store, for those who watch over it.
    pub fn redis(&self) -> Option<&Arc<RedisStore>> {
        self.shared.as_ref().map(|shared| &shared.redis)
    }

    /// States in the local store.
    pub fn local_entries(&self) -> usize {
        self.local.len()
    }

    /// Decides `checks` in the local store, each by the clock that its state goes by.
    fn locally(&self, checks: &[Check]) -> Vec<Outcome> {
        let clock = |check: &Check| self.now_of(&check.key);
        let decisions = self.local.decide_by(checks, clock, self.instances());
        outcomes(checks, decisions, Provenance::Local)
    }

    /// Remembers what the shared store told: its denials, and every state, so that a share is one
    /// of what is left. Returns its decisions, and how each check stands since.
    fn learn(
        &self,
        shared: &Shared,
        checks: &[Check],
        mut answer: Answer,
        sent: Timestamp,
    ) -> (Vec<Decision>, Vec<Standing>) {
        self.local.learn(checks, &answer.standings, answer.now);
        let decisions = answer.decisions.pop().unwrap_or_default();
        for (check, decision) in checks.iter().zip(&decisions) {
            if check.policy.enforced() && !decision.allowed && check.policy.limit.denies_lastingly()
            {
                shared.deny_cache.remember(check, *decision, sent);
            }
        }
        (decisions, answer.standings)
    }

    /// Rule 8, for the checks at `places`: if an enforced policy says `deny`, the request is refused
    /// and nothing is charged; else all `local` ones are decided together and `allow` ones are left
    /// out. Shadow policies that say otherwise than `local` keep silent: they never act on a store
    /// failure. The outcomes stand with the local ones first.
    fn without_store(&self, checks: &[Check], places: &[usize]) -> Verdict {
        let who_say = |what: OnStoreError, enforced_only: bool| {
            let each = places.iter().map(|place| (*place, &checks[*place]));
            each.filter(move |(_, check)| {
                check.policy.on_store_error == what && (!enforced_only || check.policy.enforced())
            })
        };
        if who_say(OnStoreError::Deny, true).next().is_some() {
            let closed = who_say(OnStoreError::Deny, true);
            return Verdict::unavailable(stateless(closed, false, Provenance::FailClosed));
        }
        let (places, local): (Vec<usize>, Vec<Check>) = who_say(OnStoreError::Local, false)
            .map(|(place, check)| (place, check.clone()))
            .unzip();
        let mut outcomes = self.locally(&local);
        for (outcome, place) in outcomes.iter_mut().zip(places) {
            outcome.check = place;
        }
        outcomes.extend(stateless(who_say(OnStoreError::Allow, true), true, Provenance::FailOpen));
        Verdict::new(outcomes)
    }
}

// === impl Shared ===

impl Shared {
    /// What is left at `now` of the time of a request that began to wait at `began`.
    fn left(&self, began: Timestamp, now: Timestamp) -> Duration {
        self.redis.timeout().saturating_sub(now.since(began).into())
    }

    /// The right to ask Redis about `checks`, or the verdict if a denial of an enforced policy is
    /// remembered; it speaks of those policies only. Of the requests that meet an ended denial one
    /// asks, and the others wait for its answer: once, and no longer than is left to them.
    async fn turns(&self, checks: &[Check], clock: &impl Clock, began: Timestamp) -> Admission<'_> {
        let mut may_wait = true;
        loop {
            let now = clock.now();
            let (mut denied, mut turns, mut asked) = (Vec::new(), Vec::new(), None);
            let enforced = checks.iter().enumerate().filter(|(_, check)| check.policy.enforced());
            for (place, check) in enforced {
                match self.deny_cache.know(check, now) {
                    Known::Denied(d) => {
                        denied.push(outcome(place, check, d, Provenance::DenyCache));
                    }
                    Known::Ended(turn) => turns.push(turn),
                    Known::Asked(answered) => asked = Some(answered),
                    Known::Nothing => {}
                }
            }
            if !denied.is_empty() {
                return Admission::Denied(Verdict::new(denied));
            }
            let Some(answered) = asked.filter(|_| may_wait) else { return Admission::Ask(turns) };
            // Nobody waits while others wait for them.
            drop(turns);
            // Closed when the answer is there: an error is what is waited for.
            if timeout(self.left(began, now), answered.acquire()).await.is_err() {
                return Admission::InVain;
            }
            may_wait = false;
        }
    }
}

fn outcomes(checks: &[Check], decisions: Vec<Decision>, provenance: Provenance) -> Vec<Outcome> {
    let each = checks.iter().zip(decisions).enumerate();
    each.map(|(place, (check, decision))| outcome(place, check, decision, provenance)).collect()
}

/// The places of all checks.
fn all(checks: &[Check]) -> Vec<usize> {
    (0..checks.len()).collect()
}

fn stateless<'a>(
    checks: impl Iterator<Item = (usize, &'a Check)>,
    allowed: bool,
    provenance: Provenance,
) -> Vec<Outcome> {
    let decision = Decision::without_state(allowed);
    checks.map(|(place, check)| outcome(place, check, decision, provenance)).collect()
}

fn outcome(place: usize, check: &Check, decision: Decision, provenance: Provenance) -> Outcome {
    Outcome { check: place, policy: Arc::clone(&check.policy), decision, provenance }
}
