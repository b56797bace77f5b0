//! Nodes that die, hang, come back, and take over from one another.

use super::{Cluster, Life};
use crate::support::redis::wait_until;

// === impl Cluster ===

impl Cluster {
    /// `kill -9`.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].server.kill();
        self.nodes[node].life = Life::Dead;
    }

    /// Starts a dead node again, on its ports and with what it knew of the cluster. Whatever it was,
    /// it becomes what the others have made of it meanwhile.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node].server.restart();
        self.nodes[node].life = Life::Runs;
    }

    /// Kills all that run.
    pub(crate) fn kill_all(&mut self) {
        for node in self.running() {
            self.kill(node);
        }
    }

    /// Starts all that are dead, and waits until they serve.
    pub(crate) fn restart_all(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].life == Life::Dead {
                self.restart(node);
            }
        }
        self.wait_until_well();
    }

    /// The node hangs: its connections stay open and nothing is answered.
    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].server.signal("STOP");
        self.nodes[node].life = Life::Paused;
    }

    /// It goes on with what it was asked meanwhile.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].server.signal("CONT");
        self.nodes[node].life = Life::Runs;
    }

    /// A planned failover: this replica takes over from its master, with all its data.
    pub(crate) fn failover(&self, replica: usize) {
        self.ok(replica, &["CLUSTER", "FAILOVER"]);
        wait_until("the replica to take over", || self.itself(replica).serves());
        self.wait_until_well();
    }

    /// Waits until a replica of this dead or paused master has taken over its slots; its number.
    pub(crate) fn wait_for_promotion(&self, of: usize) -> usize {
        let group = self.nodes[of].group;
        let mates = (0..self.nodes.len()).filter(|node| self.nodes[*node].group == group);
        let mates: Vec<usize> = mates.filter(|node| *node != of).collect();
        let mut heir = None;
        wait_until("a replica to take over", || {
            let mut running = self.running().into_iter().filter(|node| mates.contains(node));
            heir = running.find(|node| self.itself(*node).serves());
            heir.is_some()
        });
        heir.expect("there is one")
    }

    /// Takes a node that serves nothing out of the cluster, and ends it.
    pub(crate) fn remove(&mut self, node: usize) {
        assert!(!self.itself(node).serves(), "it still has slots");
        let id = self.id(node).to_owned();
        for other in self.running().into_iter().filter(|other| *other != node) {
            self.ok(other, &["CLUSTER", "FORGET", &id]);
        }
        self.kill(node);
        self.nodes[node].life = Life::Removed;
    }
}
