//! The bill of a request: which of its checks cost otherwise in the end than what was taken for
//! them, and how much.
//!
//! A check that several rules ask for costs the most that one of them says, before and in the end.
//! A policy that counts failures alone takes its units beforehand, so that guesses made at once do
//! not slip through, and costs nothing if the answer is no failure.

use std::sync::Arc;

use super::cost::{Ended, Pricing};
use super::statuses::Statuses;

/// What remains to be settled of a request.
#[derive(Clone, Debug, Default)]
pub struct Bill(Vec<Line>);

/// One check.
#[derive(Clone, Debug)]
struct Line {
    /// Its place among the checks of the request.
    check: usize,
    account: Account,
}

/// What is known of the cost of a check.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    /// The largest of the costs that stay.
    firm: u64,
    /// Those that are known in the end only, each with what was taken.
    open: Vec<(Pricing, u64)>,
    /// The answers that cost anything.
    failures: Option<Arc<Statuses>>,
}

// === impl Bill ===

impl Bill {
    pub(super) fn new<'a>(accounts: impl Iterator<Item = &'a Account>) -> Self {
        let open = accounts.enumerate().filter(|(_, account)| account.is_open());
        Self(open.map(|(check, account)| Line { check, account: account.clone() }).collect())
    }

    /// Whether everything has been settled beforehand, as with most requests.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the size of the request's body is to be known.
    pub fn waits_for_body(&self) -> bool {
        self.open().any(Pricing::waits_for_body)
    }

    /// The headers of the answer in which the application says what the request has cost.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.open().filter_map(|pricing| pricing.settled_by.as_deref())
    }

    /// What the checks have cost in the end, by their place.
    pub fn costs(&self, ended: &Ended<'_>) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().map(move |line| (line.check, line.account.cost(ended)))
    }

    /// For people: what decides about the cost of a check in the end.
    pub fn terms(&self, check: usize) -> Vec<String> {
        let lines = self.0.iter().filter(|line| line.check == check);
        lines.flat_map(|line| line.account.terms()).collect()
    }

    fn open(&self) -> impl Iterator<Item = &Pricing> {
        self.0.iter().flat_map(|line| line.account.open.iter().map(|(pricing, _)| pricing))
    }
}

// === impl Account ===

impl Account {
    /// The account of a check of a policy that counts `failures` alone, if it does.
    pub(super) fn new(failures: Option<&Arc<Statuses>>) -> Self {
        Self { failures: failures.map(Arc::clone), ..Self::default() }
    }

    /// Takes a cost that stays.
    pub(super) fn add(&mut self, units: u64) {
        self.firm = self.firm.max(units);
    }

    /// Takes a cost of which `taken` units are taken for now.
    pub(super) fn add_open(&mut self, pricing: &Pricing, taken: u64) {
        self.open.push((pricing.clone(), taken));
    }

    fn terms(&self) -> Vec<String> {
        let open = self.open.iter().map(|(pricing, _)| match &pricing.settled_by {
            Some(name) => format!("in the end what `{name}` of the answer says"),
            None => "in the end by the size of its body".to_owned(),
        });
        let failures = self.failures.iter();
        let failures = failures.map(|statuses| format!("nothing unless the answer is {statuses}"));
        open.chain(failures).collect()
    }

    const fn is_open(&self) -> bool {
        self.failures.is_some() || !self.open.is_empty()
    }

    fn cost(&self, ended: &Ended<'_>) -> u64 {
        // A client that does not wait for the answer has guessed all the same.
        let counts = |statuses: &Arc<Statuses>| ended.status.is_none_or(|s| statuses.contain(s));
        if !self.failures.as_ref().is_none_or(counts) {
            return 0;
        }
        let open = self.open.iter().map(|(pricing, taken)| pricing.ended(*taken, ended));
        open.fold(self.firm, u64::max)
    }
}
