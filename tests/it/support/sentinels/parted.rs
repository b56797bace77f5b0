//! A network that is parted and made whole again.

use std::net::Ipv4Addr;

use super::{BACKSTAGE, Sentinels};
use crate::support::fault_proxy::Behaviour;

// === impl Sentinels ===

impl Sentinels {
    /// Sentinels and replicas lose this server; gateways still reach it.
    pub(crate) fn cut_off_backstage(&self, server: usize) {
        self.door(server).set_for(BACKSTAGE.into(), Behaviour::Hold);
    }

    /// Gateways lose this server; Sentinels and replicas still reach it.
    pub(crate) fn cut_off_gateways(&self, server: usize) {
        self.door(server).set_for(Ipv4Addr::LOCALHOST.into(), Behaviour::Hold);
    }

    /// Everybody loses this server.
    pub(crate) fn cut_off(&self, server: usize) {
        self.door(server).set(Behaviour::Hold);
    }

    /// All reach it again, and get what was under way.
    pub(crate) fn heal(&self, server: usize) {
        self.door(server).set(Behaviour::Pass);
    }

    fn door(&self, server: usize) -> &crate::support::fault_proxy::FaultProxy {
        self.doors.get(server).expect("a plan that asked for doors")
    }
}
