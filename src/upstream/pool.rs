//! The servers of an upstream at present, and which of them is next.

use std::sync::Arc;
use std::sync::Weak;

use super::address::Listed;
use super::balance::{Balance, Candidate, Turns};
use super::ejection::EjectionRule;
use super::server::{At, Condition, Lease, Server};
use crate::limit::Timestamp;

/// The servers at present.
#[derive(Debug, Default)]
pub(super) struct Pool {
    servers: Vec<Arc<Server>>,
    turns: Turns,
    /// Addresses that a name no longer stands for, while requests are still under way there: should
    /// it stand for them again, those count.
    gone: Vec<Gone>,
}

#[derive(Clone, Debug)]
struct Gone {
    host: Option<String>,
    at: At,
    condition: Weak<Condition>,
}

/// By what a server is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) balance: Balance,
    /// Most requests under way at one server; 0: no bound.
    pub(super) most: usize,
    /// Whether checks have a say.
    pub(super) checked: bool,
    /// Where the request has failed before.
    pub(super) tried: &'a [Arc<Server>],
    /// Whether one of those may be asked again, if there is no other.
    pub(super) again: bool,
}

/// Why no server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No name of the upstream is resolved.
    Unresolved,
    /// Checks say that all are down.
    Down,
    /// All have as much to do as they may.
    Full,
    /// The request has failed at all of them.
    Tried,
}

// === impl Unavailable ===

impl Unavailable {
    /// The word of a metric.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Down => "down",
            Self::Full => "full",
            Self::Tried => "connect",
        }
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Makes the servers those that `listed` stand for now. What is known of one stays, also if it
    /// was known to `old`, the pool of another configuration.
    pub(super) fn rebuild(&mut self, listed: &[Listed], old: Option<&Self>) {
        let (mut servers, mut credit) = (Vec::<Arc<Server>>::new(), Vec::new());
        for entry in listed {
            for at in entry.places() {
                let host = entry.address.host();
                let twin = servers.iter_mut().find(|twin| twin.at == at && twin.is_for(host));
                if let Some(twin) = twin.and_then(Arc::get_mut) {
                    // Listed twice is twice the weight.
                    twin.weight = twin.weight.saturating_add(entry.weight);
                    continue;
                }
                // What this pool has made itself before is younger.
                let known = old.and_then(|old| old.known(host, &at));
                let known = known.or_else(|| self.known(host, &at));
                let condition = known.unwrap_or_default();
                let (address, weight) = (entry.address.clone(), entry.weight);
                credit.push(self.credit_of(&condition));
                servers.push(Arc::new(Server { address, at, weight, condition }));
            }
        }
        let leaves = |server: &&Arc<Server>| !servers.iter().any(|stays| stays.is(server));
        let before = self.servers.iter().chain(old.iter().flat_map(|old| &old.servers));
        self.gone.extend(before.filter(leaves).map(|server| server.gone()));
        self.gone.extend(old.iter().flat_map(|old| old.gone.iter().cloned()));
        (self.servers, self.turns) = (servers, Turns::new(credit));
        let servers = &self.servers;
        self.gone.retain(|gone| {
            let condition = gone.condition.as_ptr();
            let present = servers.iter().any(|it| Arc::as_ptr(&it.condition) == condition);
            !present && gone.condition.strong_count() > 0
        });
    }

    fn known(&self, host: Option<&str>, at: &At) -> Option<Arc<Condition>> {
        let present = self.servers.iter().find(|server| server.at == *at && server.is_for(host));
        let gone = || self.gone.iter().find(|gone| gone.at == *at && gone.host.as_deref() == host);
        present.map(|server| Arc::clone(&server.condition)).or_else(|| gone()?.condition.upgrade())
    }

    fn credit_of(&self, condition: &Arc<Condition>) -> i64 {
        let place = self.servers.iter().position(|old| Arc::ptr_eq(&old.condition, condition));
        place.map_or(0, |place| self.turns.credit(place))
    }

    /// The next server. Who is ejected is asked only if nobody else is left: an ejection alone
    /// never leaves no server.
    pub(super) fn next(
        &mut self,
        choice: &Choice<'_>,
        now: Timestamp,
    ) -> Result<Lease, Unavailable> {
        let mut candidates = self.candidates(choice, now)?;
        let room = |one: &Candidate| choice.most == 0 || one.under_way < choice.most;
        candidates.retain(room);
        choice.balance.narrow(&mut candidates);
        while let Some(place) = self.turns.next(&candidates) {
            let lease = self.servers.get(place).and_then(|server| server.lease(choice.most));
            if let Some(lease) = lease {
                return Ok(lease);
            }
            // Another configuration's request has just taken the last place.
            candidates.retain(|one| one.place != place);
        }
        Err(Unavailable::Full)
    }

    /// Whether there is a server to ask.
    pub(super) fn has_next(&self, choice: &Choice<'_>, now: Timestamp) -> bool {
        self.candidates(choice, now).is_ok()
    }

    /// Those that may be asked, whatever they have to do.
    fn candidates(
        &self,
        choice: &Choice<'_>,
        now: Timestamp,
    ) -> Result<Vec<Candidate>, Unavailable> {
        if self.servers.is_empty() {
            return Err(Unavailable::Unresolved);
        }
        let (mut fit, mut ejected, mut tried) = (Vec::new(), Vec::new(), Vec::new());
        for (place, server) in self.servers.iter().enumerate() {
            let found = server.found();
            if choice.checked && !found.health.is_up() {
                continue;
            }
            let one = Candidate { place, weight: server.weight, under_way: server.under_way() };
            if choice.tried.iter().any(|tried| tried.is(server)) {
                tried.push(one);
            } else if found.ejection.until(now).is_some() {
                ejected.push(one);
            } else {
                fit.push(one);
            }
        }
        let down = fit.is_empty() && ejected.is_empty() && tried.is_empty();
        let last = if choice.again { tried } else { Vec::new() };
        let of_use = [fit, ejected, last].into_iter().find(|some| !some.is_empty());
        of_use.ok_or(if down { Unavailable::Down } else { Unavailable::Tried })
    }

    /// Notes that a request failed at this server. True if that ejects it.
    pub(super) fn failed(
        &self,
        server: &Server,
        rule: &EjectionRule,
        checked: bool,
        now: Timestamp,
    ) -> bool {
        let goes_on = |other: &&Arc<Server>| !other.is(server) && is_up(other, checked, now);
        let others = self.servers.iter().any(|other| goes_on(&other));
        server.found().ejection.failed(now, rule, others)
    }

    /// How many servers get requests.
    pub(super) fn up(&self, checked: bool, now: Timestamp) -> usize {
        self.servers.iter().filter(|server| is_up(server, checked, now)).count()
    }
}

fn is_up(server: &Server, checked: bool, now: Timestamp) -> bool {
    let found = server.found();
    (!checked || found.health.is_up()) && found.ejection.until(now).is_none()
}

// === impl Server ===

impl Server {
    /// Whether it is what the configuration calls so: of one address under two names each is a
    /// server by itself, since each may have to prove another name.
    fn is_for(&self, host: Option<&str>) -> bool {
        self.address.host() == host
    }

    fn gone(&self) -> Gone {
        Gone {
            host: self.address.host().map(str::to_owned),
            at: self.at.clone(),
            condition: Arc::downgrade(&self.condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::address::Address;

    const NAME: &str = "app.internal";

    fn listed(name: &str, ips: &[&str]) -> Listed {
        let listed = Listed::new(Address::Tcp(name.to_owned(), 80), 1);
        let found = ips.iter().map(|ip| format!("{ip}:80").parse().unwrap());
        listed.found(found);
        listed
    }

    fn pool(ips: &[&str], old: Option<&Pool>) -> Pool {
        let mut pool = Pool::default();
        // As when a configuration is built: first without what is known.
        pool.rebuild(&[listed(NAME, ips)], None);
        pool.rebuild(&[listed(NAME, ips)], old);
        pool
    }

    const fn choice(tried: &[Arc<Server>], most: usize) -> Choice<'_> {
        Choice { balance: Balance::RoundRobin, most, checked: false, tried, again: false }
    }

    fn at(lease: &Lease) -> String {
        lease.server().to_string()
    }

    fn lease(pool: &mut Pool, most: usize) -> Result<Lease, Unavailable> {
        pool.next(&choice(&[], most), Timestamp::EPOCH)
    }

    #[test]
    fn each_address_of_a_name_is_a_server() {
        let mut pool = pool(&["10.0.0.1", "10.0.0.2"], None);
        let leases = [1, 2, 3].map(|_| lease(&mut pool, 1));
        let [first, second] =
            ["app.internal:80 (10.0.0.1:80)", "app.internal:80 (10.0.0.2:80)"].map(str::to_owned);
        let taken: Vec<_> = leases.iter().map(|lease| lease.as_ref().map(at)).collect();
        assert_eq!(taken, [Ok(first), Ok(second), Err(&Unavailable::Full)]);
    }

    #[test]
    fn an_address_that_is_gone_gets_nothing_and_what_is_there_goes_on() {
        let mut pool = pool(&["10.0.0.1", "10.0.0.2"], None);
        let held = [lease(&mut pool, 1), lease(&mut pool, 1)];
        pool.rebuild(&[listed(NAME, &["10.0.0.2", "10.0.0.3"])], None);
        let third = lease(&mut pool, 1);
        assert_eq!(third.as_ref().map(at).unwrap(), "app.internal:80 (10.0.0.3:80)");
        assert_eq!(lease(&mut pool, 1).unwrap_err(), Unavailable::Full, "the second is at work");
        pool.rebuild(&[listed(NAME, &["10.0.0.1"])], None);
        assert_eq!(lease(&mut pool, 1).unwrap_err(), Unavailable::Full, "and so is the first");
        drop(held);
        assert!(lease(&mut pool, 1).is_ok());
        pool.rebuild(&[listed(NAME, &["10.0.0.1"])], None);
        drop(third);
        pool.rebuild(&[listed(NAME, &["10.0.0.1"])], None);
        assert!(pool.gone.is_empty(), "nobody is there any more: {:?}", pool.gone);
    }

    #[test]
    fn another_configuration_knows_what_is_under_way() {
        let mut old = pool(&["10.0.0.1", "10.0.0.2"], None);
        let held = [lease(&mut old, 1).unwrap(), lease(&mut old, 1).unwrap()];
        let mut new = pool(&["10.0.0.2"], Some(&old));
        assert_eq!(lease(&mut new, 1).unwrap_err(), Unavailable::Full);
        let mut newer = pool(&["10.0.0.1"], Some(&new));
        assert_eq!(lease(&mut newer, 1).unwrap_err(), Unavailable::Full, "it was left out once");
        drop(held);
        assert!(lease(&mut newer, 1).is_ok());
    }

    #[test]
    fn who_was_tried_is_asked_again_only_if_that_may_be() {
        let mut pool = pool(&["10.0.0.1", "10.0.0.2"], None);
        let first = lease(&mut pool, 0).unwrap();
        let tried = [Arc::clone(first.server())];
        for _ in 0..3 {
            let next = pool.next(&choice(&tried, 0), Timestamp::EPOCH).unwrap();
            assert!(!next.server().is(first.server()));
        }
        let both = pool.servers().to_vec();
        let next = |pool: &mut Pool, again| {
            let choice = Choice { again, ..choice(&both, 0) };
            pool.next(&choice, Timestamp::EPOCH).map(drop)
        };
        assert_eq!(next(&mut pool, false), Err(Unavailable::Tried));
        assert_eq!(next(&mut pool, true), Ok(()));
        assert_eq!(lease(&mut Pool::default(), 0).unwrap_err(), Unavailable::Unresolved);
    }

    #[test]
    fn the_last_that_is_up_is_not_ejected() {
        let pool = pool(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], None);
        let rule = EjectionRule { failures: 1, span: std::time::Duration::from_secs(1) };
        let fail =
            |place: usize| pool.failed(&pool.servers()[place], &rule, true, Timestamp::EPOCH);
        assert_eq!([fail(0), fail(1), fail(2)], [true, true, false]);
        assert_eq!(pool.up(true, Timestamp::EPOCH), 1);
        assert_eq!(pool.up(true, Timestamp::from_micros(1_000_000)), 3);
    }
}
