//! This gateway's sign of life in Redis, and what it learns from it: how many gateways there are,
//! and whether Redis still remembers what it knew.

use std::time::Duration;

use redis::{Value, cmd};

use super::RedisStore;
use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::lock;
use super::scripts::HEARTBEAT;
use crate::limit::Timestamp;
use crate::store::instances::BEAT_LIFE;

/// Longest wait for a heartbeat's answer; no request waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Milliseconds that Redis remembers the gateways without a heartbeat: a day. It is by its
/// heartbeat there that a gateway knows after an outage that Redis has forgotten nothing.
const KEPT_MS: u64 = 86_400_000;

/// What a heartbeat said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Redis remembers the last one.
    Remembered,
    /// It does not: it lost its memory, or meets this gateway for the first time.
    Forgotten,
}

// === impl RedisStore ===

impl RedisStore {
    /// Beats on `link`. That Redis refuses it is no fault of the store: it may still decide. Then
    /// the gateways are not counted, and what Redis remembers is not known.
    pub(super) async fn beat(&self, link: &Link) -> Result<Result<Beat, Fault>, Fault> {
        let command = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(1).arg(&self.heart.key).arg(&self.heart.name);
            command.arg(BEAT_LIFE.get()).arg(KEPT_MS);
            command
        };
        let reply = match link.run(&HEARTBEAT, command, TIMEOUT).await {
            Ok(reply) => reply,
            Err(fault) if fault.kind() == FaultKind::ErrorReply => return Ok(Err(fault)),
            Err(fault) => return Err(fault),
        };
        let Value::Array(parts) = reply else { return Err(Fault::malformed()) };
        let [Value::Int(now), Value::Int(last), Value::Int(count)] = parts.as_slice() else {
            return Err(Fault::malformed());
        };
        let unsigned = |number: i64| u64::try_from(number).map_err(|_| Fault::malformed());
        let (now, last) = (Timestamp::from_micros(unsigned(*now)?), unsigned(*last)?);
        lock(&self.instances).counted(unsigned(*count)?, self.clock.now());
        let before = lock(&self.heart.beaten_at).replace(now);
        // A Redis that came back with an older memory remembers an older heartbeat.
        let remembered = before.is_some_and(|before| last >= before.as_micros());
        Ok(Ok(if remembered { Beat::Remembered } else { Beat::Forgotten }))
    }
}
