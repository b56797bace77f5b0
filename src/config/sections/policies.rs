//! `[policies.NAME]`.

mod answer;
mod calendar;
mod failures;
mod key;
mod limit;
mod partition;
mod penalty;
mod variants;

use std::sync::Arc;

use super::Definition;
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::config::{PartitionedPolicy, PolicyAnswer, Response};
use crate::limit::{Limit, Mode, OnStoreError, Policy};
use crate::rules::variant::Variant;

pub(super) use variants::Sources;

/// Reads all policies, and how each of them refuses; `sources` says what is known of clients,
/// `general` how policies refuse that say nothing of it.
pub(super) fn policies(
    root: &mut Section<'_>,
    generation: u64,
    sources: &Sources,
    general: &Response,
) -> (Vec<Definition<PartitionedPolicy>>, Vec<PolicyAnswer>) {
    let named = root.named("policies").unwrap_or_default();
    let read = |(id, mut named): (usize, Named<'_>)| {
        let answer = answer::answer(&mut named.section, general);
        (policy(named, id, generation, sources), answer)
    };
    named.into_iter().enumerate().map(read).unzip()
}

fn policy(
    named: Named<'_>,
    id: usize,
    generation: u64,
    sources: &Sources,
) -> Definition<PartitionedPolicy> {
    let Named { name, mut section } = named;
    let span = section.span().clone();
    let limit = limit::limit(&mut section);
    let partition = partition::partition(&mut section, sources.user);
    let on_store_error = [
        ("local", OnStoreError::Local),
        ("allow", OnStoreError::Allow),
        ("deny", OnStoreError::Deny),
    ];
    let on_store_error = section.word("on_store_error", &on_store_error);
    let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
    let mode = section.word("mode", &modes).unwrap_or(Mode::Enforce);
    let enforce_percent = enforce_percent(&mut section, mode);
    let held = limit.as_ref().is_some_and(|((limit, _), _)| matches!(limit, Limit::Concurrency(_)));
    let failures = failures::failures(&mut section, held);
    let written = limit.as_ref().map(|(_, written)| written.clone());
    let differing = variants::differing(&mut section, written, &partition, sources);
    let bans = section.table("penalty");
    if bans.is_there() && !partition.divides_clients() {
        let mistake = Mistake::new("one client can have others banned")
            .help("add `ip` or `user` to the `partition`: a ban concerns a partition key");
        section.reader().warn(bans.span(), mistake);
    }
    let ban = penalty::penalty(bans);
    section.finish();
    let meaning = limit.map(|((limit, periods), _)| {
        let policy = Policy {
            id,
            generation,
            variant: 0,
            name: name.clone(),
            limit,
            mode,
            on_store_error: on_store_error.unwrap_or(OnStoreError::Local),
        };
        let ban = ban.map(|ban| Policy { limit: Limit::Ban(ban), ..policy.clone() });
        let mut limited = PartitionedPolicy::new(Variant::new(policy, periods), partition);
        limited.enforce_percent = enforce_percent;
        limited.ban = ban.map(Arc::new);
        limited.failures = failures;
        differing.put_into(&mut limited);
        limited
    });
    Definition { name, span, meaning }
}

fn enforce_percent(section: &mut Section<'_>, mode: Mode) -> u8 {
    let percent = section.integer("enforce_percent", 0..=100);
    if percent.is_some() && mode == Mode::Shadow {
        let mistake = Mistake::new("a policy in shadow mode is enforced for nobody")
            .help("leave out `mode` or `enforce_percent`");
        section.error(&section.key_span("enforce_percent"), mistake);
    }
    percent.and_then(|percent| percent.try_into().ok()).unwrap_or(100)
}
