//! This gateway's sign of life in Redis, and what it learns from it: how many gateways there are,
//! whether Redis still remembers what it knew, and whether the others have told what they knew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Value, cmd};
use tokio::time::{sleep, timeout};

use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::lock;
use super::scripts::HEARTBEAT;
use super::shard::Shard;
use crate::limit::{Micros, Timestamp};
use crate::store::instances::BEAT_LIFE;

/// Milliseconds that Redis remembers the gateways without a heartbeat: a day. It is by its
/// heartbeat there that a gateway knows after an outage that Redis has forgotten nothing.
const KEPT_MS: u64 = 86_400_000;
/// Longest wait for the other gateways: a little more than they take to notice Redis' return.
const GATHER_MAX: Duration = Duration::from_millis(1_500);
/// How often to look whether they have come.
const GATHER_EVERY: Duration = Duration::from_millis(20);
/// Who has told longer ago has told an earlier Redis.
const TOLD_LIFE: Micros = Micros::new(3_000_000);

/// This gateway among those that share the store, on one of its servers.
pub(super) struct Heart {
    /// The set of gateways that live.
    live: String,
    /// The set of those that have told a forgetful Redis what they had seen.
    told: String,
    /// The number of this gateway's last call of restore.lua.
    pub(super) calls: String,
    /// By the server's clock.
    beaten_at: Mutex<Option<Timestamp>>,
    /// There is none yet, and none was forgotten either.
    anew: AtomicBool,
}

/// A heartbeat's reply.
struct Beat {
    now: Timestamp,
    last: u64,
    count: u64,
}

// === impl Heart ===

impl Heart {
    pub(super) fn new(key_prefix: &str, subject: &str, name: &str) -> Self {
        let key = |what: &str| format!("{key_prefix}:{{{subject}}}:{what}");
        Self {
            live: key("live"),
            told: key("told"),
            calls: key(&format!("calls:{name}")),
            beaten_at: Mutex::new(None),
            anew: AtomicBool::new(false),
        }
    }

    /// The connection is lost, so what was handed over may be lost as well.
    pub(super) fn is_parted(&self) {
        self.anew.store(false, Ordering::Relaxed);
    }

    /// That there is no heartbeat yet does not mean that one was forgotten: the slots were handed
    /// over by whoever had them.
    pub(super) fn begin_anew(&self) {
        self.anew.store(true, Ordering::Relaxed);
    }
}

// === impl Shard ===

impl Shard {
    /// Beats on `link`, and returns the heartbeat before if Redis remembers it: if it does not, it
    /// has lost its memory or meets this gateway for the first time. That Redis refuses is no fault
    /// of the store: it may still decide. Then the gateways are not counted.
    pub(super) async fn beat(
        &self,
        link: &Link,
    ) -> Result<Result<Option<Timestamp>, Fault>, Fault> {
        let heart = Arc::clone(&self.duty().heart);
        let beat = match self.beat_in(link, &heart.live, BEAT_LIFE).await {
            Ok(beat) => beat,
            Err(fault) if fault.kind() == FaultKind::ErrorReply => return Ok(Err(fault)),
            // Its slot is moving: what is remembered will be seen where it is next.
            Err(fault) if fault.kind() == FaultKind::Moved => return Ok(Ok(Some(self.now()))),
            Err(fault) => return Err(fault),
        };
        self.common.counted(beat.count);
        let before = lock(&heart.beaten_at).replace(beat.now);
        if heart.anew.swap(false, Ordering::Relaxed) {
            return Ok(Ok(Some(beat.now)));
        }
        // A Redis that came back with an older memory remembers an older heartbeat.
        Ok(Ok(before.filter(|before| beat.last >= before.as_micros())))
    }

    /// Says that this gateway has told what it had seen; and if it `waits`, returns when the others
    /// have as well, or have taken too long.
    /// On an `occasion` it is those who have told on the same.
    pub(super) async fn gather(
        &self,
        link: &Link,
        waits: bool,
        occasion: Option<String>,
    ) -> Result<(), Fault> {
        let heart = Arc::clone(&self.duty().heart);
        let told = match occasion {
            Some(occasion) => format!("{}:{occasion}", heart.told),
            None => heart.told.clone(),
        };
        let gathering = async {
            loop {
                let beat = self.beat_in(link, &told, TOLD_LIFE).await?;
                if !waits || beat.count >= self.common.instances() {
                    return Ok::<(), Fault>(());
                }
                sleep(GATHER_EVERY).await;
            }
        };
        match timeout(GATHER_MAX, gathering).await {
            Ok(Err(fault)) if fault.kind() != FaultKind::ErrorReply => Err(fault),
            _ => Ok(()),
        }
    }

    async fn beat_in(&self, link: &Link, set: &str, life: Micros) -> Result<Beat, Fault> {
        let command = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(1).arg(set).arg(&self.common.name);
            command.arg(life.get()).arg(KEPT_MS);
            command
        };
        let Value::Array(parts) = link.run(&HEARTBEAT, command, self.common.patience()).await?
        else {
            return Err(Fault::malformed());
        };
        let [Value::Int(now), Value::Int(last), Value::Int(count)] = parts.as_slice() else {
            return Err(Fault::malformed());
        };
        let unsigned = |number: i64| u64::try_from(number).map_err(|_| Fault::malformed());
        let now = Timestamp::from_micros(unsigned(*now)?);
        Ok(Beat { now, last: unsigned(*last)?, count: unsigned(*count)? })
    }
}
