//! Slots that move from one master to another, as an operator moves them: under load, in steps that
//! a test may also take one by one.

use std::ops::Range;

use super::Cluster;

/// Keys that one MIGRATE moves.
const BATCH: usize = 100;
/// For one MIGRATE, in milliseconds: the master takes nothing else meanwhile.
const MIGRATE_TIMEOUT: &str = "5000";

// === impl Cluster ===

impl Cluster {
    /// Moves a slot and its keys.
    pub(crate) fn migrate_slot(&self, slot: u16, to: usize) {
        if self.master_of(slot) == to {
            return;
        }
        self.open_slot(slot, to);
        self.move_keys(slot, to);
        self.close_slot(slot, to);
    }

    /// Moves slots one after the other.
    pub(crate) fn migrate_slots(&self, slots: Range<u16>, to: usize) {
        for slot in slots {
            self.migrate_slot(slot, to);
        }
    }

    /// From now on the old master answers ASK for keys that it does not have, and TRYAGAIN for
    /// several of which it has some.
    pub(crate) fn open_slot(&self, slot: u16, to: usize) {
        let (from, number) = (self.master_of(slot), slot.to_string());
        let [old, new] = [from, to].map(|node| self.id(node).to_owned());
        self.ok(to, &["CLUSTER", "SETSLOT", &number, "IMPORTING", &old]);
        self.ok(from, &["CLUSTER", "SETSLOT", &number, "MIGRATING", &new]);
    }

    /// Moves the keys that an open slot has.
    pub(crate) fn move_keys(&self, slot: u16, to: usize) {
        let (from, number) = (self.server(self.master_of(slot)), slot.to_string());
        let port = self.server(to).address().port().to_string();
        loop {
            let keys: Vec<String> =
                from.command(&["CLUSTER", "GETKEYSINSLOT", &number, &BATCH.to_string()]);
            if keys.is_empty() {
                return;
            }
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", MIGRATE_TIMEOUT];
            if let Some(password) = self.password() {
                words.extend(["AUTH", password]);
            }
            words.push("KEYS");
            words.extend(keys.iter().map(String::as_str));
            // `NOKEY` where they have run down meanwhile.
            from.command::<String>(&words);
        }
    }

    /// The slot is the new master's. It learns that first: so no request is sent to and fro.
    pub(crate) fn close_slot(&self, slot: u16, to: usize) {
        let (from, number) = (self.master_of(slot), slot.to_string());
        let others = self.masters().into_iter().filter(|node| *node != from && *node != to);
        for node in [to, from].into_iter().chain(others) {
            self.ok(node, &["CLUSTER", "SETSLOT", &number, "NODE", self.id(to)]);
        }
    }
}
