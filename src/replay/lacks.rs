//! What the configuration asks of requests and no line of the log has.

use http::HeaderName;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};

use crate::config::Config;
use crate::limit::Limit;
use crate::rules::Rule;
use crate::rules::cost::CostFrom;
use crate::rules::partition::Word;

use super::entry::Entry;

/// What is looked for in every line until it is found.
#[derive(Debug)]
pub(super) struct Lacks(Vec<Wanted>);

/// Something that the configuration asks for.
#[derive(Debug)]
struct Wanted {
    what: What,
    /// Who asks for it, for people.
    by: String,
    seen: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Header(HeaderName),
    User,
    Query,
    Status,
    /// The size of the body, or the header that tells it.
    Body,
    /// A header of the answer.
    Said(HeaderName),
    /// Which requests were under way at a moment.
    UnderWay,
}

// === impl Lacks ===

impl Lacks {
    /// What `config` asks for.
    pub(super) fn of(config: &Config) -> Self {
        let mut lacks = Self(Vec::new());
        if !config.client.trusted_proxies.is_empty() {
            let by = "`client.trusted_proxies`";
            lacks.header(&config.client.forwarded_header, by);
        }
        for limited in &config.policies {
            let by = format!("policy `{}`", limited.own.policy().name);
            if matches!(limited.own.policy().limit, Limit::Concurrency(_)) {
                lacks.want(What::UnderWay, &by);
                continue;
            }
            if limited.failures.is_some() {
                lacks.want(What::Status, &by);
            }
            for word in limited.partition.words() {
                match word {
                    Word::User => lacks.want(What::User, &by),
                    Word::Host => lacks.want(What::Header(HOST), &by),
                    Word::Cookie(_) => lacks.want(What::Header(COOKIE), &by),
                    Word::Header(name) => lacks.header(name, &by),
                    Word::Query(_) => lacks.want(What::Query, &by),
                    Word::Ip | Word::Path | Word::Route | Word::Rule | Word::Method => {}
                }
            }
        }
        for rule in &config.rules {
            lacks.of_rule(rule);
        }
        if config.routes.iter().any(|route| route.host.is_some()) {
            lacks.want(What::Header(HOST), "a route");
        }
        lacks
    }

    fn of_rule(&mut self, rule: &Rule) {
        let by = format!("the rule for `{}`", rule.path.as_str());
        if rule.host.is_some() {
            self.want(What::Header(HOST), &by);
        }
        if rule.condition.when.is_some() {
            self.want(What::User, &by);
        }
        if !rule.condition.query.is_empty() {
            self.want(What::Query, &by);
        }
        for (name, _) in &rule.condition.headers {
            self.header(name, &by);
        }
        match &rule.cost.from {
            Some(CostFrom::Header(name)) => self.header(name, &by),
            Some(CostFrom::Body { .. }) => self.want(What::Body, &by),
            None => {}
        }
        let said = rule.cost.settled_by.as_deref().and_then(|name| HeaderName::try_from(name).ok());
        if let Some(name) = said {
            self.want(What::Said(name), &by);
        }
    }

    fn header(&mut self, name: &str, by: &str) {
        if let Ok(name) = HeaderName::try_from(name) {
            self.want(What::Header(name), by);
        }
    }

    fn want(&mut self, what: What, by: &str) {
        match self.0.iter_mut().find(|wanted| wanted.what == what) {
            Some(known) if known.by.contains(by) => {}
            Some(known) => known.by = format!("{}, {by}", known.by),
            None => self.0.push(Wanted { what, by: by.to_owned(), seen: false }),
        }
    }

    /// Looks at a line.
    pub(super) fn see(&mut self, entry: &Entry) {
        for wanted in self.0.iter_mut().filter(|wanted| !wanted.seen) {
            wanted.seen = match &wanted.what {
                What::Header(name) => {
                    entry.head.headers.contains_key(name)
                        || *name == HOST && entry.head.uri.host().is_some()
                }
                What::User => !entry.user.is_empty(),
                What::Query => entry.head.uri.query().is_some(),
                What::Status => entry.status.is_some(),
                What::Body => {
                    entry.size.is_some() || entry.head.headers.contains_key(CONTENT_LENGTH)
                }
                What::Said(name) => entry.said.contains_key(name),
                What::UnderWay => false,
            };
        }
    }

    /// What no line had, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let lacking = self.0.iter().filter(|wanted| !wanted.seen);
        let each = lacking.map(|Wanted { what, by, .. }| match what {
            What::Header(name) => format!("no line has the header `{name}`, asked for by {by}"),
            What::User => format!("no line names a user, asked for by {by}"),
            What::Query => format!("no line has a query, asked for by {by}"),
            What::Status => format!("no line has a status, so all are failures to {by}"),
            What::UnderWay => {
                format!("no log tells which requests were under way: not replayed is {by}")
            }
            What::Body => format!("no line has the size of a body, asked for by {by}"),
            What::Said(name) => {
                format!("no line has the header `{name}` of the answer, asked for by {by}")
            }
        });
        each.collect()
    }
}
