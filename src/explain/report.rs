//! The explanation as text: one line a fact, in columns.

use std::fmt::{Display, Write as _};

use http::HeaderName;

use super::{Described, Explanation, Stored};
use crate::client::Client;
use crate::config::{Upstream, spell_duration};
use crate::identity::Identified;
use crate::identity::credential::Finding;
use crate::limit::ban::Sentence;
use crate::limit::{Ban, Check, Limit, Policy, Standing, State};
use crate::request::RequestView;
use crate::rules::access::Exemption;
use crate::rules::partition::Partition;
use crate::rules::variant::{PartitionedPolicy, Which};
use crate::rules::{Demand, Enforcement, Route, Rule, RuleSet};
use crate::store::redis::Fault;

/// Width of the first column.
const LABEL: usize = 9;

/// An explanation under way.
pub(super) struct Report {
    text: String,
}

// === impl Report ===

impl Report {
    pub(super) fn about(described: &Described) -> Self {
        let Described { method, path, peer, .. } = described;
        Self { text: format!("{method} {path} from {peer}\n\n") }
    }

    pub(super) fn finish(self, unasked: Option<String>) -> Explanation {
        Explanation { text: self.text.trim_end().to_owned(), unasked }
    }

    pub(super) fn refused(&mut self, status: u16, why: &str) {
        self.line("refused", format_args!("with {status}: {why}"));
    }

    /// Header fields that neither rules nor the application see.
    pub(super) fn taken_off(&mut self, names: &[HeaderName]) {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
            self.line("taken off", names.join(", "));
        }
    }

    pub(super) fn client(&mut self, view: &RequestView<'_>, client: &Client) {
        self.line("path", &view.path);
        if let Some(host) = &view.host {
            self.line("host", host);
        }
        let proxy = if client.via_trusted_proxy { ", named by a trusted proxy" } else { "" };
        let subject = client.subject();
        self.line("client", format_args!("{}, counted as {subject}{proxy}", client.address));
    }

    /// What each source of users found.
    pub(super) fn findings(&mut self, found: &Identified) {
        for (source, finding) in &found.findings {
            let says = match finding {
                Finding::Absent => continue,
                Finding::Valid(_) => "valid",
                Finding::Invalid => "presented, and not valid",
                Finding::Unanswered => "not known: only Redis can tell",
            };
            self.line("identity", format_args!("{}: {says}", source.word()));
        }
    }

    pub(super) fn user(&mut self, client: &Client) {
        let Some(user) = &client.user else {
            self.line("user", "none: anonymous");
            return;
        };
        let user = user.escape_ascii();
        match &client.tier {
            Some(tier) => self.line("user", format_args!("{user}, tier {tier}")),
            None => self.line("user", user),
        }
    }

    pub(super) fn route(&mut self, route: Option<&Route>, upstreams: &[Upstream]) {
        let Some(route) = route else {
            self.line("route", "none: 404, if the limits let it pass");
            return;
        };
        let upstream = upstreams.get(route.upstream).map_or("", |upstream| &upstream.name);
        let host = route.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        self.line("route", format_args!("{}{host} to upstream {upstream}", route.path.as_str()));
    }

    pub(super) fn exempt(&mut self, exemption: Exemption) {
        let by = match exemption {
            Exemption::Client => "the client's address",
            Exemption::User => "the user",
            Exemption::Path => "the path",
        };
        self.line("exempt", format_args!("`[exempt]` names {by}: no limit concerns it"));
    }

    pub(super) fn enforcement(&mut self, enforcement: &Result<Enforcement, String>) {
        match enforcement {
            Ok(Enforcement::Full) => {}
            Ok(Enforcement::Shadow) => self.line("limits", "in shadow mode: nothing is refused"),
            Ok(Enforcement::Off) => self.line("limits", "off"),
            Err(error) => self.line("limits", format_args!("the switch file: {error}")),
        }
    }

    pub(super) fn rules<'a>(&mut self, rules: impl Iterator<Item = &'a Rule>, all: &RuleSet) {
        let mut label = "rules";
        for rule in rules {
            let names = rule.policies.iter().filter_map(|place| all.policy(*place));
            let names: Vec<&str> = names.map(|policy| policy.own.policy().name.as_str()).collect();
            self.line(label, format_args!("{}: {}", matcher(rule), names.join(", ")));
            label = "";
        }
        if label == "rules" {
            self.line(label, "none matches: it passes without limits");
        }
    }

    pub(super) fn policies(&mut self, demand: &Demand, rules: &RuleSet, stored: &Stored) {
        for (place, check) in demand.checks.iter().enumerate() {
            let Some(limited) = rules.policy(check.policy.id) else { continue };
            let standing = match stored {
                Stored::Standing(standings) => standings.get(place),
                _ => None,
            };
            if let Limit::Ban(ban) = &check.policy.limit {
                self.ban(ban, check, standing);
                continue;
            }
            let which = match limited.which(&check.policy) {
                Which::Own => String::new(),
                Which::Tier(tier) => format!(" (tier {tier})"),
                Which::Override => " (override for this key)".to_owned(),
            };
            self.text.push('\n');
            self.line("policy", format_args!("{}{which}", check.policy.name));
            self.line(
                "limit",
                format_args!("{}, {}", limit(limited, &check.policy), divided(&limited.partition)),
            );
            let mode = if check.policy.enforced() { "enforced" } else { "in shadow mode" };
            self.line("", format_args!("{mode}; this request {}", takes(check)));
            for term in demand.bill.terms(place) {
                self.line("", term);
            }
            self.line("key", &check.key);
            self.now(standing, |standing| present(check, standing));
        }
        if matches!(stored, Stored::Elsewhere) {
            self.text.push('\n');
            self.line("now", "not known: the counts are in the memory of each gateway");
        }
    }

    /// The ban that stands behind a policy.
    fn ban(&mut self, ban: &Ban, check: &Check, standing: Option<&Result<Standing, Fault>>) {
        let quota = ban.watch().quota();
        let [within, first, longest] =
            [quota.window(), ban.first(), ban.longest()].map(|span| spell_duration(span.into()));
        let denials = quota.units();
        self.line("penalty", format_args!("{denials} denials within {within}: banned for {first}"));
        self.line("", format_args!("then for twice as long each time, up to {longest}"));
        self.line("key", &check.key);
        self.now(standing, banned);
    }

    /// How a key stands, in the words that are `said` of it, or why that is not known.
    fn now(
        &mut self,
        standing: Option<&Result<Standing, Fault>>,
        said: impl FnOnce(&Standing) -> String,
    ) {
        match standing {
            None => {}
            Some(Ok(standing)) => self.line("now", said(standing)),
            Some(Err(fault)) => self.line("now", format_args!("not known: {fault}")),
        }
    }

    fn line(&mut self, label: &str, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{label:LABEL$} {text}");
    }
}

/// What a rule asks of a request.
fn matcher(rule: &Rule) -> String {
    let mut text = rule.path.as_str().to_owned();
    let mut and = |what: String| {
        text.push(' ');
        text.push_str(&what);
    };
    if let Some(host) = &rule.host {
        and(format!("on {host}"));
    }
    if let Some(methods) = &rule.methods {
        and(methods.join("|"));
    }
    if let Some(when) = rule.condition.when {
        and(when.to_string());
    }
    if rule.condition.clients.is_some() {
        and("from its networks".to_owned());
    }
    for (name, pattern) in &rule.condition.headers {
        and(format!("{name}: {pattern}"));
    }
    for (name, pattern) in &rule.condition.query {
        and(format!("?{name}={pattern}"));
    }
    text
}

/// A policy's limit in words.
pub(crate) fn limit(limited: &PartitionedPolicy, policy: &Policy) -> String {
    let limit = &policy.limit;
    let window = limit.quota().map(|quota| spell_duration(quota.window().into()));
    let (window, units) = (window.unwrap_or_default(), limit.units());
    match limit {
        Limit::SlidingWindow(_) => format!("{units} in any {window} (sliding-window)"),
        Limit::Calendar(_) => {
            let period = limited.periods(policy).map_or(window, ToString::to_string);
            format!("{units} in {period} (calendar)")
        }
        Limit::Concurrency(_) => format!("{units} at once (concurrency)"),
        Limit::TokenBucket(bucket) => {
            format!("{units} in {window}, {} at once (token-bucket)", bucket.burst())
        }
        Limit::Ban(_) => format!("{units} denials in {window}"),
    }
}

/// What a request takes.
fn takes(check: &Check) -> String {
    match check.policy.limit {
        Limit::Concurrency(_) => "takes one permit".to_owned(),
        _ => format!("costs {}", check.cost),
    }
}

/// What divides it, in words.
pub(crate) fn divided(partition: &Partition) -> String {
    let words: Vec<String> = partition.words().iter().map(ToString::to_string).collect();
    if words.is_empty() {
        "for everyone together".to_owned()
    } else {
        format!("by {}", words.join(", "))
    }
}

/// Whether a key is banned.
fn banned(standing: &Standing) -> String {
    let State::Ban(Sentence { level, .. }) = standing.state() else { return String::new() };
    let wait = standing.reset_after().as_secs_ceil();
    match (wait, level) {
        (0, 0) => "not banned".to_owned(),
        (0, level) => format!("not banned: ban number {level} is over and not forgotten"),
        (wait, level) => format!("banned for {wait}s, ban number {level}: it would be refused"),
    }
}

/// How a key stands, for a request that is not made.
fn present(check: &Check, standing: &Standing) -> String {
    let (left, all) = (standing.remaining(), check.policy.limit.cost_max());
    if !check.policy.limit.denies_lastingly() && !standing.has_room(check.cost) {
        return format!("{left} of {all} left: it would be denied until one of them ends");
    }
    if standing.has_room(check.cost) {
        let more = standing.reset_after().as_secs_ceil();
        let more = if more == 0 { String::new() } else { format!(", more in {more}s") };
        return format!("{left} of {all} left{more}: it would pass");
    }
    match standing.retry_after(check.cost) {
        Some(wait) => {
            format!("{left} of {all} left: it would be denied for {}s", wait.as_secs_ceil().max(1))
        }
        None => format!("{left} of {all} left: it could never pass"),
    }
}
