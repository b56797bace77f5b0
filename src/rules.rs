//! Which route a request takes and which checks it has to pass.

pub mod access;
pub mod bill;
pub mod calendar;
pub mod condition;
pub mod cost;
pub mod matcher;
pub mod partition;
pub mod paths;
mod present;
pub mod route;
pub mod statuses;
pub mod variant;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;

use crate::client::Client;
use crate::limit::{Check, Key, Limit, Policy, Timestamp};
use crate::request::RequestView;
use bill::{Account, Bill};
use condition::Condition;
use cost::{CostFrom, Pricing};
use matcher::{HostPattern, PathPattern, host_matches};
use partition::{Facts, Word};
use paths::PathSet;

pub use route::{Route, Routes};
pub use variant::{Enforcement, PartitionedPolicy};

/// Which policies a request has to pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The paths it applies to.
    pub path: PathPattern,
    /// The host it applies to; `None`: any.
    pub host: Option<HostPattern>,
    /// The methods it applies to; `None`: all. GET includes HEAD, and `get` is GET: to many
    /// applications it is.
    pub methods: Option<Vec<String>>,
    /// What else has to hold.
    pub condition: Condition,
    /// The places of its policies among all policies, in order.
    pub policies: Vec<usize>,
    /// Units a request costs.
    pub cost: Pricing,
}

/// A request, as the rules are asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it says.
    pub view: &'a RequestView<'a>,
    /// Who sent it.
    pub client: &'a Client,
    /// The pattern of the route that it takes.
    pub route: &'a str,
    /// How far limits are enforced.
    pub enforcement: Enforcement,
    /// The moment, by the clock of whoever decides: it picks the period of a calendar.
    pub now: Timestamp,
}

/// What a request has to pass, and what remains to be settled when it is over.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Each key once, with the largest of its costs.
    pub checks: Vec<Check>,
    /// Those of them that may cost otherwise in the end.
    pub bill: Bill,
}

/// All rules. Their order never matters.
#[derive(Debug)]
pub struct RuleSet {
    paths: PathSet,
    rules: Vec<Rule>,
    policies: Vec<PartitionedPolicy>,
    key_prefix: String,
    exempt_preflight: bool,
    cost_headers: Vec<String>,
}

// === impl Rule ===

impl Rule {
    fn applies(&self, view: &RequestView<'_>, client: &Client) -> bool {
        host_matches(self.host.as_ref(), view)
            && self.takes_method(view.method)
            && self.condition.met_by(view, client)
    }

    fn takes_method(&self, method: &Method) -> bool {
        let Some(methods) = &self.methods else { return true };
        let is = |name: &str| method.as_str().eq_ignore_ascii_case(name);
        methods.iter().any(|name| is(name) || (name == "GET" && is("HEAD")))
    }
}

// === impl RuleSet ===

impl RuleSet {
    /// The rules over `policies`.
    pub fn new(
        rules: Vec<Rule>,
        policies: Vec<PartitionedPolicy>,
        key_prefix: String,
        exempt_preflight: bool,
    ) -> Result<Self, globset::Error> {
        let paths = PathSet::new(rules.iter().map(|rule| &rule.path))?;
        let named = rules.iter().filter_map(|rule| rule.cost.settled_by.clone());
        let cost_headers: BTreeSet<String> = named.collect();
        let cost_headers = cost_headers.into_iter().collect();
        Ok(Self { paths, rules, policies, key_prefix, exempt_preflight, cost_headers })
    }

    /// The rules that apply to a request.
    pub fn matching<'a>(
        &'a self,
        view: &'a RequestView<'_>,
        client: &'a Client,
    ) -> impl Iterator<Item = &'a Rule> {
        let places = self.paths.matching(&view.path).into_iter();
        places.map(|at| &self.rules[at]).filter(move |rule| rule.applies(view, client))
    }

    /// What a request has to pass: the checks of all matching rules, and right behind each the ban
    /// that its policy may have. None while limits are off.
    pub fn evaluate(&self, asked: &Asked<'_>) -> Demand {
        let asked_for = self.asked_for(asked, |_, _| true);
        let bill = Bill::new(asked_for.iter().map(|(_, account)| account));
        Demand { checks: asked_for.into_iter().map(|(check, _)| check).collect(), bill }
    }

    /// Those checks of [`Self::evaluate`] that a request has to pass whoever its user turns out to
    /// be: the client need not be identified yet.
    pub fn whoever(&self, asked: &Asked<'_>) -> Vec<Check> {
        let asked_for = self.asked_for(asked, |rule, limited| {
            rule.condition.when.is_none()
                && limited.tiers.is_empty()
                && !limited.partition.words().contains(&Word::User)
        });
        asked_for.into_iter().map(|(check, _)| check).collect()
    }

    /// The checks of the rules and policies that are `wanted`.
    fn asked_for(
        &self,
        asked: &Asked<'_>,
        wanted: impl Fn(&Rule, &PartitionedPolicy) -> bool,
    ) -> Vec<(Check, Account)> {
        let mut checks: Vec<(Check, Account)> = Vec::new();
        if asked.enforcement == Enforcement::Off {
            return checks;
        }
        let exempt = self.exempt_preflight && asked.view.is_preflight();
        for rule in self.matching(asked.view, asked.client) {
            for &place in &rule.policies {
                let limited = &self.policies[place];
                let counts = !exempt || limited.partition.by_address_alone();
                if counts && wanted(rule, limited) {
                    self.add(&mut checks, limited, rule, asked);
                }
            }
        }
        // So that the order of the file shows nowhere, not even among equals.
        checks.sort_by_key(|(check, _)| check.policy.id);
        checks
    }

    /// The policy at `place`, with what divides its quota and all of its limits.
    pub fn policy(&self, place: usize) -> Option<&PartitionedPolicy> {
        self.policies.get(place)
    }

    /// What has become of `policy`, which may be of an earlier configuration: the limit for the same
    /// keys, if there still is one.
    pub fn renewed(&self, policy: &Policy, now: Timestamp) -> Option<Arc<Policy>> {
        let same = |limited: &&PartitionedPolicy| {
            let own = limited.own.policy();
            own.name == policy.name && own.limit.letter() == policy.limit.letter()
        };
        self.policies.iter().find(same).map(|limited| limited.variant(policy.variant, now))
    }

    /// The headers in which the application says what a request has cost: for nobody else.
    pub fn cost_headers(&self) -> &[String] {
        &self.cost_headers
    }

    /// The headers of requests that divide quotas.
    pub fn partition_headers(&self) -> impl Iterator<Item = &str> {
        let words = self.policies.iter().flat_map(|limited| limited.partition.words());
        words.filter_map(|word| match word {
            Word::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The headers of requests that say which rules apply and what they cost.
    pub fn rule_headers(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| {
            let cost = match &rule.cost.from {
                Some(CostFrom::Header(name)) => Some(name),
                Some(CostFrom::Body { .. }) | None => None,
            };
            let asked = rule.condition.headers.iter().map(|(name, _)| name);
            asked.chain(cost).map(String::as_str)
        })
    }

    /// The policies, in the order of their ids, each with its own limit.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter().map(|limited| limited.own.policy())
    }

    fn add(
        &self,
        checks: &mut Vec<(Check, Account)>,
        limited: &PartitionedPolicy,
        rule: &Rule,
        asked: &Asked<'_>,
    ) {
        let Asked { view, client, route, enforcement, now } = *asked;
        let taken = rule.cost.taken(view, client);
        if taken == 0 {
            return;
        }
        let id = limited.own.policy().id;
        // Only a partition by rule gives one policy several keys within a request; a ban, which has
        // the id of its policy, stands behind it.
        let one_key = !limited.partition.words().contains(&Word::Rule);
        let mut known = checks.iter().position(|(check, _)| one_key && check.policy.id == id);
        if known.is_none() {
            let facts = Facts { view, client, route, rule: rule.path.as_str() };
            let subject = limited.partition.subject(&facts);
            let policy = limited.applied(&subject, client.tier.as_deref(), enforcement, now);
            let key = Key::new(&self.key_prefix, &subject, &policy);
            known = checks.iter().position(|(check, _)| check.key == key);
            if known.is_none() {
                known = Some(checks.len());
                let ban = limited.ban.as_ref().filter(|_| policy.enforced());
                let ban =
                    ban.map(|ban| (Arc::clone(ban), Key::new(&self.key_prefix, &subject, ban)));
                let account = Account::new(limited.failures.as_ref());
                checks.push((Check::new(policy, key, taken), account));
                checks.extend(ban.map(|(ban, key)| (Check::new(ban, key, 1), Account::default())));
            }
        }
        let Some((check, account)) = known.and_then(|place| checks.get_mut(place)) else { return };
        check.cost = check.cost.max(taken);
        if matches!(check.policy.limit, Limit::Concurrency(_)) {
            // Its permit is given back when the request ends.
            return;
        }
        if rule.cost.is_open(view) {
            account.add_open(&rule.cost, taken);
        } else {
            account.add(taken);
        }
    }
}
