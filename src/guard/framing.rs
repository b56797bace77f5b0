//! Where the body of an HTTP/1 request ends. Read strictly, as the head is: a size in hexadecimal
//! digits alone, CRLF and nothing that looks like it.

use super::fault::Fault;
use crate::request::reading::is_token;

/// Longest line of a chunk's size, with its extensions.
const SIZE_LINE_MAX: usize = 256;
/// Most bytes of all trailer fields.
const TRAILER_MAX: usize = 8 * 1024;
/// Digits of a chunk's size: as many as fit.
const DIGITS_MAX: usize = 15;

/// What is still to come of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked {
        /// Where the next byte stands.
        at: At,
        /// Bytes of the line, or of the trailer, so far.
        line: usize,
        /// Bytes of the chunk that are to come.
        left: u64,
    },
}

/// Where the next byte of a chunked body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In the size of a chunk.
    Size,
    /// In what may follow the size.
    Extension,
    /// At the end of that line.
    SizeLf,
    /// In the chunk.
    Data,
    /// At the CR behind it.
    DataCr,
    /// At the LF behind it.
    DataLf,
    /// At the beginning of a trailer field, or of the last line.
    TrailerStart,
    /// In its name.
    TrailerName,
    /// In its value.
    TrailerValue,
    /// At its end.
    TrailerLf,
    /// At the end of the last line.
    EndLf,
    /// Behind the body.
    Done,
}

// === impl Framing ===

impl Framing {
    /// So many bytes.
    pub const fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    /// Chunks, from the first.
    pub const fn chunked() -> Self {
        Self::Chunked { at: At::Size, line: 0, left: 0 }
    }

    /// Whether the body has been read to its end.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked { at: At::Done, .. })
    }

    /// Reads on: how many of these bytes belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(taken)
            }
            Self::Chunked { at, line, left } => {
                let mut taken = 0;
                while taken < bytes.len() && *at != At::Done {
                    if *at == At::Data {
                        let rest = bytes.len() - taken;
                        let now = usize::try_from(*left).unwrap_or(usize::MAX).min(rest);
                        *left -= now as u64;
                        taken += now;
                        if *left == 0 {
                            *at = At::DataCr;
                        }
                        continue;
                    }
                    *at = step(*at, bytes[taken], line, left).ok_or(Fault::Chunk)?;
                    taken += 1;
                }
                Ok(taken)
            }
        }
    }
}

/// What comes after `byte`; nothing if it may not stand here.
fn step(at: At, byte: u8, line: &mut usize, left: &mut u64) -> Option<At> {
    *line += 1;
    match at {
        At::Size => match char::from(byte).to_digit(16) {
            Some(digit) if *line <= DIGITS_MAX => {
                *left = *left << 4 | u64::from(digit);
                Some(At::Size)
            }
            None if byte == b'\r' && *line > 1 => Some(At::SizeLf),
            None if byte == b';' && *line > 1 => Some(At::Extension),
            _ => None,
        },
        At::Extension if *line > SIZE_LINE_MAX => None,
        At::Extension if byte == b'\r' => Some(At::SizeLf),
        At::Extension => is_field_byte(byte).then_some(At::Extension),
        At::SizeLf if byte == b'\n' => {
            *line = 0;
            Some(if *left == 0 { At::TrailerStart } else { At::Data })
        }
        At::DataCr if byte == b'\r' => Some(At::DataLf),
        At::DataLf if byte == b'\n' => {
            *line = 0;
            Some(At::Size)
        }
        At::EndLf if byte == b'\n' => Some(At::Done),
        At::TrailerLf if byte == b'\n' => Some(At::TrailerStart),
        At::TrailerStart | At::TrailerName | At::TrailerValue if *line > TRAILER_MAX => None,
        At::TrailerStart if byte == b'\r' => Some(At::EndLf),
        At::TrailerName if byte == b':' => Some(At::TrailerValue),
        At::TrailerStart | At::TrailerName => is_token(byte).then_some(At::TrailerName),
        At::TrailerValue if byte == b'\r' => Some(At::TrailerLf),
        At::TrailerValue => is_field_byte(byte).then_some(At::TrailerValue),
        _ => None,
    }
}

/// The bytes of a header field's value (RFC 9110, section 5.5), beyond ASCII included.
pub(super) const fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes a chunked body takes, whole and byte by byte; `None` if it does not end.
    fn read(text: &str) -> Result<Option<usize>, Fault> {
        let mut whole = Framing::chunked();
        let taken = whole.advance(text.as_bytes());
        let mut apart = Framing::chunked();
        let mut one_by_one = Ok(0);
        for byte in text.bytes() {
            match (apart.advance(&[byte]), &mut one_by_one) {
                (Ok(taken), Ok(sum)) => *sum += taken,
                (Err(fault), _) => {
                    one_by_one = Err(fault);
                    break;
                }
                _ => {}
            }
        }
        assert_eq!((&taken, whole.is_done()), (&one_by_one, apart.is_done()), "{text:?}");
        Ok(Some(taken?).filter(|_| whole.is_done()))
    }

    #[test]
    fn chunks_end_where_they_say() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;name=value\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "2\r\n\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(read(body), Ok(Some(body.len())), "{body:?}");
            assert_eq!(read(&format!("{body}GET / HTTP/1.1\r\n")), Ok(Some(body.len())));
            assert_eq!(read(&body[..body.len() - 1]), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn a_length_ends_after_its_bytes() {
        let mut framing = Framing::length(5);
        assert_eq!(framing.advance(b"hel"), Ok(3));
        assert!(!framing.is_done());
        assert_eq!(framing.advance(b"loGET"), Ok(2));
        assert!(framing.is_done());
    }

    #[test]
    fn what_two_readers_could_take_differently_is_a_fault() {
        for body in [
            "\r\n",
            ";a\r\n",
            " 5\r\n",
            "5 \r\n",
            "+5\r\n",
            "-5\r\n",
            "0x5\r\n",
            "5\n",
            "5\rx",
            "5;a\nb\r\n",
            "5;\0\r\n",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\rX",
            "1000000000000000\r\n",
            "0\r\n X: a\r\n",
            "0\r\nX : a\r\n",
            "0\r\nX: a\n",
            "0\r\n\n",
            "0\r\n:\r\n",
            "0\r\n\rX",
        ] {
            assert_eq!(read(body), Err(Fault::Chunk), "{body:?}");
        }
        assert_eq!(read(&format!("1;{}\r\n", "a".repeat(300))), Err(Fault::Chunk));
        assert_eq!(read(&format!("0\r\nX: {}\r\n", "a".repeat(9000))), Err(Fault::Chunk));
    }
}
