//! `[[rules]]`.

mod condition;
mod cost;

use std::collections::BTreeSet;

use http::Method;

use super::{Definition, ENTRIES_MAX, place, routes};
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{Text, quote};
use crate::config::{PartitionedPolicy, Rule};
use crate::request::Spelling;

/// Most policies of a rule.
const POLICIES_MAX: usize = 32;
/// Most methods of a rule.
const METHODS_MAX: usize = 32;

/// What rules are read against.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The policies that they may name.
    pub(super) policies: &'a [Definition<PartitionedPolicy>],
    /// Whether anything tells who a user is.
    pub(super) has_user: bool,
    /// Whether no peer is a trusted proxy.
    pub(super) trusts_nobody: bool,
    /// How paths are spelled.
    pub(super) spelling: Spelling,
}

pub(super) fn rules(root: &mut Section<'_>, surroundings: &Surroundings<'_>) -> Vec<Rule> {
    let Some(sections) = root.tables("rules", ENTRIES_MAX) else { return Vec::new() };
    let mut used = BTreeSet::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(sections.len());
    for mut section in sections {
        if let Some(rule) = rule(&mut section, surroundings, &mut used) {
            if rules.contains(&rule) {
                let mistake = Mistake::new("another rule says exactly the same")
                    .help("remove one of them: a policy is asked once, however many rules name it");
                section.error(section.span(), mistake);
            }
            rules.push(rule);
        }
        section.finish();
    }
    for (index, policy) in surroundings.policies.iter().enumerate() {
        if !used.contains(&index) {
            let mistake = Mistake::new(format!("no rule names the policy {}", quote(&policy.name)))
                .help("name it in `policies` of a rule, or remove it");
            root.reader().warn(&policy.span, mistake);
        }
    }
    rules
}

fn rule(
    section: &mut Section<'_>,
    surroundings: &Surroundings<'_>,
    used: &mut BTreeSet<usize>,
) -> Option<Rule> {
    let patterns = routes::patterns(section, surroundings.spelling);
    let methods = section.list("methods", 1..=METHODS_MAX, method).map(|methods| {
        let mut methods = methods.into_values();
        methods.sort();
        methods.dedup();
        methods
    });
    let condition = condition::condition(section, surroundings.has_user);
    let mut consulted = consulted(section, surroundings.policies);
    used.extend(&consulted);
    let cost = cost::pricing(section, surroundings, &consulted);
    let (path, host) = patterns?;
    consulted.sort_unstable();
    Some(Rule { path, host, methods, condition: condition?, policies: consulted, cost })
}

/// The places of the policies that the rule names.
fn consulted(section: &mut Section<'_>, policies: &[Definition<PartitionedPolicy>]) -> Vec<usize> {
    section.require("policies", "[\"per-ip\"]");
    let named = section.list("policies", 1..=POLICIES_MAX, |text| {
        place(policies, text).ok_or_else(|| routes::unknown("policy", text, policies))
    });
    let mut consulted = Vec::new();
    for (span, index) in named.map(|named| named.items).unwrap_or_default() {
        if consulted.contains(&index) {
            let mistake = Mistake::new("the rule names this policy twice")
                .help("once is enough; to make a request dearer, say `cost`");
            section.error(&span, mistake);
        } else {
            consulted.push(index);
        }
    }
    consulted
}

/// A method as requests have it, in upper case.
pub(super) fn method(text: &Text) -> Result<String, Mistake> {
    // A token like any other to HTTP, and to whoever writes it surely not.
    if text.value == "*" {
        return Err(Mistake::new("`*` is not a method").help("leave `methods` out for all of them"));
    }
    if Method::from_bytes(text.value.as_bytes()).is_err() {
        return Err(Mistake::new(format!("not a method: {}", text.shown())).help("as in `GET`"));
    }
    if text.value.contains(|c: char| c.is_ascii_lowercase()) {
        let upper = text.value.to_ascii_uppercase();
        let example = if text.template.is_some() { "GET" } else { &upper };
        return Err(Mistake::new(format!("not an upper-case method: {}", text.shown()))
            .help(format!("methods are case-sensitive: {}", quote(example))));
    }
    Ok(text.value.clone())
}
