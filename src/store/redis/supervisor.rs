//! Keeps the store connected, for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::advice::advice;
use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::teller::Teller;
use super::{RedisStore, lock};
use crate::store::breaker::Position;
use crate::store::local::LocalStore;

/// How often a connection is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// After so many probes the next failure is followed by a short pause again.
const HELD_PROBES: u32 = 5;
/// After so many it is a new story for the log.
const SETTLED_PROBES: u32 = 60;
/// How long a gateway goes on telling Redis before it lets requests go there, and how long once a
/// second after that.
const TELLING_MAX: Duration = Duration::from_secs(5);
const TELLING_STEP: Duration = Duration::from_millis(250);

// === impl RedisStore ===

impl RedisStore {
    /// Keeps the store connected for as long as the process runs, and tells it what `local` decided
    /// without it. Must run on the runtime that also makes the calls.
    pub async fn supervise(&self, local: &LocalStore) {
        let mut teller = Teller::default();
        loop {
            let pause = self.breaker().probe_in(self.clock.now());
            sleep(pause.into()).await;
            self.breaker().probe();
            self.show_position();
            let fault = match self.connect(local, &mut teller).await {
                Ok((link, told)) => {
                    self.publish(link);
                    teller.up(told);
                    self.tried.notify_one();
                    self.watch(local, &mut teller).await
                }
                Err(fault) => self.count(fault),
            };
            self.tried.notify_one();
            lock(&self.instances).disconnected();
            if self.breaker().position() != Position::Open {
                self.breaker().failed(self.clock.now(), fastrand::f64());
            }
            self.show_position();
            teller.away(&fault);
        }
    }

    /// A connection on which everything has been tried that requests need, and on which Redis has
    /// been told of what was decided without it; and of how many keys it was told.
    async fn connect(
        &self,
        local: &LocalStore,
        teller: &mut Teller,
    ) -> Result<(Link, usize), Fault> {
        let link = Link::open(&self.client).await?;
        let mut advice = self.look(&link).await?;
        let proven = self.prove(&link).await;
        if proven.is_err() {
            // What Redis says of itself may be why.
            teller.advise(advice);
            return proven.map(|()| (link, 0));
        }
        let beat = self.beat(&link).await?;
        if let Err(refused) = &beat {
            advice.push(format!(
                "the gateways cannot be counted ({refused}): set `store.expected_instances`, or \
                 grant what docs/operating.md lists"
            ));
        }
        teller.advise(advice);
        self.owe(beat.ok().flatten());
        let told = self.restore(&link, local, TELLING_MAX).await?;
        // Last, so that what has been taken meanwhile is among them.
        self.renew(&link, local.permits()).await?;
        Ok((link, told))
    }

    /// What Redis says of itself that would break a promise.
    async fn look(&self, link: &Link) -> Result<Vec<String>, Fault> {
        match link.info(self.patience()).await {
            Ok(info) => Ok(advice(&info)),
            Err(fault) if fault.kind() == FaultKind::ErrorReply => Ok(vec![format!(
                "cannot look at this Redis ({fault}): its version, role and eviction policy are \
                 not checked; grant `+info`"
            )]),
            Err(fault) => Err(fault),
        }
    }

    async fn prove(&self, link: &Link) -> Result<(), Fault> {
        let sent = self.clock.now();
        let answer = link.prove(&self.probe, self.timeout).await?;
        self.meet(answer.now);
        self.status.took(self.clock.now().since(sent));
        Ok(())
    }

    fn publish(&self, link: Link) {
        // Closed first: a fault of the first call must find a breaker that it can open.
        self.breaker().close();
        self.show_position();
        *lock(&self.cause) = None;
        self.link.store(Some(Arc::new(link)));
    }

    /// Returns when the connection has failed: by the fault of a call or of the regular probe.
    async fn watch(&self, local: &LocalStore, teller: &mut Teller) -> Fault {
        let mut probes = 0;
        loop {
            let broken = async {
                // A notice may be left from an earlier connection.
                while self.link.load().is_some() {
                    self.broken.notified().await;
                }
            };
            let proven = tokio::select! {
                () = broken => {
                    let cause = lock(&self.cause).take();
                    return cause.unwrap_or_else(|| Fault::new(FaultKind::Away, "given up"));
                }
                proven = self.look_after(local) => proven,
            };
            if let Err(fault) = proven {
                self.link.store(None);
                return self.count(fault);
            }
            probes += 1;
            if probes == HELD_PROBES {
                self.breaker().settle();
            }
            if probes == SETTLED_PROBES {
                teller.settled();
            }
        }
    }

    /// What a connection needs once a second.
    async fn look_after(&self, local: &LocalStore) -> Result<(), Fault> {
        sleep(PROBE_EVERY).await;
        let Some(link) = self.link.load_full() else { return Ok(()) };
        self.prove(&link).await?;
        // Refused or not, the connection is good. But a Redis that remembers no heartbeat has been
        // emptied while it was connected.
        if let Ok(None) = self.beat(&link).await? {
            self.owe(None);
            self.renew(&link, local.permits()).await?;
        }
        self.restore(&link, local, TELLING_STEP).await.map(drop)
    }
}
