//! Lines in the common and the combined format, as nginx and Apache write them.
//!
//! `203.0.113.7 - ann [10/Oct/2000:13:55:36 -0700] "GET /a?b HTTP/1.1" 200 2326`, and for combined
//! behind it `"http://referer/" "user agent"`. A third quoted field that is a list of addresses is
//! taken for `X-Forwarded-For`, as in the format `main` that nginx comes with. Further fields are
//! not looked at. Before the address there may be a host, as in Apache's `vhost_combined`.

use http::header::{REFERER, USER_AGENT};

use super::entry::{Entry, Unreadable, address};
use super::moment;

const FORWARDED_FOR: http::HeaderName = http::HeaderName::from_static("x-forwarded-for");

/// Reads lines; keeps the memory for what stands in quotes.
#[derive(Debug, Default)]
pub(super) struct Reader {
    quoted: Vec<u8>,
}

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

// === impl Reader ===

impl Reader {
    /// Reads a line into `entry`. True if it has the fields of the combined format.
    pub(super) fn read(&mut self, line: &[u8], entry: &mut Entry) -> Result<bool, Unreadable> {
        entry.clear();
        let mut rest = Rest(line);
        let mut peer = rest.word();
        if let (None, Some(second)) = (text_address(peer), text_address(rest.clone().word())) {
            entry.host(peer);
            peer = rest.word();
            debug_assert_eq!(text_address(peer), Some(second));
        }
        entry.peer = text_address(peer)
            .ok_or(Unreadable("it does not begin with the address of a client"))?;
        let _ident = rest.word();
        let (user, time) = rest.user_and_time().ok_or(Unreadable(
            "there is no user with a time in brackets before a request line in quotes",
        ))?;
        entry.user(user);
        entry.time = moment::common(time)
            .ok_or(Unreadable("the time is not as in `10/Oct/2000:13:55:36 -0700`"))?;
        self.quoted(&mut rest).ok_or(Unreadable("there is no request line in quotes"))?;
        entry.request_line(&self.quoted)?;
        entry.status = std::str::from_utf8(rest.word()).ok().and_then(|text| text.parse().ok());
        let _size = rest.word();
        Ok(self.combined(&mut rest, entry))
    }

    fn combined(&mut self, rest: &mut Rest<'_>, entry: &mut Entry) -> bool {
        for name in [REFERER, USER_AGENT] {
            if self.quoted(rest).is_none() {
                return false;
            }
            entry.header(name, &self.quoted);
        }
        let forwarded = self.quoted(rest).is_some()
            && self.quoted.split(|byte| *byte == b',').all(|hop| text_address(hop).is_some());
        if forwarded {
            entry.header(FORWARDED_FOR, &self.quoted);
        }
        true
    }

    /// Takes what stands in quotes, and the blank behind it, and undoes its escapes: `\"` and `\n`
    /// as Apache has them, `\x22` as both have.
    fn quoted(&mut self, rest: &mut Rest<'_>) -> Option<()> {
        self.quoted.clear();
        let mut text = rest.0.strip_prefix(b"\"")?;
        loop {
            let at = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            self.quoted.extend_from_slice(&text[..at]);
            if text[at] == b'"' {
                text = &text[at + 1..];
                break;
            }
            let (byte, length) = unescaped(&text[at..])?;
            self.quoted.push(byte);
            text = &text[at + length..];
        }
        rest.0 = text.strip_prefix(b" ").unwrap_or(text);
        Some(())
    }
}

// === impl Rest ===

impl<'a> Rest<'a> {
    /// A second one, to look ahead.
    const fn clone(&self) -> Self {
        Self(self.0)
    }

    /// What stands before the next blank.
    fn word(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b' ').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        word
    }

    /// What stands before the time, and the time in its brackets. A user may have blanks and
    /// brackets in its name, but no quote that is not escaped.
    fn user_and_time(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let end = self.0.windows(3).position(|mark| mark == b"] \"")?;
        let start = self.0[..end].windows(2).rposition(|mark| mark == b" [")?;
        let (user, time) = (&self.0[..start], &self.0[start + 2..end]);
        self.0 = &self.0[end + 2..];
        Some((user, time))
    }
}

fn text_address(text: &[u8]) -> Option<std::net::IpAddr> {
    address(std::str::from_utf8(text).ok()?.trim())
}

/// The byte that an escape stands for, and the length of the escape. What is none is a backslash.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |at: usize| char::from(*text.get(at)?).to_digit(16);
    Some(match text.get(1)? {
        b'x' => match (hex(2), hex(3)) {
            (Some(high), Some(low)) => ((high * 16 + low) as u8, 4),
            _ => (b'\\', 1),
        },
        sign @ (b'"' | b'\\') => (*sign, 2),
        b'n' => (b'\n', 2),
        b'r' => (b'\r', 2),
        b't' => (b'\t', 2),
        _ => (b'\\', 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2001:db8::1 - ann lee [10/Oct/2000:13:55:36 -0700] ";

    fn read(line: &[u8]) -> Result<(bool, Entry), Unreadable> {
        let mut entry = Entry::new();
        Reader::default().read(line, &mut entry).map(|combined| (combined, entry))
    }

    #[test]
    fn escapes_of_both_servers_are_undone() {
        let line = format!(
            "{START}\"GET /a\\x22b\\\"c?d HTTP/1.1\" 404 - \"-\" \"a \\\\ \\\"b\\x22 \\xc3\\xa9\""
        );
        let (combined, entry) = read(line.as_bytes()).unwrap();
        assert!(combined);
        assert_eq!(entry.head.uri.to_string(), "/a\"b\"c?d");
        assert_eq!(entry.head.headers[USER_AGENT].as_bytes(), "a \\ \"b\" \u{e9}".as_bytes());
        assert!(!entry.head.headers.contains_key(REFERER));
        assert_eq!((entry.user.as_slice(), entry.status), (&b"ann lee"[..], Some(404)));
        assert_eq!(entry.peer.to_string(), "2001:db8::1");
    }

    #[test]
    fn a_user_with_brackets_in_its_name_hides_no_request() {
        for user in ["a [b", "[", " [", "a] [b] ", "x [10/Oct/2000:13:55:36 -0700] \\\""] {
            let line = START.replace("ann lee", user) + "\"GET /a HTTP/1.1\" 200 2";
            let (_, entry) = read(line.as_bytes()).unwrap();
            assert_eq!((entry.user.as_slice(), entry.head.uri.path()), (user.as_bytes(), "/a"));
        }
    }

    #[test]
    fn a_common_line_is_not_combined_and_versions_may_be_missing() {
        let (combined, entry) = read(format!("{START}\"GET /\" 200 2").as_bytes()).unwrap();
        assert!(!combined);
        assert_eq!(entry.head.uri.path(), "/");
    }

    #[test]
    fn hosts_before_and_forwarded_addresses_behind_are_taken() {
        let line = format!(
            "example.org:443 {START}\"GET / HTTP/2.0\" 200 2 \"-\" \"-\" \"192.0.2.1, ::1\" 0.5"
        );
        let (_, entry) = read(line.as_bytes()).unwrap();
        assert_eq!(entry.head.headers["host"], "example.org:443");
        assert_eq!(entry.head.headers["x-forwarded-for"], "192.0.2.1, ::1");
        let line = format!("{START}\"GET / HTTP/2.0\" 200 2 \"-\" \"-\" \"something\"");
        assert!(!read(line.as_bytes()).unwrap().1.head.headers.contains_key("x-forwarded-for"));
    }

    #[test]
    fn broken_lines_are_unreadable_and_do_no_harm() {
        let broken =
            ["\"-\"", "\"\"", "\"\\x16\\x03\\x01\"", "\"GET\"", "\"GET /", "GET /", "\"\\"];
        for request in broken {
            assert!(read(format!("{START}{request} 400 0").as_bytes()).is_err(), "{request}");
        }
        for line in ["", "-", "\"", "x - - [", "::1", "::1 - - [10/Oct/2000:13:55:36 -0700]"] {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
        assert!(read(b"\xff\xfe\x00 - - [\x00] \"\xff\" ").is_err());
    }
}
