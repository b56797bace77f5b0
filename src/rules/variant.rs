//! A policy as the rules apply it: which limit holds for whom, and for whom it is enforced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::calendar::Periods;
use super::partition::Partition;
use super::present::Present;
use super::statuses::Statuses;
use crate::limit::{Mode, Policy, Timestamp};

/// How far limits are enforced at all: an operator's way to try them out, and the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Enforcement {
    /// Nothing is counted and nothing refused.
    Off,
    /// Everything is counted and nothing refused.
    Shadow,
    /// Each policy does what it says.
    Full,
}

/// A policy, what divides its quota, and the limits that it has for some.
#[derive(Clone, Debug)]
pub struct PartitionedPolicy {
    /// The limit of those whom nothing below names.
    pub own: Variant,
    /// What divides its quota between clients.
    pub partition: Partition,
    /// The limits of tiers, by name.
    pub tiers: BTreeMap<String, Variant>,
    /// The limits of single partition keys, by subject.
    pub overrides: HashMap<String, Variant>,
    /// The ban of those who go on being denied, if there is one: a policy beside this one, with its
    /// id and its name. All of its limits share it.
    pub ban: Option<Arc<Policy>>,
    /// Of a hundred keys, for how many it is enforced; for the others it is in shadow mode.
    pub enforce_percent: u8,
    /// The answers that it counts; `None`: every request, whatever its answer.
    pub failures: Option<Arc<Statuses>>,
}

/// Which of a policy's limits applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// Its own.
    Own,
    /// That of a tier.
    Tier(&'a str),
    /// That of a single key.
    Override,
}

/// One of a policy's limits. All of them count on the same keys, so that who changes the tier goes
/// on with what has been used.
#[derive(Clone, Debug)]
pub struct Variant {
    as_written: Present,
    shadow: Present,
}

// === impl Variant ===

impl Variant {
    /// The limit of `policy`; a calendar's with the periods that it is counted in.
    pub fn new(policy: Policy, periods: Option<Periods>) -> Self {
        let shadow = Policy { mode: Mode::Shadow, ..policy.clone() };
        let shadow = Present::new(shadow, periods.clone());
        Self { as_written: Present::new(policy, periods), shadow }
    }

    /// The policy with this limit, as the file says it; of a calendar in whatever period.
    pub const fn policy(&self) -> &Arc<Policy> {
        self.as_written.as_written()
    }

    /// The periods of a calendar.
    pub fn periods(&self) -> Option<&Periods> {
        self.as_written.periods()
    }
}

// === impl PartitionedPolicy ===

impl PartitionedPolicy {
    /// A policy with the limit `own` for all.
    pub fn new(own: Variant, partition: Partition) -> Self {
        Self {
            own,
            partition,
            tiers: BTreeMap::new(),
            overrides: HashMap::new(),
            ban: None,
            enforce_percent: 100,
            failures: None,
        }
    }

    /// The policy at `now` for a request of `tier` that counts as `subject`: an override beats a
    /// tier beats the policy's own limit.
    pub fn applied(
        &self,
        subject: &str,
        tier: Option<&str>,
        enforcement: Enforcement,
        now: Timestamp,
    ) -> Arc<Policy> {
        let tier = || tier.and_then(|tier| self.tiers.get(tier));
        let variant = self.overrides.get(subject).or_else(tier).unwrap_or(&self.own);
        let enforced = enforcement == Enforcement::Full && self.enforced_for(subject);
        if enforced { variant.as_written.at(now) } else { variant.shadow.at(now) }
    }

    /// Which of its limits `policy` is.
    pub fn which(&self, policy: &Policy) -> Which<'_> {
        let is = |variant: &Variant| variant.policy().variant == policy.variant;
        if let Some((name, _)) = self.tiers.iter().find(|(_, variant)| is(variant)) {
            return Which::Tier(name);
        }
        if self.overrides.values().any(is) { Which::Override } else { Which::Own }
    }

    /// Days or months, and by whose clock, if `policy` is a calendar among its limits.
    pub fn periods(&self, policy: &Policy) -> Option<&Periods> {
        let is = |variant: &&Variant| variant.policy().variant == policy.variant;
        self.variants().find(is).and_then(Variant::periods)
    }

    /// All of its limits.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.own).chain(self.tiers.values()).chain(self.overrides.values())
    }

    /// Whether a key is among those for which the policy is enforced: the same on every gateway,
    /// and still so when the share grows. Each policy picks keys of its own.
    fn enforced_for(&self, subject: &str) -> bool {
        if self.enforce_percent >= 100 {
            return true;
        }
        let mut hash = Sha256::new();
        hash.update(self.own.policy().name.as_bytes());
        // A name holds no zero byte, so no two pairs hash the same text.
        hash.update([0]);
        hash.update(subject.as_bytes());
        let digest = hash.finalize();
        let number =
            digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        number % 100 < u32::from(self.enforce_percent)
    }
}

// === impl Enforcement ===

impl Enforcement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Shadow, Self::Full];

    /// Its name in the file, the readiness report and the logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Full => "enforce",
        }
    }

    /// Its number in the metric: 0 off, 1 shadow, 2 enforce.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::sliding_window::SlidingWindow;
    use crate::limit::{Limit, Micros, OnStoreError, Quota};

    fn policy(name: &str, percent: u8) -> PartitionedPolicy {
        let limit = SlidingWindow::new(Quota::new(1, Micros::SECOND).unwrap(), 64).unwrap();
        let policy = Policy {
            id: 0,
            generation: 0,
            variant: 0,
            name: name.to_owned(),
            limit: Limit::SlidingWindow(limit),
            mode: Mode::Enforce,
            on_store_error: OnStoreError::Local,
        };
        let mut policy = PartitionedPolicy::new(Variant::new(policy, None), Partition::default());
        policy.enforce_percent = percent;
        policy
    }

    fn applied(policy: &PartitionedPolicy, subject: &str, enforcement: Enforcement) -> bool {
        policy.applied(subject, None, enforcement, Timestamp::EPOCH).enforced()
    }

    fn enforced(name: &str, percent: u8) -> Vec<bool> {
        let policy = policy(name, percent);
        let subjects = (0..10_000).map(|number| format!("192.0.2.{number}"));
        subjects.map(|s| applied(&policy, &s, Enforcement::Full)).collect()
    }

    #[test]
    fn a_share_of_the_keys_is_enforced_and_stays_so_when_it_grows() {
        let (few, more) = (enforced("p", 10), enforced("p", 50));
        let count = |share: &[bool]| share.iter().filter(|enforced| **enforced).count();
        assert!((900..1_100).contains(&count(&few)), "{}", count(&few));
        assert!((4_800..5_200).contains(&count(&more)), "{}", count(&more));
        assert!(few.iter().zip(&more).all(|(before, after)| !before || *after));
        assert_eq!((count(&enforced("p", 0)), count(&enforced("p", 100))), (0, 10_000));
    }

    #[test]
    fn each_policy_picks_its_own_keys() {
        let both = enforced("p", 50).into_iter().zip(enforced("q", 50));
        let agree = both.filter(|(a, b)| a == b).count();
        assert!((4_700..5_300).contains(&agree), "{agree}");
    }

    #[test]
    fn nothing_is_enforced_in_shadow_mode() {
        let policy = policy("p", 100);
        assert!(applied(&policy, "x", Enforcement::Full));
        assert!(!applied(&policy, "x", Enforcement::Shadow));
    }
}
