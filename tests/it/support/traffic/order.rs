//! What a client orders of the application: so much of a content that both know, in so much time.

use std::time::Duration;

/// Where all of it is to be had.
const PATH: &str = "/traffic";
/// Of one order. Both sides make all of it in memory.
const LENGTH_MAX: usize = 4 << 20;
const OVER_MAX: Duration = Duration::from_secs(30);
/// So much of an upload comes back.
const RECEIPT: usize = 100;
/// What takes longer goes in pieces, one each time.
pub(crate) const PIECE_EVERY: Duration = Duration::from_millis(50);

/// An order. No two have the same seed, so nobody's answer passes for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) length: usize,
    /// How long it takes: the wait before the answer, or the time over which a body goes.
    pub(crate) over: Duration,
    /// Whether the body goes in chunks, or with its length before.
    pub(crate) chunked: bool,
}

// === impl Order ===

impl Order {
    pub(crate) fn target(&self) -> String {
        let form = if self.chunked { "chunked" } else { "counted" };
        format!("{PATH}/{}/{}/{}/{form}", self.seed, self.length, self.over.as_millis())
    }

    pub(crate) fn of(target: &str) -> Option<Self> {
        let mut words = target.strip_prefix(PATH)?.strip_prefix('/')?.split('/');
        let seed = words.next()?.parse().ok()?;
        let length = words.next()?.parse().ok()?;
        let over = Duration::from_millis(words.next()?.parse().ok()?);
        let order = Self { seed, length, over, chunked: words.next()? == "chunked" };
        (length <= LENGTH_MAX && over <= OVER_MAX && words.next().is_none()).then_some(order)
    }

    /// The bytes themselves.
    pub(crate) fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        fastrand::Rng::with_seed(self.seed).fill(&mut bytes);
        bytes
    }

    /// What the application gives for it when it was sent there.
    pub(crate) fn receipt(&self) -> Self {
        Self { length: self.length.min(RECEIPT), over: Duration::ZERO, ..*self }
    }

    /// Whether the body goes piece by piece.
    pub(crate) fn is_slow(&self) -> bool {
        self.over > PIECE_EVERY
    }

    /// How many bytes go at once.
    pub(crate) fn piece(&self) -> usize {
        let pieces = (self.over.as_millis() / PIECE_EVERY.as_millis()).max(1) as usize;
        self.length.div_ceil(pieces).max(1)
    }
}

#[test]
fn an_order_is_read_as_it_was_written() {
    let order = Order { seed: 7, length: 100, over: Duration::from_millis(250), chunked: true };
    assert_eq!(Order::of(&order.target()), Some(order));
    assert_eq!((order.piece(), order.content().len()), (20, 100));
    assert_ne!(order.content(), Order { seed: 8, ..order }.content());
    assert_eq!(Order::of("/traffic/7/100/250"), None);
    assert_eq!(Order::of("/elsewhere"), None);
}
