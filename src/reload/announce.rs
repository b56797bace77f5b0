//! What a reload does to limits (rule 9): which policies start anew, since their keys have other
//! names now, and which go on with other numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Config, spell_duration};
use crate::limit::Limit;
use crate::rules::PartitionedPolicy;
use crate::rules::variant::Variant;

/// Policies that one line of the log names; the reply of `/reload` names them all.
const NAMED_MAX: usize = 20;

/// What is to be told of policies, each with its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Those whose counts start anew, and why.
    pub(super) anew: Vec<String>,
    /// Those whose counts stay and stand against other limits.
    pub(super) changed: Vec<String>,
}

// === impl Told ===

impl Told {
    /// What changes when `new` comes after `old`. A policy that has come or gone is no change.
    pub(super) fn of(old: &Config, new: &Config) -> Self {
        let name = |policy: &PartitionedPolicy| policy.own.policy().name.clone();
        let before: BTreeMap<String, &PartitionedPolicy> =
            old.policies.iter().map(|policy| (name(policy), policy)).collect();
        let mut told = Self::default();
        for policy in &new.policies {
            let Some(before) = before.get(&name(policy)) else { continue };
            let why = starts_anew(before, policy).or_else(|| told_apart(old, new, policy));
            if let Some(why) = why {
                told.anew.push(format!("{}: {why}", name(policy)));
                continue;
            }
            let changes = changes(before, policy);
            if !changes.is_empty() {
                told.changed.push(format!("{}: {}", name(policy), changes.join("; ")));
            }
        }
        told
    }

    /// Writes both to the log.
    pub(super) fn log(&self) {
        if !self.anew.is_empty() {
            tracing::warn!(policies = some(&self.anew), "the counts of policies start anew");
        }
        if !self.changed.is_empty() {
            tracing::info!(
                policies = some(&self.changed),
                "limits have changed: the counts stay, and stand against the new ones"
            );
        }
    }
}

/// As many as a line takes.
fn some(policies: &[String]) -> String {
    let named = policies.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match policies.len().checked_sub(NAMED_MAX) {
        None | Some(0) => named,
        Some(more) => format!("{named}, and {more} more"),
    }
}

/// Why the keys of a policy have other names than before.
fn starts_anew(old: &PartitionedPolicy, new: &PartitionedPolicy) -> Option<String> {
    let algorithm = |policy: &PartitionedPolicy| policy.own.policy().limit;
    let (before, after) = (algorithm(old), algorithm(new));
    if before.letter() != after.letter() {
        return Some(format!("its algorithm was {} and is {}", before.name(), after.name()));
    }
    (old.partition != new.partition).then(|| {
        let (before, after) = (divided(old), divided(new));
        format!("its partition was {before} and is {after}")
    })
}

/// Why the clients or paths that a policy tells apart are others than before.
fn told_apart(old: &Config, new: &Config, policy: &PartitionedPolicy) -> Option<String> {
    let by = |word: &str| policy.partition.words().iter().any(|own| own.to_string() == word);
    let prefixes = |config: &Config| (config.client.ipv4_prefix, config.client.ipv6_prefix);
    if by("ip") && prefixes(old) != prefixes(new) {
        return Some("`ipv4_prefix` or `ipv6_prefix` of `[client]` is another".to_owned());
    }
    (by("path") && old.request.spelling != new.request.spelling)
        .then(|| "paths are spelled in another way by `[request]`".to_owned())
}

fn divided(policy: &PartitionedPolicy) -> String {
    let words: Vec<String> = policy.partition.words().iter().map(ToString::to_string).collect();
    format!("[{}]", words.join(", "))
}

/// What is different about the limits of a policy.
fn changes(old: &PartitionedPolicy, new: &PartitionedPolicy) -> Vec<String> {
    let mut changes = Vec::new();
    let mut compare = |whose: &str, before: &Variant, after: &Variant| {
        let (before, after) = (described(before), described(after));
        if before != after {
            changes.push(format!("{whose}{before} is {after}"));
        }
    };
    compare("", &old.own, &new.own);
    for (name, after) in &new.tiers {
        // Who had no limit of his own had that of all.
        let before = old.tiers.get(name).unwrap_or(&old.own);
        compare(&format!("tier {name} "), before, after);
    }
    for (name, before) in old.tiers.iter().filter(|(name, _)| !new.tiers.contains_key(*name)) {
        compare(&format!("tier {name} "), before, &new.own);
    }
    let same = |(subject, after): (&String, &Variant)| {
        old.overrides.get(subject).is_some_and(|before| described(before) == described(after))
    };
    let overrides = old.overrides.len() == new.overrides.len() && new.overrides.iter().all(same);
    if !overrides {
        changes.push("overrides".to_owned());
    }
    changes
}

/// A limit in a few words.
fn described(variant: &Variant) -> String {
    let limit = variant.policy().limit;
    let units = limit.units();
    let within = |window| spell_duration(Duration::from(window));
    match limit {
        Limit::TokenBucket(bucket) => {
            format!("{units} in {} (burst {})", within(bucket.quota().window()), bucket.burst())
        }
        Limit::SlidingWindow(window) => format!("{units} in {}", within(window.quota().window())),
        Limit::Calendar(_) => match variant.periods() {
            Some(periods) => format!("{units} in {periods}"),
            None => units.to_string(),
        },
        Limit::Concurrency(_) => format!("{units} at once"),
        Limit::Ban(_) => "a ban".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(old: &str, new: &str) -> Told {
        let config = |policy: &str| {
            let text = format!(
                "[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\
                 [[routes]]\npath = \"/**\"\nupstream = \"app\"\n\
                 [identity.header]\nuser = \"x-user\"\ntier = \"x-tier\"\n\
                 [client]\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
                 [policies.p]\n{policy}\n"
            );
            let read = Config::parse(&text, "gateway.toml", &|_| None, 0);
            read.unwrap_or_else(|problems| panic!("{problems}")).0
        };
        Told::of(&config(old), &config(new))
    }

    fn anew(old: &str, new: &str) -> Vec<String> {
        let told = told(old, new);
        assert!(told.changed.is_empty(), "{told:?}");
        told.anew
    }

    fn changed(old: &str, new: &str) -> Vec<String> {
        let told = told(old, new);
        assert!(told.anew.is_empty(), "{told:?}");
        told.changed
    }

    const OLD: &str = "quota = 2\nwindow = \"1h\"\n";

    #[test]
    fn another_algorithm_or_partition_starts_anew() {
        let bucket = format!("{OLD}algorithm = \"token-bucket\"");
        let said = "p: its algorithm was sliding-window and is token-bucket";
        assert_eq!(anew(OLD, &bucket), [said]);
        let by_path = format!("{OLD}partition = [\"ip\", \"path\"]");
        assert_eq!(anew(OLD, &by_path), ["p: its partition was [ip] and is [ip, path]"]);
    }

    #[test]
    fn other_numbers_are_told_and_the_same_are_not() {
        assert_eq!(told(OLD, OLD), Told::default());
        let quota = "quota = 3\nwindow = \"1h\"\n";
        assert_eq!(changed(OLD, quota), ["p: 2 in 1h is 3 in 1h"]);
        assert_eq!(changed(OLD, "quota = 2\nwindow = \"1m\"\n"), ["p: 2 in 1h is 2 in 1m"]);
        let bucket = |burst: u8| format!("{OLD}algorithm = \"token-bucket\"\nburst = {burst}\n");
        let said = ["p: 2 in 1h (burst 2) is 2 in 1h (burst 9)"];
        assert_eq!(changed(&bucket(2), &bucket(9)), said);
        let tier = format!("{OLD}[policies.p.tiers.gold]\nquota = 7\n");
        assert_eq!(changed(OLD, &tier), ["p: tier gold 2 in 1h is 7 in 1h"]);
        assert_eq!(changed(&tier, OLD), ["p: tier gold 7 in 1h is 2 in 1h"]);
        let key = |ip: u8| {
            format!("{OLD}[[policies.p.overrides]]\nkey = {{ ip = \"192.0.2.{ip}\" }}\nquota = 9\n")
        };
        assert_eq!(changed(&key(1), &key(2)), ["p: overrides"]);
        assert_eq!(told(&key(1), &key(1)), Told::default());
    }

    #[test]
    fn a_line_names_so_many_and_no_more() {
        let policies: Vec<String> = (0..NAMED_MAX + 3).map(|number| format!("p{number}")).collect();
        assert!(some(&policies).ends_with("p19, and 3 more"), "{}", some(&policies));
        assert_eq!(some(&policies[..2]), "p0, p1");
    }
}
