//! `[policies.NAME.tiers.TIER]` and `[[policies.NAME.overrides]]`: the limits that a policy has for
//! some clients.

use std::collections::{BTreeSet, HashSet};

use super::key;
use super::limit::{self, Timed, Written};
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::limit::Policy;
use crate::request::Spelling;
use crate::rules::partition::{Partition, Word};
use crate::rules::variant::{PartitionedPolicy, Variant};

/// Most overrides of a policy.
const OVERRIDES_MAX: usize = 10_000;

/// What is known of clients.
pub(in crate::config::sections) struct Sources {
    /// Whether anything tells who the user of a request is.
    pub(in crate::config::sections) user: bool,
    /// Whether anything tells the user's tier.
    pub(in crate::config::sections) tier: bool,
    /// The patterns of the routes; `None` if not all of them are known.
    pub(in crate::config::sections) routes: Option<BTreeSet<String>>,
    /// Bits of an IPv4 address that make a client.
    pub(in crate::config::sections) ipv4_prefix: u8,
    /// Bits of an IPv6 address that make a client.
    pub(in crate::config::sections) ipv6_prefix: u8,
    /// How paths are spelled.
    pub(in crate::config::sections) spelling: Spelling,
}

/// The limits of a policy besides its own.
#[derive(Default)]
pub(super) struct Differing {
    tiers: Vec<(String, Timed)>,
    overrides: Vec<(String, Timed)>,
}

// === impl Differing ===

impl Differing {
    /// Adds them to the policy that has them.
    pub(super) fn put_into(self, limited: &mut PartitionedPolicy) {
        let own = Policy::clone(limited.own.policy());
        let mut number = own.variant;
        let mut variant = |(limit, periods): Timed| {
            number += 1;
            Variant::new(Policy { variant: number, limit, ..own.clone() }, periods)
        };
        limited.tiers =
            self.tiers.into_iter().map(|(name, limit)| (name, variant(limit))).collect();
        limited.overrides =
            self.overrides.into_iter().map(|(subject, limit)| (subject, variant(limit))).collect();
    }
}

/// Reads both; without `own`, which has a mistake, only to find theirs.
pub(super) fn differing(
    section: &mut Section<'_>,
    own: Option<Written>,
    partition: &Partition,
    sources: &Sources,
) -> Differing {
    let mut differing = Differing::default();
    let own = own.unwrap_or_default();
    for Named { name, section: mut tier } in section.named("tiers").unwrap_or_default() {
        if !sources.tier {
            let mistake = Mistake::new("nothing tells which tier a user has")
                .help("name where it stands: `tier` in a section of `[identity]`");
            tier.error(tier.span(), mistake);
        }
        let own_window = ["window", "time_zone"].into_iter().find(|key| tier.has(key));
        let two = own.has_windows() && !partition.words().contains(&Word::User);
        if let Some(key) = own_window.filter(|_| two) {
            let mistake = Mistake::new("one key would be counted in two windows")
                .help("add `user` to the `partition`, or give the tier the policy's own window");
            tier.error(&tier.key_span(key), mistake);
        }
        differing.tiers.extend(limit::differing(&mut tier, &own).map(|limit| (name, limit)));
        tier.finish();
    }
    let mut seen = HashSet::new();
    for mut section in section.tables("overrides", OVERRIDES_MAX).unwrap_or_default() {
        let subject = key::subject(&mut section, partition, sources);
        let limit = limit::differing(&mut section, &own);
        if let Some(subject) = subject {
            if !seen.insert(subject.clone()) {
                let mistake =
                    Mistake::new("another override is for the same key").help("remove one of them");
                section.error(&section.span_of("key"), mistake);
            }
            differing.overrides.extend(limit.map(|limit| (subject, limit)));
        }
        section.finish();
    }
    differing
}
