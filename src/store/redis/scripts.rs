//! The scripts that run in Redis, each with the hash by which Redis knows it.

use std::sync::OnceLock;

use crate::store::script::{self, PENALIZE_SOURCE, QUOTAS_SOURCE, SETTLE_SOURCE, SOURCE};

/// Decides.
pub(super) static DECIDE: Script = Script::new(SOURCE);
/// Decides where there are no bans and permits.
pub(super) static DECIDE_QUOTAS: Script = Script::new(QUOTAS_SOURCE);
/// Writes what a gateway knows better than Redis.
pub(super) static RESTORE: Script = Script::new(script::RESTORE_SOURCE);
/// Charges and gives back what requests turned out to cost.
pub(super) static SETTLE: Script = Script::new(SETTLE_SOURCE);
/// Counts denials and makes bans.
pub(super) static PENALIZE: Script = Script::new(PENALIZE_SOURCE);
/// Is told which permits are held.
pub(super) static PERMITS: Script = Script::new(script::PERMITS_SOURCE);
/// Counts the gateways.
pub(super) static HEARTBEAT: Script = Script::new(include_str!("../../../lua/heartbeat.lua"));

/// Counts views.
pub(super) static METER: Script = Script::new(include_str!("../../../lua/meter.lua"));
/// Makes batches of what was counted.
pub(super) static EXPORT: Script = Script::new(include_str!("../../../lua/export.lua"));
/// Says which gateway hands them over.
pub(super) static LEASE: Script = Script::new(include_str!("../../../lua/lease.lua"));

/// All of them.
pub(super) static ALL: [&Script; 10] = [
    &DECIDE,
    &DECIDE_QUOTAS,
    &RESTORE,
    &SETTLE,
    &PENALIZE,
    &PERMITS,
    &HEARTBEAT,
    &METER,
    &EXPORT,
    &LEASE,
];

/// A script.
pub(super) struct Script {
    source: &'static str,
    hash: OnceLock<String>,
}

// === impl Script ===

impl Script {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, hash: OnceLock::new() }
    }

    pub(super) const fn source(&self) -> &'static str {
        self.source
    }

    pub(super) fn hash(&self) -> &str {
        self.hash.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }
}
