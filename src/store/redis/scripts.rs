//! The scripts that run in Redis, each with the hash by which Redis knows it.

use std::sync::OnceLock;

use crate::store::script::{self, PENALIZE_SOURCE, SETTLE_SOURCE, SOURCE};

/// Decides.
pub(super) static DECIDE: Script = Script::new(SOURCE);
/// Writes what a gateway knows better than Redis.
pub(super) static RESTORE: Script = Script::new(script::RESTORE_SOURCE);
/// Charges and gives back what requests turned out to cost.
pub(super) static SETTLE: Script = Script::new(SETTLE_SOURCE);
/// Counts denials and makes bans.
pub(super) static PENALIZE: Script = Script::new(PENALIZE_SOURCE);
/// Counts the gateways.
pub(super) static HEARTBEAT: Script = Script::new(include_str!("../../../lua/heartbeat.lua"));

/// All of them.
pub(super) static ALL: [&Script; 5] = [&DECIDE, &RESTORE, &SETTLE, &PENALIZE, &HEARTBEAT];

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
