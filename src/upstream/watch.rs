//! What goes on beside the requests: names are looked up again, and servers are checked.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::check::Checker;
use super::health::Change;
use super::server::Checking;
use super::tally::count;
use super::{Upstream, now};

/// How long a resolved name is used before it is looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// How soon a name that could not be resolved is looked up again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks at which checks are due.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Checks come after four fifths of the interval to a whole one, so that they spread, of 256.
const PART: std::ops::RangeInclusive<u64> = 205..=256;

// === impl Upstream ===

impl Upstream {
    /// Looks names up and checks servers from now on, for as long as the upstream is in force.
    pub fn start(self: &Arc<Self>) {
        tokio::spawn(Self::keep_resolved(Arc::clone(self)));
        tokio::spawn(Self::keep_checked(Arc::clone(self)));
    }

    /// Returns when something is known of each name and, where they are checked, of each server.
    pub async fn known(&self) {
        let mut news = self.news.subscribe();
        while !self.is_known() && news.changed().await.is_ok() {}
    }

    fn is_known(&self) -> bool {
        let checked = self.settings.health.is_some();
        self.listed.iter().all(super::address::Listed::is_known)
            && (!checked || self.servers().iter().all(|server| server.found().health.is_known()))
    }

    /// Requests never look up.
    async fn keep_resolved(self: Arc<Self>) {
        if !self.listed.iter().any(|listed| listed.address.has_name()) {
            return;
        }
        let (me, mut end) = (Arc::downgrade(&self), self.retired.subscribe());
        drop(self);
        while let Some(upstream) = me.upgrade() {
            let mut moved = false;
            for listed in upstream.listed.iter().filter(|listed| listed.address.has_name()) {
                moved |= listed.resolve(&upstream.name).await;
            }
            if moved {
                upstream.rebuild(None);
            }
            let all = upstream.listed.iter().all(super::address::Listed::is_known);
            drop(upstream);
            let pause = sleep(if all { RESOLVE_EVERY } else { RESOLVE_AGAIN });
            tokio::select! {
                () = pause => {}
                _ = end.wait_for(|retired| *retired) => return,
            }
        }
    }

    async fn keep_checked(self: Arc<Self>) {
        let Some(check) = &self.settings.health else { return };
        let checker = Arc::new(Checker::new(check));
        let (mut news, mut end) = (self.news.subscribe(), self.retired.subscribe());
        let me = Arc::downgrade(&self);
        drop(self);
        while let Some(upstream) = me.upgrade() {
            news.mark_unchanged();
            let pause = upstream.begin_checks(&checker);
            drop(upstream);
            tokio::select! {
                // Nothing is new so often that it would be worth more looks.
                _ = timeout(pause, news.changed()) => {}
                _ = end.wait_for(|retired| *retired) => return,
            }
        }
    }

    /// Begins what is due, and says how long nothing else will be.
    fn begin_checks(self: &Arc<Self>, checker: &Arc<Checker>) -> Duration {
        let Some(check) = &self.settings.health else { return RESOLVE_EVERY };
        let now = now();
        let mut pause = check.interval;
        for server in self.servers() {
            let due = server.found().health.due(check.interval);
            if let Some(due) = due.filter(|due| *due > now) {
                pause = pause.min(due.since(now).into());
                continue;
            }
            let Some(checking) = server.begin_check() else {
                pause = LOOK_MIN;
                continue;
            };
            server.found().health.begin(now, fastrand::u64(PART));
            let (me, checker) = (Arc::clone(self), Arc::clone(checker));
            tokio::spawn(async move { me.check(&checker, checking).await });
        }
        pause.max(LOOK_MIN)
    }

    /// Checks a server and notes what comes of it.
    async fn check(&self, checker: &Checker, checking: Checking) {
        let Some(check) = &self.settings.health else { return };
        let server = checking.server();
        let result = checker.check(server, &self.settings, check).await;
        let change = {
            let mut found = server.found();
            let change = found.health.note(result.is_ok(), check);
            if change == Some(Change::Up) {
                found.ejection.succeeded();
            }
            change
        };
        let tally = self.tally();
        count(if result.is_ok() { &tally.good_checks } else { &tally.bad_checks });
        let (upstream, server) = (&self.name, server.to_string());
        match (change, result) {
            (Some(Change::Down), Err(reason)) => {
                tracing::warn!(upstream, server, reason, "the server is down, say its checks");
            }
            (Some(Change::Up), _) => {
                tracing::info!(upstream, server, "the server is up again, say its checks");
            }
            _ => {}
        }
        drop(checking);
        self.news.send_replace(());
    }
}
