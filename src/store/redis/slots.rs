//! Where the keys of a Redis cluster are: which slot a key belongs to, and which server serves it.
//! Pure: what a server says of its cluster is handed in.
//!
//! Every slot has a tag, a small number whose text falls into that slot. With it the gateway makes
//! keys of its own in any slot, or on any server: the tag of a server is the smallest one of its
//! slots, so that all gateways with the same map find each other there.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crc::{CRC_16_XMODEM, Crc, Table};
use redis::Value;

use super::address::Place;

/// Slots of a cluster.
pub(super) const SLOTS: usize = 16_384;
/// Servers of a cluster that are known at most, replicas included. Redis recommends a thousand.
const SERVERS_MAX: usize = 2_000;

static CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// Which of a cluster's servers serves which slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotMap {
    /// The masters that serve any, by address.
    pub(super) masters: Vec<Master>,
    /// All servers that may be asked for a map.
    pub(super) servers: Vec<Place>,
}

/// A master and its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Master {
    pub(super) place: Place,
    pub(super) slots: Slots,
}

/// A set of slots that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Slots(Box<[bool; SLOTS]>);

/// The slot of `key`: that of its hash tag, if it has one.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    CRC.checksum(tag.unwrap_or(key)) % SLOTS as u16
}

/// The subject of the gateway's own keys in `slot`, without braces.
pub(super) fn tag_in(slot: u16) -> String {
    subject(tags()[usize::from(slot)])
}

/// Which of `keys` may be in one call, call by call: those of one slot of a cluster, or all there are.
pub(super) fn calls_for<'a>(
    is_cluster: bool,
    keys: impl ExactSizeIterator<Item = &'a str>,
) -> Vec<Vec<usize>> {
    if !is_cluster {
        return if keys.len() == 0 { Vec::new() } else { vec![(0..keys.len()).collect()] };
    }
    let mut groups: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (place, key) in keys.enumerate() {
        groups.entry(slot_of(key.as_bytes())).or_default().push(place);
    }
    groups.into_values().collect()
}

fn subject(tag: u32) -> String {
    format!("gateway-{tag}")
}

/// The tag of each slot, found once by trying: some ten milliseconds.
fn tags() -> &'static [u32] {
    static TAGS: OnceLock<Vec<u32>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let (mut tags, mut missing) = (vec![u32::MAX; SLOTS], SLOTS);
        for tag in 0.. {
            let slot = usize::from(slot_of(subject(tag).as_bytes()));
            if tags[slot] == u32::MAX {
                tags[slot] = tag;
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags
    })
}

// === impl SlotMap ===

impl SlotMap {
    /// What CLUSTER SLOTS has replied at `asked`; `None` if it is no such reply.
    pub(super) fn read(reply: &Value, asked: &Place) -> Option<Self> {
        let Value::Array(ranges) = reply else { return None };
        let (mut masters, mut servers): (Vec<Master>, Vec<Place>) = (Vec::new(), Vec::new());
        for range in ranges.iter().take(SLOTS) {
            let Value::Array(parts) = range else { return None };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
                return None;
            };
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            if first > last || last >= SLOTS {
                return None;
            }
            let places: Vec<Place> = nodes.iter().filter_map(|node| place(node, asked)).collect();
            let master = places.first()?.clone();
            let at = masters.iter().position(|known| known.place == master).unwrap_or_else(|| {
                masters.push(Master { place: master, slots: Slots::none() });
                masters.len() - 1
            });
            masters[at].slots.0[first..=last].fill(true);
            for place in places {
                if servers.len() < SERVERS_MAX && !servers.contains(&place) {
                    servers.push(place);
                }
            }
        }
        masters.sort_by(|a, b| a.place.cmp(&b.place));
        Some(Self { masters, servers })
    }
}

/// The address of a node; where the cluster does not know its own, it is that of who was asked.
fn place(node: &Value, asked: &Place) -> Option<Place> {
    let Value::Array(parts) = node else { return None };
    let [host, Value::Int(port), ..] = parts.as_slice() else { return None };
    let host = match host {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
        Value::SimpleString(text) => text.clone(),
        Value::Nil => String::new(),
        _ => return None,
    };
    let host = if host.is_empty() || host == "?" { asked.0.clone() } else { host };
    Some((host, u16::try_from(*port).ok()?))
}

// === impl Slots ===

impl Slots {
    fn none() -> Self {
        Self(Box::new([false; SLOTS]))
    }

    pub(super) fn contain(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot)).is_some_and(|mine| *mine)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u16> {
        (0u16..).zip(self.0.iter()).filter(|(_, mine)| **mine).map(|(slot, _)| slot)
    }

    /// Those that are here and not in `others`.
    pub(super) fn beyond(&self, others: &Self) -> impl Iterator<Item = u16> {
        self.iter().filter(|slot| !others.contain(*slot))
    }

    /// The subject of the gateway's own keys here, without braces.
    pub(super) fn tag(&self) -> String {
        let tags = tags();
        let smallest = self.iter().map(|slot| tags[usize::from(slot)]).min();
        subject(smallest.unwrap_or_default())
    }

    /// Some subjects here, that of the gateway's own keys first: each in another slot.
    pub(super) fn tags(&self, most: usize) -> Vec<String> {
        let tags = tags();
        let mut mine: Vec<u32> = self.iter().map(|slot| tags[usize::from(slot)]).collect();
        mine.sort_unstable();
        mine.into_iter().take(most).map(subject).collect()
    }
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} slots", self.iter().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply of CLUSTER SLOTS: the ranges, each with the ports of its nodes.
    fn reply(ranges: &[(i64, i64, &[i64])]) -> Value {
        let node = |port: &i64| {
            let host = Value::BulkString(b"10.0.0.1".to_vec());
            Value::Array(vec![host, Value::Int(*port), Value::SimpleString("id".to_owned())])
        };
        let ranges = ranges.iter().map(|(first, last, ports)| {
            let mut parts = vec![Value::Int(*first), Value::Int(*last)];
            parts.extend(ports.iter().map(node));
            Value::Array(parts)
        });
        Value::Array(ranges.collect())
    }

    fn asked() -> Place {
        ("asked".to_owned(), 1)
    }

    #[test]
    fn slots_are_those_of_redis() {
        // The check value of CRC16/XMODEM, from the specification of Redis Cluster.
        assert_eq!(CRC.checksum(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), CRC.checksum(b"foo{}{bar}") % 16_384, "an empty tag");
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"), "the first brace opens");
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"), "the first one that closes closes");
        assert_eq!(slot_of(b"a{b"), CRC.checksum(b"a{b") % 16_384, "one that stays open is none");
    }

    #[test]
    fn every_slot_has_a_tag_in_it() {
        for slot in 0..SLOTS as u16 {
            assert_eq!(slot_of(format!("sg:{{{}}}:live", tag_in(slot)).as_bytes()), slot);
        }
    }

    #[test]
    fn a_map_joins_the_ranges_of_a_master() {
        let reply = reply(&[(0, 5, &[2, 20]), (6, 9, &[1]), (100, 16_383, &[2, 20])]);
        let map = SlotMap::read(&reply, &asked()).expect("a map");
        let ports: Vec<u16> = map.masters.iter().map(|master| master.place.1).collect();
        assert_eq!(ports, [1, 2]);
        assert_eq!(map.servers.len(), 3, "replicas may be asked too");
        let of_two = &map.masters[1].slots;
        assert!(of_two.contain(5) && of_two.contain(16_383));
        assert!(!of_two.contain(6) && !of_two.contain(50), "{of_two:?}");
        let of_one = &map.masters[0].slots;
        assert_eq!(of_one.beyond(of_two).collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert!(of_one.contain(slot_of(of_one.tag().as_bytes())));
    }

    #[test]
    fn a_node_without_an_address_is_where_it_was_asked() {
        for host in [Value::Nil, Value::BulkString(b"".to_vec()), Value::BulkString(b"?".to_vec())]
        {
            let node = Value::Array(vec![host, Value::Int(7)]);
            let range = Value::Array(vec![Value::Int(0), Value::Int(1), node]);
            let map = SlotMap::read(&Value::Array(vec![range]), &asked()).expect("a map");
            assert_eq!(map.masters[0].place, ("asked".to_owned(), 7));
        }
    }

    #[test]
    fn what_is_no_map_is_none() {
        for odd in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            reply(&[(5, 4, &[1])]),
            reply(&[(-1, 4, &[1])]),
            reply(&[(0, 16_384, &[1])]),
            reply(&[(0, 1, &[])]),
            reply(&[(0, 1, &[70_000])]),
        ] {
            assert_eq!(SlotMap::read(&odd, &asked()), None, "{odd:?}");
        }
        let none = SlotMap::read(&Value::Array(Vec::new()), &asked()).expect("a map of nothing");
        assert!(none.masters.is_empty());
    }
}
