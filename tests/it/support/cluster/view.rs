//! What a node says of the cluster (`CLUSTER NODES`).

use std::ops::RangeInclusive;

/// A line of it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: String,
    /// `127.0.0.1:6379`
    pub(crate) address: String,
    pub(crate) flags: Vec<String>,
    /// Of a replica: its master.
    pub(crate) master: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) linked: bool,
    pub(crate) slots: Vec<RangeInclusive<u16>>,
}

// === impl Peer ===

impl Peer {
    /// All lines of an answer.
    pub(super) fn all(text: &str) -> Vec<Self> {
        text.lines().filter(|line| !line.is_empty()).map(Self::read).collect()
    }

    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, master, _, _, epoch, state, ..] = words[..] else {
            panic!("not a line of CLUSTER NODES: {line}");
        };
        // `[93-<-...]` is a slot on its way.
        let slots = words[8..].iter().filter(|word| !word.starts_with('['));
        Self {
            id: id.to_owned(),
            address: address.split('@').next().unwrap_or_default().to_owned(),
            flags: flags.split(',').map(str::to_owned).collect(),
            master: (master != "-").then(|| master.to_owned()),
            epoch: epoch.parse().expect("a number"),
            linked: state == "connected",
            slots: slots.map(|word| range(word)).collect(),
        }
    }

    pub(crate) fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    /// Whether it says that it serves this slot.
    pub(crate) fn owns(&self, slot: u16) -> bool {
        self.is("master") && self.slots.iter().any(|range| range.contains(&slot))
    }

    /// A master that has slots.
    pub(crate) fn serves(&self) -> bool {
        self.is("master") && !self.slots.is_empty()
    }

    /// Known, reached, and not thought dead.
    pub(super) fn is_well(&self) -> bool {
        let ill = ["fail", "fail?", "handshake", "noaddr"];
        self.linked && !ill.iter().any(|flag| self.is(flag))
    }
}

/// `0-5460`, or a single slot.
fn range(word: &str) -> RangeInclusive<u16> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let number = |text: &str| text.parse().expect("a slot");
    number(first)..=number(last)
}
