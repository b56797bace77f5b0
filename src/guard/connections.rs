//! How many connections are open: in all, and for each client's network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

use super::counts::{Counted, Counts};

/// The doors. A connection holds a permit for each, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Connections {
    open: IntGauge,
    held: Mutex<Held>,
    counts: Arc<Counts>,
}

/// Never more entries than connections.
#[derive(Debug, Default)]
struct Held {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// The right of one connection to be open. It ends with it.
#[derive(Debug)]
pub(super) struct Permit {
    connections: Arc<Connections>,
    /// What it counts for besides the sum.
    network: Option<IpAddr>,
}

// === impl Connections ===

impl Connections {
    /// `open` shows how many there are.
    pub(super) fn new(open: IntGauge, counts: Arc<Counts>) -> Self {
        Self { open, held: Mutex::default(), counts }
    }

    /// A permit, if there are fewer than `most`.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.all >= most {
            return None;
        }
        held.all += 1;
        self.open.inc();
        Some(Permit { connections: Arc::clone(self), network: None })
    }
}

// === impl Permit ===

impl Permit {
    /// Counts the connection as one that lingers, for as long as what is returned lives.
    pub(super) fn lingers(&self) -> Counted {
        Counted::new(&self.connections.counts, |counts| &counts.lingering)
    }

    /// Counts the connection for the network of its client too. False if that has `most` already;
    /// 0 means no bound, and it is counted all the same: a bound may come by a reload.
    pub(super) fn count_for(&mut self, network: IpAddr, most: usize) -> bool {
        let mut held = self.connections.held.lock().unwrap_or_else(PoisonError::into_inner);
        let open = held.each.entry(network).or_default();
        if most > 0 && *open >= most {
            return false;
        }
        *open += 1;
        self.network = Some(network);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.connections.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= 1;
        self.connections.open.dec();
        let Some(network) = self.network else { return };
        if let Some(open) = held.each.get_mut(&network) {
            *open -= 1;
            if *open == 0 {
                held.each.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_again_when_one_leaves() {
        let gauge = IntGauge::new("open", "open").unwrap();
        let connections = Arc::new(Connections::new(gauge.clone(), Arc::default()));
        let network = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let mut first = connections.enter(3).unwrap();
        assert!(first.count_for(network(1), 1));
        let mut second = connections.enter(3).unwrap();
        assert!(!second.count_for(network(1), 1));
        assert!(second.count_for(network(2), 1));
        let third = connections.enter(3);
        assert!(third.is_some() && connections.enter(3).is_none());
        assert_eq!(gauge.get(), 3);
        drop(first);
        let mut fourth = connections.enter(3).unwrap();
        assert!(fourth.count_for(network(1), 1));
        assert!(connections.enter(4).is_some(), "one more, once the bound is higher");
        drop((second, third, fourth));
        assert_eq!((gauge.get(), connections.held.lock().unwrap().each.len()), (0, 0));
    }

    #[test]
    fn a_bound_that_comes_later_counts_those_who_are_there() {
        let connections =
            Arc::new(Connections::new(IntGauge::new("open", "open").unwrap(), Arc::default()));
        let network = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut held: Vec<Permit> = (0..3).filter_map(|_| connections.enter(9)).collect();
        assert!(held.iter_mut().all(|permit| permit.count_for(network, 0)));
        let mut next = connections.enter(9).unwrap();
        assert!(!next.count_for(network, 3));
        assert!(next.count_for(network, 4));
    }
}
