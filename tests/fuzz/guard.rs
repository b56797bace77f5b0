//! The head of a request and the end of its body: read strictly, and the same however the bytes come.

use sluicegate::guard::Fault;
use sluicegate::guard::framing::Framing;
use sluicegate::guard::head::{HeadBounds, Scanner, examine};
use sluicegate::request::reading::is_token;

use crate::ITERATIONS;
use crate::text::text;

const BOUNDS: HeadBounds = HeadBounds { bytes: 256, fields: 6, target: 64 };
const HEADS: [&str; 36] = [
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ": ",
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "HTTP/1.1",
    "HTTP/2.0",
    "GET ",
    "/",
    "host: a\r\n",
    "content-length: 5\r\n",
    "content-length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "content-length : 5\r\n",
    "content-length: 6\r\n",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "transfer-encoding: chunked, identity\r\n",
    "transfer-encoding:\u{b}chunked\r\n",
    " folded\r\n",
    "x: ",
    "\u{0}",
    "\u{7f}",
    "\u{e9}",
    "x: y\r\n",
    "a",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ",",
    "connection: close\r\n",
    "18446744073709551616",
];
const BODIES: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "0\r\n\r\n",
    "0\r\n",
    "5\r\nhello\r\n",
    "3\r\nabc\r\n",
    "a\r\n",
    "0",
    "5",
    ";",
    ";a=b\r\n",
    ";a=\"\r\n",
    "+5\r\n",
    "0x5\r\n",
    " 5\r\n",
    "5 \r\n",
    "fffffffffffffff\r\n",
    "ffffffffffffffff\r\n",
    "x: y\r\n",
    "x y\r\n",
    "\u{0}",
    "hello",
    "-1\r\n",
];

#[test]
fn head_depends_on_bytes_alone() {
    bolero::check!(name = "head").with_iterations(ITERATIONS).with_max_len(64).for_each(|input| {
        let (seed, bytes) = seeded(input, &HEADS);
        let whole = Scanner::new(BOUNDS).scan(&bytes);
        assert_eq!(scanned_in_pieces(&bytes, seed), whole, "{:?}", shown(&bytes));
        let Ok(Some(end)) = whole else { return };
        let head = &bytes[..end];
        assert!(is_strict(head), "{:?}", shown(head));
        let agreed = examine(head);
        let lengths = fields(head, "content-length");
        let codings = fields(head, "transfer-encoding");
        match &agreed {
            Ok(Framing::Length(bytes)) => {
                assert!(codings.is_empty(), "{:?}", shown(head));
                let mut said = lengths.iter().flat_map(|value| value.split(','));
                assert!(
                    said.all(|one| one.trim() == bytes.to_string() || is_zero_led(one, *bytes))
                );
            }
            Ok(Framing::Chunked { .. }) => {
                assert!(lengths.is_empty() && codings.len() == 1, "{:?}", shown(head));
                assert!(codings[0].eq_ignore_ascii_case("chunked"), "{:?}", shown(head));
            }
            // Not for its body's sake.
            Err(Fault::Host | Fault::Target | Fault::Method) => {}
            Err(_) => assert!(!(lengths.is_empty() && codings.is_empty() && is_text(head))),
        }
    });
}

#[test]
fn body_ends_where_its_bytes_say() {
    bolero::check!(name = "body").with_iterations(ITERATIONS).with_max_len(64).for_each(|input| {
        let (seed, bytes) = seeded(input, &BODIES);
        let mut framing = Framing::chunked();
        let whole = framing.advance(&bytes).map(|taken| (taken, framing.is_done()));
        assert_eq!(read_in_pieces(&bytes, seed), whole, "{:?}", shown(&bytes));
        match whole {
            Ok((taken, true)) => {
                assert_eq!(end_of_chunks(&bytes), Some(taken), "{:?}", shown(&bytes));
            }
            Ok((taken, false)) => assert_eq!(taken, bytes.len(), "{:?}", shown(&bytes)),
            Err(fault) => {
                assert_eq!(fault, Fault::Chunk);
                assert_eq!(end_of_chunks(&bytes), None, "{:?}", shown(&bytes));
            }
        }
    });
}

/// The first byte says where the rest is cut into pieces.
fn seeded(input: &[u8], words: &[&str]) -> (usize, Vec<u8>) {
    let (seed, rest) = input.split_first().unwrap_or((&0, &[]));
    (usize::from(*seed) % 7 + 1, text(rest, words).into_bytes())
}

fn scanned_in_pieces(bytes: &[u8], seed: usize) -> Result<Option<usize>, Fault> {
    let (mut scanner, mut before) = (Scanner::new(BOUNDS), 0);
    for piece in bytes.chunks(seed) {
        if let Some(end) = scanner.scan(piece)? {
            return Ok(Some(before + end));
        }
        before += piece.len();
    }
    Ok(None)
}

fn read_in_pieces(bytes: &[u8], seed: usize) -> Result<(usize, bool), Fault> {
    let (mut framing, mut before) = (Framing::chunked(), 0);
    for piece in bytes.chunks(seed) {
        before += framing.advance(piece)?;
        if framing.is_done() {
            break;
        }
    }
    Ok((before, framing.is_done()))
}

/// A head in the words of RFC 9112 and no others: lines that end in CRLF, a request line, fields.
fn is_strict(head: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let text = String::from_utf8_lossy(head);
    let Some(text) = text.strip_suffix("\r\n\r\n") else { return false };
    let text = text.trim_start_matches("\r\n");
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let token = |name: &str| !name.is_empty() && name.bytes().all(is_token);
    let fields: Vec<&str> = lines.collect();
    words.len() == 3
        && token(words[0])
        && (1..=3 * BOUNDS.target).contains(&words[1].len())
        && matches!(words[2], "HTTP/1.0" | "HTTP/1.1")
        && fields.len() <= BOUNDS.fields
        && fields.iter().all(|line| line.as_bytes().iter().all(plain))
        && fields.iter().all(|line| line.split_once(':').is_some_and(|(name, _)| token(name)))
        && head.len() <= BOUNDS.bytes
}

fn is_text(head: &[u8]) -> bool {
    std::str::from_utf8(head).is_ok()
}

/// The values of the fields of that name.
fn fields(head: &[u8], name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(head).into_owned();
    let fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
    let those = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    those.map(|(_, value)| value.trim_matches([' ', '\t']).to_owned()).collect()
}

/// `007` is 7 to every reader.
fn is_zero_led(text: &str, number: u64) -> bool {
    text.trim().bytes().all(|byte| byte.is_ascii_digit()) && text.trim().parse() == Ok(number)
}

/// Where a chunked body ends, read the other way: line by line. Nothing if it is not one.
fn end_of_chunks(bytes: &[u8]) -> Option<usize> {
    let line = |from: usize| {
        let length = bytes[from..].windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[from..from + length]).ok()?;
        let plain = line.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
        plain.then_some((line, from + length + 2))
    };
    let mut at = 0;
    loop {
        // A line of a size has 256 bytes at most, its CR counted.
        let (size, after) = line(at).filter(|(line, _)| line.len() < 256)?;
        let size = size.split(';').next()?;
        let digits = (1..=15).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(size, 16).ok().filter(|_| digits)?;
        at = after;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        if bytes.get(end..end.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    loop {
        let (field, after) = line(at)?;
        at = after;
        if field.is_empty() {
            return Some(at);
        }
        let (name, _) = field.split_once(':')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
