//! Keeps the store connected, for ever, and says so without flooding the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::{RedisStore, lock};
use crate::store::breaker::Position;

/// How often a connection is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A connection has settled after so many probes: then the next failure is a new story.
const SETTLED_PROBES: u32 = 5;
/// Connections in a row that may fail before they settle and still be told of.
const TOLD_MAX: u32 = 3;

/// Tells the operator of every change, but not of every flutter.
#[derive(Debug, Default)]
struct Teller {
    told_away: bool,
    unsettled: u32,
}

// === impl RedisStore ===

impl RedisStore {
    /// Keeps the store connected for as long as the process runs. Must run on the runtime that
    /// also makes the calls.
    pub async fn supervise(&self) {
        let mut teller = Teller::default();
        loop {
            let pause = self.breaker().probe_in(self.clock.now());
            sleep(pause.into()).await;
            self.breaker().probe();
            self.show_position();
            let fault = match self.connect().await {
                Ok(link) => {
                    self.publish(link);
                    teller.up();
                    self.tried.notify_one();
                    self.watch(&mut teller).await
                }
                Err(fault) => self.count(fault),
            };
            self.tried.notify_one();
            if self.breaker().position() != Position::Open {
                self.breaker().failed(self.clock.now(), fastrand::f64());
            }
            self.show_position();
            teller.away(&fault);
        }
    }

    async fn connect(&self) -> Result<Link, Fault> {
        let link = Link::open(&self.client).await?;
        self.prove(&link).await?;
        Ok(link)
    }

    async fn prove(&self, link: &Link) -> Result<(), Fault> {
        let sent = self.clock.now();
        link.prove(&self.probe, self.timeout).await?;
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
    async fn watch(&self, teller: &mut Teller) -> Fault {
        let mut probes = 0;
        loop {
            let broken = async {
                // A notice may be left from an earlier connection.
                while self.link.load().is_some() {
                    self.broken.notified().await;
                }
            };
            let proof = async {
                sleep(PROBE_EVERY).await;
                match self.link.load_full() {
                    Some(link) => self.prove(&link).await,
                    None => Ok(()),
                }
            };
            let proven = tokio::select! {
                () = broken => {
                    let cause = lock(&self.cause).take();
                    return cause.unwrap_or_else(|| Fault::new(FaultKind::Away, "given up"));
                }
                proven = proof => proven,
            };
            if let Err(fault) = proven {
                self.link.store(None);
                return self.count(fault);
            }
            probes += 1;
            if probes == SETTLED_PROBES {
                self.breaker().settle();
                teller.settled();
            }
        }
    }
}

// === impl Teller ===

impl Teller {
    fn up(&mut self) {
        if self.unsettled < TOLD_MAX {
            tracing::info!("redis decides: connected");
            self.told_away = false;
        }
    }

    fn away(&mut self, fault: &Fault) {
        if self.told_away {
            return;
        }
        self.told_away = true;
        self.unsettled += 1;
        if self.unsettled < TOLD_MAX {
            tracing::warn!(%fault, "redis is away: deciding without it until it answers");
        } else {
            tracing::warn!(%fault, "redis keeps going away: deciding without it; silent until a connection has held for 5 s");
        }
    }

    fn settled(&mut self) {
        if self.unsettled >= TOLD_MAX {
            tracing::info!("redis decides: settled");
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Fault {
        Fault::new(FaultKind::Connection, "broken pipe")
    }

    #[test]
    fn flutter_is_told_of_a_few_times_and_then_not() {
        let mut teller = Teller::default();
        let told: Vec<bool> = (0..6)
            .map(|_| {
                teller.up();
                let untold = !teller.told_away;
                teller.away(&gone());
                untold
            })
            .collect();
        assert_eq!(told, [true, true, true, false, false, false]);
    }

    #[test]
    fn an_outage_after_a_settled_connection_is_told_afresh() {
        let mut teller = Teller::default();
        for _ in 0..6 {
            teller.up();
            teller.away(&gone());
        }
        teller.up();
        teller.settled();
        assert!(!teller.told_away && teller.unsettled == 0);
        teller.away(&gone());
        assert!(teller.told_away && teller.unsettled == 1);
    }
}
