//! How many connections are open: in all, and for each client's network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;

/// The doors. A connection holds a permit for each, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    most_each: usize,
    open: IntGauge,
    held: Mutex<Held>,
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
    /// `open` shows how many there are. A `most_each` of 0 means no bound of its own.
    pub(super) fn new(most: usize, most_each: usize, open: IntGauge) -> Self {
        Self { most, most_each, open, held: Mutex::default() }
    }

    /// A permit, if there is room for one more.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.all >= self.most {
            return None;
        }
        held.all += 1;
        self.open.inc();
        Some(Permit { connections: Arc::clone(self), network: None })
    }
}

// === impl Permit ===

impl Permit {
    /// Counts the connection for the network of its client too. False if that has no room.
    pub(super) fn count_for(&mut self, network: IpAddr) -> bool {
        let most = self.connections.most_each;
        if most == 0 {
            return true;
        }
        let mut held = self.connections.held.lock().unwrap_or_else(PoisonError::into_inner);
        let open = held.each.entry(network).or_default();
        if *open >= most {
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
        let connections = Arc::new(Connections::new(3, 1, gauge.clone()));
        let network = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let mut first = connections.enter().unwrap();
        assert!(first.count_for(network(1)));
        let mut second = connections.enter().unwrap();
        assert!(!second.count_for(network(1)));
        assert!(second.count_for(network(2)));
        let third = connections.enter();
        assert!(third.is_some() && connections.enter().is_none());
        assert_eq!(gauge.get(), 3);
        drop(first);
        let mut fourth = connections.enter().unwrap();
        assert!(fourth.count_for(network(1)));
        drop((second, third, fourth));
        assert_eq!((gauge.get(), connections.held.lock().unwrap().each.len()), (0, 0));
    }
}
