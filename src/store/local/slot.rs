//! What the local store keeps of one key: its state, what the shared store last said of it, and
//! what was charged here since.

use std::sync::Arc;

use crate::limit::{Check, Limit, Micros, Policy, Standing, State, Timestamp};
use crate::store::value::{Value, decode, encode, encode_charge};

/// A moment of the shared store that lies further back than this is a stepped clock, not an answer
/// that came late: no `store.timeout` is longer.
const LATE_MAX: Micros = Micros::new(10_000_000);

/// One key's state.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) fingerprint: u64,
    policy: Arc<Policy>,
    value: Value,
    /// Only beside a shared store.
    origin: Option<Origin>,
}

/// How the state stands to that of the shared store.
#[derive(Debug)]
struct Origin {
    key: Box<str>,
    seen_at: Timestamp,
    /// `None`: the state is the one that the shared store told.
    apart: Option<Box<Apart>>,
}

/// The state has been charged here.
#[derive(Debug)]
struct Apart {
    /// What the shared store last told or was told; `None`: nothing yet.
    seen: Option<Value>,
    /// The state from which on the shared store has not been told of charges.
    told: Option<Value>,
    /// Between how many gateways the quota was shared when they were made.
    among: u64,
}

/// Which keys are asked for.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// Those that the shared store told something of, or was told of, since then.
    Seen {
        /// By its own clock.
        since: Timestamp,
    },
    /// Those with charges that it has not been told of.
    Untold,
}

/// A key as the local store knows it, for the shared store to be told.
#[derive(Debug)]
pub struct Known {
    /// Its name.
    pub key: Box<str>,
    /// Its policy.
    pub policy: Arc<Policy>,
    pub(super) fingerprint: u64,
    seen: Option<State>,
    told: Option<State>,
    present: Option<State>,
    among: u64,
}

// === impl Slot ===

impl Slot {
    /// A slot for a key that nothing was known of, charged here.
    pub(super) fn charged(
        fingerprint: u64,
        check: &Check,
        value: Value,
        beside_shared: bool,
        among: u64,
    ) -> Self {
        let origin = beside_shared.then(|| Origin {
            key: check.key.as_str().into(),
            seen_at: Timestamp::EPOCH,
            apart: Some(Box::new(Apart { seen: None, told: None, among })),
        });
        Self { fingerprint, policy: Arc::clone(&check.policy), value, origin }
    }

    /// A slot for what the shared store told at `now`.
    pub(super) fn learned(fingerprint: u64, check: &Check, value: Value, now: Timestamp) -> Self {
        let origin = Origin { key: check.key.as_str().into(), seen_at: now, apart: None };
        Self { fingerprint, policy: Arc::clone(&check.policy), value, origin: Some(origin) }
    }

    /// How it stands under `limit`.
    pub(super) fn standing(&self, limit: &Limit, now: Timestamp) -> Standing {
        limit.read(decode(limit, &self.value).as_ref(), now)
    }

    /// Between how many gateways the quota is shared: as it was, for as long as the shared store
    /// has not been told of what was charged so.
    pub(super) fn among(&self, present: u64, now: Timestamp) -> u64 {
        let untold = self.untold().filter(|_| self.says_anything(now));
        untold.map_or(present, |apart| apart.among)
    }

    /// Takes the state after a charge at `now`.
    pub(super) fn charge(&mut self, check: &Check, value: Value, now: Timestamp, among: u64) {
        self.meet(&check.policy);
        let limit = &check.policy.limit;
        let before = std::mem::replace(&mut self.value, value);
        let Some(origin) = &mut self.origin else { return };
        // As it stands now: what the clock or the policy has changed in the old state is no charge.
        let present = |value: Option<&Value>, among| {
            let state = value.and_then(|value| decode(limit, value));
            encode(limit, &limit.among(among).read(state.as_ref(), now).state())
        };
        let Some(apart) = &mut origin.apart else {
            let told = present(Some(&before), among);
            origin.apart = Some(Box::new(Apart { seen: Some(before), told, among }));
            return;
        };
        let all_told = apart.told.as_ref() == Some(&before);
        apart.told = present(apart.told.as_ref(), apart.among);
        if all_told || apart.told == present(Some(&before), apart.among) {
            apart.among = among;
        }
    }

    /// Takes the state after some of it was given back. The shared store is told of no more charges
    /// by it, and of no fewer than it has to be.
    pub(super) fn give_back(&mut self, value: Value) {
        self.value = value;
    }

    /// Takes what the shared store told of this key at `now`, and charges to it what that store has
    /// not been told of. An answer from before the one that is known comes too late.
    pub(super) fn learn(&mut self, policy: &Arc<Policy>, shared: &Standing, now: Timestamp) {
        self.meet(policy);
        let limit = policy.limit;
        let Some(origin) = &mut self.origin else { return };
        let late = origin.seen_at.since(now);
        if late > Micros::ZERO && late < LATE_MAX {
            return;
        }
        origin.seen_at = now;
        let state = shared.state();
        let told = encode(&limit, &state);
        let apart = origin.apart.take().filter(|apart| apart.told.as_ref() != Some(&self.value));
        let Some(mut apart) = apart else {
            self.value = told.unwrap_or_default();
            return;
        };
        let share = limit.among(apart.among);
        let read = |value: &[u8]| share.read(decode(&limit, value).as_ref(), now);
        let before = read(apart.told.as_deref().unwrap_or_default());
        let present = share.read(Some(&state), now).carry(&before, &read(&self.value), 1);
        self.value = encode(&limit, &present.state()).unwrap_or_default();
        apart.seen.clone_from(&told);
        apart.told = told;
        origin.apart = Some(apart);
    }

    /// This key, if it is among what is asked for and `wanted`.
    pub(super) fn known(
        &self,
        what: What,
        now: Timestamp,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<Known> {
        let origin = self.origin.as_ref()?;
        let asked_for = match what {
            What::Seen { since } => origin.seen_at >= since,
            What::Untold => self.untold().is_some(),
        };
        if !asked_for || !wanted(&origin.key) || !self.says_anything(now) {
            return None;
        }
        let state = |value: &[u8]| decode(&self.policy.limit, value);
        let present = state(&self.value);
        let (seen, told, among) = match &origin.apart {
            Some(apart) => {
                let seen = apart.seen.as_deref().and_then(state);
                (seen, apart.told.as_deref().and_then(state), apart.among)
            }
            None => (present.clone(), present.clone(), 1),
        };
        Some(Known {
            key: origin.key.clone(),
            policy: Arc::clone(&self.policy),
            fingerprint: self.fingerprint,
            seen,
            told,
            present,
            among,
        })
    }

    /// The shared store was told of `known` at `now`, and holds `shared` since. What was charged
    /// here meanwhile it has not been told of. The state itself stays: until that store is asked
    /// again, nothing charged here is given back.
    pub(super) fn confirm(&mut self, known: &Known, shared: Option<&State>, now: Timestamp) {
        let limit = self.policy.limit;
        let Some(origin) = &mut self.origin else { return };
        let Some(apart) = &mut origin.apart else { return };
        // An answer from before does not know of it.
        origin.seen_at = origin.seen_at.max(now);
        let share = limit.among(apart.among);
        let told = apart.told.as_deref().and_then(|value| decode(&limit, value));
        let told = share.read(told.as_ref(), now).carry(
            &share.read(known.told.as_ref(), now),
            &share.read(known.present.as_ref(), now),
            1,
        );
        let same = known.present == decode(&limit, &self.value);
        apart.told = if same { Some(self.value.clone()) } else { encode(&limit, &told.state()) };
        apart.seen = shared.and_then(|state| encode(&limit, state));
    }

    fn says_anything(&self, now: Timestamp) -> bool {
        self.standing(&self.policy.limit, now).says_anything()
    }

    /// The share of the limit that is used, in millionths.
    pub(super) fn used_share(&self, now: Timestamp) -> u64 {
        self.standing(&self.policy.limit, now).used_share()
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        let value = |value: &Option<Value>| value.as_ref().map_or(0, |value| value.len());
        let origin = self.origin.as_ref().map_or(0, |origin| {
            let apart = origin.apart.as_ref();
            let apart = apart.map_or(0, |a| size_of::<Apart>() + value(&a.seen) + value(&a.told));
            origin.key.len() + apart
        });
        self.value.len() + origin
    }

    fn untold(&self) -> Option<&Apart> {
        let apart = self.origin.as_ref()?.apart.as_deref()?;
        (apart.told.as_ref() != Some(&self.value)).then_some(apart)
    }

    /// The policy may have been loaded anew.
    fn meet(&mut self, policy: &Arc<Policy>) {
        if !Arc::ptr_eq(&self.policy, policy) {
            self.policy = Arc::clone(policy);
        }
    }
}

// === impl Known ===

impl Known {
    /// What the shared store is to hold, if it holds `stored` now, to have forgotten nothing: never
    /// less than it has told.
    pub fn seen_beside(&self, stored: Option<&State>, now: Timestamp) -> Standing {
        let limit = self.policy.limit;
        limit.read(stored, now).worse(&limit.read(self.seen.as_ref(), now))
    }

    /// What was charged here since, as a charge to the shared store.
    pub fn charged(&self, now: Timestamp) -> Standing {
        let limit = self.policy.limit;
        let share = limit.among(self.among);
        limit.read(None, now).carry(
            &share.read(self.told.as_ref(), now),
            &share.read(self.present.as_ref(), now),
            self.among,
        )
    }

    /// And what it is to hold to have been told everything: besides, what was charged here since.
    pub fn on_top_of(&self, stored: Option<&State>, now: Timestamp) -> Standing {
        let nothing = self.policy.limit.read(None, now);
        self.seen_beside(stored, now).carry(&nothing, &self.charged(now), 1)
    }

    /// What the shared store once told, as restore.lua takes it.
    pub fn seen_bytes(&self) -> Value {
        let seen = self.seen.as_ref();
        seen.and_then(|state| encode(&self.policy.limit, state)).unwrap_or_default()
    }

    /// What was charged here since, as restore.lua takes it.
    pub fn charged_bytes(&self, now: Timestamp) -> Value {
        encode_charge(&self.policy.limit, &self.charged(now))
    }
}
