//! Keeps a server of the store connected, for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::advice::{NODE, advice};
use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::lock;
use super::shard::Shard;
use super::teller::Teller;
use crate::store::breaker::Position;
use crate::store::local::LocalStore;

/// How often a connection is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// After so many probes the next failure is followed by a short pause again.
const HELD_PROBES: u32 = 5;
/// After so many it is a new story for the log.
const SETTLED_PROBES: u32 = 60;
/// So many probes in a row that are sent elsewhere, and no map says where: the server is of no use.
const MOVED_MAX: u32 = 5;
/// How long a gateway goes on telling Redis before it lets requests go there, and how long once a
/// second after that.
const TELLING_MAX: Duration = Duration::from_secs(5);
const TELLING_STEP: Duration = Duration::from_millis(250);

// === impl Shard ===

impl Shard {
    /// Keeps the server connected for as long as the process runs, and tells it what `local` decided
    /// without it. Must run on the runtime that also makes the calls.
    pub(super) async fn supervise(&self, local: &LocalStore) {
        let mut teller = Teller::default();
        loop {
            let pause = self.breaker().probe_in(self.common.clock.now());
            // A better place to connect to ends the pause.
            let _ = timeout(pause.into(), self.hurried.notified()).await;
            self.breaker().probe();
            self.show_position();
            let left = self.times_left();
            let connected = tokio::select! {
                connected = self.connect(local, &mut teller) => connected,
                () = self.hurried.notified() => Err(Fault::away()),
            };
            let fault = match connected {
                // Meanwhile the server has turned out to be elsewhere.
                Ok(_) if self.times_left() != left => Fault::away(),
                Ok((link, told)) => {
                    self.publish(link, left);
                    local.permits().wake();
                    teller.up(self.name().as_deref(), told);
                    self.has_tried();
                    let fault = self.watch(local, &mut teller).await;
                    self.duty().heart.is_parted();
                    fault
                }
                Err(fault) => self.common.count(fault),
            };
            self.has_tried();
            self.common.remap.notify_one();
            if self.breaker().position() != Position::Open {
                self.breaker().failed(self.common.clock.now(), fastrand::f64());
            }
            self.show_position();
            teller.away(self.name().as_deref(), &fault);
        }
    }

    /// A connection on which everything has been tried that requests need, and on which Redis has
    /// been told of what was decided without it; and of how many keys it was told.
    async fn connect(
        &self,
        local: &LocalStore,
        teller: &mut Teller,
    ) -> Result<(Link, usize), Fault> {
        let link = self.open().await?;
        let mut advice = self.look(&link).await?;
        let proven = self.prove(&link).await;
        if let Err(fault) = &proven {
            if fault.kind() == FaultKind::Moved && self.duty().slots.is_none() {
                advice.push(NODE.to_owned());
            }
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
        self.settle_inheritance();
        Ok((link, told))
    }

    /// What Redis says of itself that would break a promise.
    async fn look(&self, link: &Link) -> Result<Vec<String>, Fault> {
        match link.info(self.common.patience()).await {
            Ok(info) => Ok(advice(&info, self.found())),
            Err(fault) if fault.kind() == FaultKind::ErrorReply => Ok(vec![format!(
                "cannot look at this Redis ({fault}): its version, role and eviction policy are \
                 not checked; grant `+info`"
            )]),
            Err(fault) => Err(fault),
        }
    }

    async fn prove(&self, link: &Link) -> Result<(), Fault> {
        let (clock, duty) = (&self.common.clock, self.duty());
        let mut last = Fault::malformed();
        for probe in &duty.probes {
            let sent = clock.now();
            match link.prove(probe, self.common.timeout()).await {
                Ok(answer) => {
                    self.meet(answer.now);
                    self.took(clock.now().since(sent));
                    return Ok(());
                }
                // Its slot is moving, or has moved; the next one is in another.
                Err(fault) if fault.kind() == FaultKind::Moved => {
                    self.common.remap.notify_one();
                    last = fault;
                }
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    /// Lets requests use `link`, unless the server has turned out to be elsewhere since it had been
    /// left so often.
    fn publish(&self, link: Link, left: u64) {
        // Closed first: a fault of the first call must find a breaker that it can open.
        self.breaker().close();
        self.show_position();
        *lock(&self.cause) = None;
        self.link.store(Some(Arc::new(link)));
        if self.times_left() != left {
            self.link.store(None);
        }
    }

    /// Returns when the connection has failed: by the fault of a call or of the regular probe.
    async fn watch(&self, local: &LocalStore, teller: &mut Teller) -> Fault {
        let (mut probes, mut moved) = (0, 0);
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
                let fault = self.common.count(fault);
                moved += 1;
                if fault.kind() == FaultKind::Moved && moved < MOVED_MAX {
                    // The server is well. A slot has left it, perhaps the one with the gateway's
                    // own keys: the map tells what is served here now.
                    self.common.remap.notify_one();
                    continue;
                }
                self.link.store(None);
                return fault;
            }
            moved = 0;
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
        let _ = timeout(PROBE_EVERY, self.bequeathed.notified()).await;
        let Some(link) = self.link.load_full() else { return Ok(()) };
        self.prove(&link).await?;
        // Refused or not, the connection is good. But a Redis that remembers no heartbeat has been
        // emptied while it was connected.
        if let Ok(None) = self.beat(&link).await? {
            self.owe(None);
            self.renew(&link, local.permits()).await?;
        }
        let longest = if self.is_heir() { TELLING_MAX } else { TELLING_STEP };
        self.restore(&link, local, longest).await?;
        if self.is_heir() {
            self.renew(&link, local.permits()).await?;
            self.settle_inheritance();
        }
        Ok(())
    }
}
