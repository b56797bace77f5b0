//! Bytes as text: what is ASCII is itself, and every other byte is an entry of a dictionary.

/// The bytes of a corpus stay readable, and half of all random bytes are words that matter.
pub(crate) fn text(input: &[u8], words: &[&str]) -> String {
    let mut text = String::with_capacity(input.len());
    for byte in input {
        match byte.checked_sub(0x80) {
            None => text.push(char::from(*byte)),
            Some(number) => text.push_str(words[usize::from(number) % words.len()]),
        }
    }
    text
}

#[test]
fn ascii_is_itself_and_all_else_are_words() {
    assert_eq!(text(b"/a\x80b\x81\x82", &["..", "%2f"]), "/a..b%2f..");
}
