//! The way of a logged request: the one that requests go (`proxy/admit.rs`), without a connection,
//! an application and a store.
//!
//! What a log cannot know differs. No credential can be verified, so the user is the one that the
//! line names, and only where the configuration has a source of users; nobody has a tier. Limits
//! are enforced as if there were no `[rollout]`. What a request has cost in the end is settled at the
//! moment of its line, as if no request took any time.

use crate::client::Client;
use crate::config::Config;
use crate::identity::credential::Person;
use crate::limit::{Check, Key, Limit, Micros, Timestamp};
use crate::proxy::State;
use crate::request::RequestView;
use crate::rules::access::Exemption;
use crate::rules::bill::Bill;
use crate::rules::cost::Ended;
use crate::rules::partition::{Facts, Word};
use crate::rules::{Asked, Demand, Enforcement, Rule};
use crate::server;

use super::book::Book;
use super::entry::Entry;
use super::lacks::Lacks;
use super::memory::{Decided, KEYS_MAX, Memory};

/// What stands for a route where there is none, as in the gateway.
const NO_ROUTE: &str = "none";
/// Most characters of a value that a report shows.
const SHOWN_MAX: usize = 120;

/// All that requests are tried with, and what became of them.
pub(super) struct Trial {
    state: State,
    /// Whether any source of users is configured.
    has_user: bool,
    key_prefix: String,
    pub(super) memory: Memory,
    /// One for each policy, in the order of their ids.
    pub(super) books: Vec<Book>,
    pub(super) lacks: Lacks,
    pub(super) course: Course,
    pub(super) counts: Counts,
}

/// The time of a replay. It never goes back: what comes late happens when it comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// The first and the latest moment.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Requests with a time before the latest.
    pub(super) late: u64,
    /// How far the worst of them lay behind.
    pub(super) late_most: Micros,
}

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// All of them.
    pub(super) requests: u64,
    /// The gateway answers 400.
    pub(super) malformed: u64,
    /// `[deny]` names the client.
    pub(super) turned_away: u64,
    /// `[exempt]` names the client, the user, the path.
    pub(super) exempt: [u64; 3],
    /// No rule names a policy for them.
    pub(super) unlimited: u64,
    /// A limit refuses them.
    pub(super) denied: u64,
    /// No limit does, and no route takes them.
    pub(super) routeless: u64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// 400.
    Malformed,
    /// 403.
    TurnedAway,
    /// No limit concerns it.
    Exempt(Exemption),
    /// The limits have decided.
    Decided {
        /// Whether an enforced policy refuses it.
        denied: bool,
    },
}

/// What became of a request, and why.
pub(super) struct Outcome {
    /// When it happened.
    pub(super) at: Timestamp,
    pub(super) fate: Fate,
    /// What it had to pass.
    pub(super) checks: Vec<Check>,
    /// And what was said of each.
    pub(super) decided: Vec<Decided>,
}

// === impl Trial ===

impl Trial {
    /// A trial of `config`, in which nothing has happened.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let state = server::build(config)?;
        let policies = config.policies.len();
        Ok(Self {
            has_user: config.identity.has_user,
            key_prefix: config.store.key_prefix.clone(),
            memory: Memory::new(KEYS_MAX),
            books: config.policies.iter().map(|limited| Book::new(limited, policies)).collect(),
            lacks: Lacks::of(config),
            course: Course::default(),
            counts: Counts::default(),
            state,
        })
    }

    /// Tries a request.
    pub(super) fn judge(&mut self, entry: &Entry) -> Outcome {
        self.counts.requests += 1;
        self.lacks.see(entry);
        let at = self.course.at(entry.time);
        let outcome = |fate| Outcome { at, fate, checks: Vec::new(), decided: Vec::new() };
        let reading = &self.state.reading;
        if !entry.plain || reading.read(&entry.head, entry.target()).is_err() {
            self.counts.malformed += 1;
            return outcome(Fate::Malformed);
        }
        let view = RequestView::spelled(&entry.head, reading.spelling);
        let client = self.state.clients.locate(entry.peer, view.headers());
        if self.state.deny_list.contain(client.address) {
            self.counts.turned_away += 1;
            return outcome(Fate::TurnedAway);
        }
        let client = client.with(self.person(entry));
        let route = self.state.routes.find(&view);
        if let Some(exemption) = self.state.exemptions.of(&view, &client) {
            self.counts.exempt[exemption as usize] += 1;
            return outcome(Fate::Exempt(exemption));
        }
        let routeless = route.is_none();
        let pattern = route.map_or(NO_ROUTE, |route| route.path.as_str());
        let enforcement = Enforcement::Full;
        let asked = Asked { view: &view, client: &client, route: pattern, enforcement, now: at };
        let Demand { checks, bill } = self.state.rules.evaluate(&asked);
        let costs = costs(&checks, &bill, entry);
        // Who was under way at a moment no log tells.
        let counted =
            |(check, _): &(Check, u64)| !matches!(check.policy.limit, Limit::Concurrency(_));
        let (checks, costs): (Vec<Check>, Vec<u64>) =
            checks.into_iter().zip(costs).filter(counted).unzip();
        let decided = self.memory.decide(&checks, &costs, at);
        for ((check, cost), decided) in checks.iter().zip(costs).zip(&decided) {
            let Some(book) = self.books.get_mut(check.policy.id) else { continue };
            book.enter(check, cost, *decided, at);
            if let Some(key) = decided.key.filter(|key| !decided.allowed && !book.knows(*key)) {
                book.name(key, label(&self.state, &self.key_prefix, &asked, check));
            }
        }
        let refuses =
            |(check, decided): (&Check, &Decided)| check.policy.enforced() && !decided.allowed;
        let denied = checks.iter().zip(&decided).any(refuses);
        self.counts.unlimited += u64::from(checks.is_empty());
        self.counts.denied += u64::from(denied);
        self.counts.routeless += u64::from(!denied && routeless);
        Outcome { at, fate: Fate::Decided { denied }, checks, decided }
    }

    /// The user that the line names.
    fn person(&self, entry: &Entry) -> Option<Person> {
        if !self.has_user || entry.user.is_empty() {
            return None;
        }
        let user = String::from_utf8(entry.user.clone()).ok()?;
        Some(Person { user, tier: None })
    }
}

/// What the checks have cost in the end, as far as the line tells how the request ended.
fn costs(checks: &[Check], bill: &Bill, entry: &Entry) -> Vec<u64> {
    let mut costs: Vec<u64> = checks.iter().map(|check| check.cost).collect();
    let body = entry.size.unwrap_or(0);
    let ended = Ended { status: entry.status, headers: Some(&entry.said), body };
    for (place, cost) in bill.costs(&ended) {
        costs[place] = cost;
    }
    costs
}

/// Whom a check is about, in words: the values that its policy divides by.
fn label(state: &State, prefix: &str, asked: &Asked<'_>, check: &Check) -> String {
    let Asked { view, client, route, .. } = *asked;
    let Some(limited) = state.rules.policy(check.policy.id) else { return String::new() };
    let words = |rule: &str| {
        let facts = Facts { view, client, route, rule };
        described(&limited.partition.values(&facts), client)
    };
    if !limited.partition.words().contains(&Word::Rule) {
        return words("");
    }
    // Which of the rules it was, only the key tells.
    let names = |rule: &&Rule| {
        let facts = Facts { view, client, route, rule: rule.path.as_str() };
        rule.policies.contains(&check.policy.id)
            && Key::new(prefix, &limited.partition.subject(&facts), &check.policy) == check.key
    };
    let rule = state.rules.matching(view, client).find(names);
    words(rule.map_or("", |rule| rule.path.as_str()))
}

/// `192.0.2.7`, or `user=ann path=/a`; a value that is not there is the address in its stead.
fn described(values: &[(&Word, Option<Vec<u8>>)], client: &Client) -> String {
    let shown = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).escape_debug().take(SHOWN_MAX).collect()
    };
    match values {
        [] => "everyone".to_owned(),
        [(Word::Ip, Some(address))] => shown(address),
        values => {
            let each = values.iter().map(|(word, value)| match value {
                Some(value) => format!("{word}={}", shown(value)),
                None => format!("{word}: none, from {}", client.subject()),
            });
            each.collect::<Vec<String>>().join(" ")
        }
    }
}

// === impl Course ===

impl Course {
    /// The moment at which a request with this time happens.
    fn at(&mut self, time: Timestamp) -> Timestamp {
        let (first, latest) = self.span.unwrap_or((time, time));
        let behind = latest.since(time);
        if behind > Micros::ZERO {
            self.late += 1;
            self.late_most = self.late_most.max(behind);
        }
        let at = latest.max(time);
        self.span = Some((first, at));
        at
    }
}
