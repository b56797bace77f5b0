//! One spelling of a path, for rules and keys; on demand for the application too.
//!
//! What two readers could take for different paths has no spelling, and is a [`Fault`]: an encoded
//! slash, a backslash, a control character, an escape that is none, a way out above the root.
//!
//! Not promised: that an application which decodes twice (`%252e`), cuts off blanks and dots at the
//! end of a segment (IIS), folds letters beyond ASCII or takes a format behind a dot for none
//! (`/login.json`, Rails) sees no more spellings than these.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

/// What is one and the same to the application, and what is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Spelling {
    /// `%2F`, `%5C` and `\` stay, as escapes, instead of being refused.
    pub keeps_slashes: bool,
    /// What follows a `;` in a segment stays, instead of being left out.
    pub keeps_params: bool,
    /// Letters of ASCII are the same in upper and lower case.
    pub ignores_case: bool,
    /// A slash at the end makes no difference.
    pub ignores_trailing_slash: bool,
}

/// Why a path has no spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A `%` without two hexadecimal digits, or a letter spelled in more bytes than it has.
    Escape,
    /// An encoded slash, or a backslash in any form.
    Slash,
    /// A NUL or another control character: to some a path ends there, and the `$` of a regular
    /// expression matches before a line break.
    Control,
    /// It leads out above the root.
    Root,
    /// A segment of dots, or an empty one, with parameters: to some a step, to others a name.
    Params,
}

// === impl Spelling ===

impl Spelling {
    /// `path` in its one spelling: the escapes of plain path characters decoded, all others in upper
    /// case, what may not stand in a path as its escape, parameters off, double slashes merged and
    /// then dot segments removed (RFC 3986, sections 6.2.2 and 5.2.4). Merging comes first, so that
    /// `/a//../b` cannot pass for `/a/b`.
    pub fn normalise(self, path: &str) -> Result<Cow<'_, str>, Fault> {
        if !path.starts_with('/') || self.is_spelled(path) {
            return Ok(Cow::Borrowed(path));
        }
        let decoded = self.decoded(path)?;
        let mut segments: Vec<&str> = Vec::new();
        let mut ends_in_slash = false;
        let mut rest = decoded[1..].split('/').peekable();
        while let Some(segment) = rest.next() {
            let name = self.name_of(segment, rest.peek().is_none())?;
            ends_in_slash = matches!(name, "" | "." | "..");
            match name {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or(Fault::Root)?;
                }
                _ => segments.push(name),
            }
        }
        let mut normal = String::with_capacity(decoded.len());
        for segment in &segments {
            normal.push('/');
            normal.push_str(segment);
        }
        if segments.is_empty() || ends_in_slash && !self.ignores_trailing_slash {
            normal.push('/');
        }
        Ok(Cow::Owned(normal))
    }

    /// The same without what only comparing leaves out: what the application may get in place of
    /// the path that was sent.
    #[must_use]
    pub const fn unfolded(self) -> Self {
        Self { ignores_case: false, ignores_trailing_slash: false, ..self }
    }

    /// A pattern in the spelling that paths are brought into; its own signs stay as they are.
    pub fn pattern(self, text: &str) -> String {
        let mut spelled = String::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let escape = escaped(byte, after);
            match escape {
                Some(value) => {
                    rest = &after[2..];
                    self.push(&mut spelled, value);
                }
                None if is_sign(byte) || byte == b'/' || byte == b';' || byte == b'%' => {
                    spelled.push(char::from(byte));
                }
                None => self.push(&mut spelled, byte),
            }
        }
        if self.ignores_trailing_slash && spelled.len() > 1 && spelled.ends_with('/') {
            spelled.pop();
        }
        spelled
    }

    /// Whether there is nothing to do, as for most paths.
    fn is_spelled(self, path: &str) -> bool {
        let plain = |byte: u8| {
            byte == b'/' || is_plain(byte) && !(self.ignores_case && byte.is_ascii_uppercase())
        };
        let ends = self.ignores_trailing_slash && path.len() > 1 && path.ends_with('/');
        !ends && !path.contains("//") && !path.contains("/.") && path.bytes().all(plain)
    }

    /// Each character either plain or as an escape in upper case.
    fn decoded(self, path: &str) -> Result<String, Fault> {
        let mut spelled = String::with_capacity(path.len());
        let mut rest = path.as_bytes();
        let mut before = 0;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            let escape = escaped(byte, after);
            if escape.is_some() {
                rest = &after[2..];
            }
            let value = escape.unwrap_or(byte);
            match value {
                _ if value.is_ascii_control() => return Err(Fault::Control),
                b'%' if escape.is_none() => return Err(Fault::Escape),
                b'\\' if !self.keeps_slashes => return Err(Fault::Slash),
                b'/' if escape.is_some() && !self.keeps_slashes => return Err(Fault::Slash),
                b'/' | b';' if escape.is_none() => spelled.push(char::from(value)),
                _ if is_overlong(before, value) => return Err(Fault::Escape),
                _ => self.push(&mut spelled, value),
            }
            before = value;
        }
        Ok(spelled)
    }

    fn push(self, spelled: &mut String, value: u8) {
        if is_plain(value) {
            let value = if self.ignores_case { value.to_ascii_lowercase() } else { value };
            spelled.push(char::from(value));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(spelled, "%{value:02X}");
        }
    }

    /// A segment without its parameters.
    fn name_of(self, segment: &str, is_last: bool) -> Result<&str, Fault> {
        let Some((name, _)) = segment.split_once(';').filter(|_| !self.keeps_params) else {
            return Ok(segment);
        };
        // `/a/..;/b` is `/b` to Tomcat, and a segment called `..;` to others.
        if matches!(name, "." | "..") || name.is_empty() && !is_last {
            return Err(Fault::Params);
        }
        Ok(name)
    }
}

/// The byte that `%` and what follows it stand for.
fn escaped(byte: u8, after: &[u8]) -> Option<u8> {
    let digits = after.get(..2).filter(|_| byte == b'%')?;
    let digit = |at: usize| char::from(digits[at]).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// The characters that stand for themselves in a path segment (RFC 3986, `pchar`), but for `;`,
/// which some applications give a meaning that its escape has not.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@' | b':' | b'!' | b'$')
        || matches!(byte, b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=')
}

/// The signs of patterns that may not stand in a path.
const fn is_sign(byte: u8) -> bool {
    matches!(byte, b'?' | b'[' | b']' | b'{' | b'}' | b'\\' | b'^')
}

/// Whether two bytes begin a letter of UTF-8 in more bytes than it has: `%C0%AE` is a dot to careless
/// readers.
const fn is_overlong(first: u8, second: u8) -> bool {
    matches!(
        (first, second),
        (0xC0 | 0xC1, 0x80..=0xBF)
            | (0xE0, 0x80..=0x9F)
            | (0xF0, 0x80..=0x8F)
            | (0xF8, 0x80..=0x87)
            | (0xFC, 0x80..=0x83)
    )
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "a `%` in the path begins no valid escape",
            Self::Slash => "the path has an encoded slash or a backslash",
            Self::Control => "the path has a control character",
            Self::Root => "the path leads out above the root",
            Self::Params => "a segment of the path is nothing but dots or parameters",
        })
    }
}

#[cfg(test)]
mod tests;
