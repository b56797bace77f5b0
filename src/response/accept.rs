//! Which body a client likes best: `Accept` of RFC 9110, section 12.5.1.

use crate::body::Media;
use crate::request::reading::is_token;

/// Most media ranges that are looked at; browsers send about eight.
const RANGES_MAX: usize = 32;
/// The best quality, in thousandths.
const BEST: u16 = 1000;

/// A media range and how much it is liked.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Whether it names a parameter that our bodies have.
    charset: bool,
    quality: u16,
}

/// The body that `accept`, all lines joined with commas, likes best. Of several the first of
/// [`Media::ALL`]; that one also if none is liked, since an answer in a foreign language is better
/// than none.
pub fn choose(accept: Option<&str>) -> Media {
    let ranges: Vec<Range<'_>> =
        split(accept.unwrap_or("*/*"), ',').take(RANGES_MAX).filter_map(Range::parse).collect();
    let mut best = (Media::Problem, 0);
    for media in Media::ALL {
        let quality = quality(media, &ranges);
        if quality > best.1 {
            best = (media, quality);
        }
    }
    best.0
}

/// The quality that the most specific of the ranges that name `media` gives it.
fn quality(media: Media, ranges: &[Range<'_>]) -> u16 {
    let naming = ranges.iter().filter_map(|range| Some((range.names(media)?, range.quality)));
    naming.max().map_or(0, |(_, quality)| quality)
}

/// The pieces between separators that stand in no quotes, without blanks around them.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let pieces = text.split(move |c| {
        let ends = c == separator && !quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        ends
    });
    pieces.map(|piece| piece.trim_matches([' ', '\t'])).filter(|piece| !piece.is_empty())
}

// === impl Range ===

impl<'a> Range<'a> {
    /// Reads `type/subtype;parameter=value;q=0.5`. One that is malformed is nothing; so is one with
    /// a parameter that no body of ours has, as in `text/html;level=1`.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = split(text, ';');
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let is_whole = |text: &str| !text.is_empty() && text.bytes().all(is_token);
        // `*/html` names nothing.
        if !is_whole(kind) || !is_whole(subtype) || (kind == "*" && subtype != "*") {
            return None;
        }
        let mut range = Self { kind, subtype, charset: false, quality: BEST };
        for part in parts {
            let (name, value) = part.split_once('=')?;
            if name.eq_ignore_ascii_case("q") {
                range.quality = thousandths(value)?;
                // What follows the weight is no part of the range.
                return Some(range);
            }
            let utf_8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
            if !name.eq_ignore_ascii_case("charset") || !utf_8 {
                return None;
            }
            range.charset = true;
        }
        Some(range)
    }

    /// How specifically it names `media`; nothing if it does not.
    fn names(&self, media: Media) -> Option<u8> {
        let (kind, subtype) = media.essence().split_once('/')?;
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        match (self.kind, self.subtype) {
            ("*", _) => Some(0),
            (mine, "*") => same(mine, kind).then_some(1),
            (mine, sub) => {
                (same(mine, kind) && same(sub, subtype)).then_some(2 + u8::from(self.charset))
            }
        }
    }
}

/// `0`, `0.5`, `0.125`, `1`, `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = match whole {
        "0" => 0,
        "1" => BEST,
        _ => return None,
    };
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    Some(whole + fraction).filter(|quality| *quality <= BEST)
}
