//! Which slot a key is in: an own reckoning, so that the gateway's is checked against another one.

/// All slots of a cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: of what stands between its first `{` and the next `}`, if that is anything.
pub(crate) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    crc16(hashed.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, bit by bit.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[test]
fn slots_are_those_of_the_specification() {
    assert_eq!(crc16(b"123456789"), 0x31C3);
    assert_eq!(slot_of("123456789"), 12_739);
    assert_eq!(slot_of("foo"), 12_182);
    assert_eq!(slot_of("{user1000}.following"), slot_of("user1000"));
    assert_eq!(slot_of("foo{{bar}}zap"), slot_of("{bar"));
    assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"));
    assert_ne!(slot_of("foo{}{bar}"), slot_of("bar"), "an empty tag is none");
    assert_eq!(slot_of(""), 0);
}
