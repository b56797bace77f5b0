//! One spelling of a path, for rules and keys. The application gets the original.

use std::borrow::Cow;

/// `path` with the escapes of plain path characters decoded, others in upper case, double slashes
/// merged and then dot segments removed (RFC 3986, sections 6.2.2 and 5.2.4). Merging comes first,
/// so that `/a//../b` cannot pass for `/a/b`.
pub fn normalise(path: &str) -> Cow<'_, str> {
    if !path.contains(['%']) && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = decode_plain(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in decoded.split('/') {
        ends_in_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_in_slash || segments.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

fn decode_plain(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let escape = rest.get(at..at + 3);
        let value = escape.and_then(|escape| u8::from_str_radix(&escape[1..], 16).ok());
        let (Some(escape), Some(byte)) = (escape, value) else {
            decoded.push('%');
            rest = &rest[at + 1..];
            continue;
        };
        if is_plain(byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push_str(&escape.to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    decoded.push_str(rest);
    decoded
}

/// The characters that stand for themselves in a path segment (RFC 3986, `pchar`), but for `;`,
/// which some applications give a meaning that its escape has not.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@' | b':' | b'!' | b'$')
        || matches!(byte, b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_one() {
        let spellings = [
            ("/login", "/login"),
            ("/%6cogin", "/login"),
            ("//login", "/login"),
            ("/./login", "/login"),
            ("/a/../login", "/login"),
            ("/a//../login", "/login"),
            ("/%2e%2e/login", "/login"),
            ("/a/%2E%2E//login", "/login"),
            ("/%40ada/outbox", "/@ada/outbox"),
            ("/login/", "/login/"),
            ("/login/.", "/login/"),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%zz", "/a%zz"),
            ("/a%", "/a%"),
            ("/a%4", "/a%4"),
            ("/%é", "/%é"),
        ];
        for (raw, normal) in spellings {
            assert_eq!(normalise(raw), normal, "{raw}");
        }
    }
}
