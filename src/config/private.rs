//! Which lines of the file stand where secrets are written, and what of them may be shown.
//!
//! A secret can stand behind any key there: a mistyped one, a wrong one, over several lines. So the
//! harmless keys are known, and all else is hidden. Like `secret` this looks at text, since the
//! file may be broken, and when in doubt hides too much.
//!
//! Not promised: a secret as the value of a harmless key, or as a comment without `=`.

use std::ops::Range;

use super::secret::{self, Extent, MASK, PLACES, QUOTES};

/// The sections that hold no secret. Every other one may: `[identity]`, `[meters]`, `[store]`, and
/// one whose name is mistyped.
const OPEN: [&str; 14] = [
    "admin",
    "client",
    "cors",
    "deny",
    "exempt",
    "log",
    "policies",
    "request",
    "response",
    "rollout",
    "routes",
    "rules",
    "server",
    "upstreams",
];
/// Tables within them that may: keys, and what only a partner's requests say.
const CLOSED: [&str; 3] = ["client_certificate", CHOSEN[0], CHOSEN[1]];
/// Those whose entries have names of the operator's choice.
pub(super) const CHOSEN: [&str; 2] = ["headers", "query"];
/// Keys of private sections whose values are no secrets. Of `url` the password is hidden elsewhere.
const HARMLESS: [&str; 34] = [
    "algorithms",
    "audience",
    "cache",
    "client_certificate",
    "cookie",
    "deny_cache",
    "expected_instances",
    "format",
    "header",
    "hsts",
    "issuer",
    "key_prefix",
    "kind",
    "leeway",
    "listen",
    "local_memory",
    "nodes",
    "on_invalid",
    "query",
    "redirect",
    "redirect_port",
    "require_exp",
    "revocation",
    "servers",
    "sources",
    "tier",
    "tier_header",
    "timeout",
    "topology",
    "url",
    "user",
    "user_header",
    "username",
    "value",
];
/// The same in the sections of meters, which have other keys.
const HARMLESS_OF_METERS: [&str; 10] = [
    "every",
    "export",
    "host",
    "max_items",
    "methods",
    "path",
    "paths",
    "unique_by",
    "unique_for",
    "upstream",
];
const METERS: &str = "meters";
/// The section of a meter whose keys are names of the operator's choice.
const HEADERS: &str = ".headers";
/// Keys of private sections that name a file: harmless if it is a path that they hold.
const FILES: [&str; 6] = ["ca", "certificate", "client_ca", "file", "jwks_file", "key_file"];
/// The sections whose `key` names a file.
const TLS: [&str; 3] = ["store.tls", "tls", "tls.certificates"];
/// Longest key that is shown: two more than the longest that there is. What is longer may be a
/// secret that has lost its quotes.
const KEY_MAX: usize = 20;
/// Shortest piece of a message that can give something away.
const PIECE_MIN: usize = 4;
/// What opens and closes a string over several lines.
const LONG_QUOTES: [&str; 2] = ["\"\"\"", "'''"];

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground<'a> {
    /// Where no secret is written.
    Open,
    /// In this section, which may hold a secret; without a name before the first section.
    Private(&'a str),
    /// Within a string of such a section.
    Inside,
}

/// The sections of a file, line by line.
struct Walk<'a> {
    ground: Ground<'a>,
    /// No section has begun.
    at_root: bool,
    /// The quotes of a private string that has not ended.
    string: Option<&'static str>,
}

/// Where each of `lines` stands.
pub(super) fn grounds<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Ground<'a>> {
    let mut walk = Walk { ground: Ground::Open, at_root: true, string: None };
    lines.map(|line| walk.step(line.trim())).collect()
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn step(&mut self, line: &'a str) -> Ground<'a> {
        if self.string.is_some() {
            self.look_for_quotes(line);
            return Ground::Inside;
        }
        if let Some(section) = section_of(line) {
            self.at_root = false;
            self.ground = if is_open(section) { Ground::Open } else { Ground::Private(section) };
        } else if self.at_root && line.contains('=') && !line.starts_with(['#', '{', '[', '}', ']'])
        {
            self.ground = if is_open_entry(line) { Ground::Open } else { Ground::Private("") };
        }
        if self.ground != Ground::Open && !line.starts_with('#') {
            self.look_for_quotes(line);
        }
        self.ground
    }

    fn look_for_quotes(&mut self, line: &str) {
        let mut rest = line;
        while let Some((at, quotes)) = self.next_quotes(rest) {
            self.string = if self.string.is_some() { None } else { Some(quotes) };
            rest = rest.get(at + quotes.len()..).unwrap_or_default();
        }
    }

    /// The quotes in `text` that open a string, or close the one that is open.
    fn next_quotes(&self, text: &str) -> Option<(usize, &'static str)> {
        let meant = |quotes: &&str| self.string.is_none_or(|open| open == *quotes);
        let quotes = LONG_QUOTES.into_iter().filter(meant);
        quotes.filter_map(|quotes| Some((text.find(quotes)?, quotes))).min()
    }
}

// === impl Ground ===

impl Ground<'_> {
    /// What of `line` must not be shown, in order.
    pub(super) fn hidden(self, line: &str) -> Vec<Range<usize>> {
        let ground = self.range(line);
        // The one `key` of the file that is none.
        if ground.is_none() && self.names_file(line) {
            return Vec::new();
        }
        let mut ranges = secret::hidden(line, Extent::Line);
        ranges.extend(ground);
        if self == Self::Open {
            ranges.extend(closed_values(line));
        }
        secret::in_order(ranges)
    }

    /// Whether `line` says where the key of a certificate is.
    fn names_file(self, line: &str) -> bool {
        let key = assignment(line).map(|(key, _)| key);
        let own = |section: &str| section.ends_with(".client_certificate");
        let tls =
            matches!(self, Ground::Private(section) if TLS.contains(&section) || own(section));
        tls && key == Some("key")
    }

    /// What the place of `line` hides of it.
    fn range(self, line: &str) -> Option<Range<usize>> {
        let whole = line.len() - line.trim_start().len()..line.trim_end().len();
        let section = match self {
            Self::Open => return None,
            Self::Inside => return Some(whole),
            Self::Private(section) => section,
        };
        let text = line.trim();
        // What is in quotes could be the entry of an array.
        if section_of(text).is_some_and(|name| name.split('.').all(is_bare)) {
            return None;
        }
        let comment = text.starts_with('#');
        if comment && !text.contains('=') {
            return None;
        }
        let Some((key, from)) = assignment(line) else { return Some(whole) };
        let value = line.get(from..).unwrap_or_default();
        if comment || !is_harmless(section, key, value) {
            return Some(from..whole.end);
        }
        let more = assigned_again(value)?;
        Some(from + more..whole.end)
    }

    /// `message` without what it quotes of `hidden`, the part of the file that is not shown.
    pub(super) fn masked(message: &str, hidden: &str) -> String {
        if hidden.is_empty() {
            return message.to_owned();
        }
        let is_secret = |piece: &str| {
            let piece = piece.trim_end_matches('…');
            // An escape is spelled in another way than in the file: then nothing can be compared.
            let alike = hidden.contains(piece) || hidden.contains('\\') || piece.contains('\\');
            let variable = hidden.contains(&format!("${{{piece}"));
            piece.len() >= PIECE_MIN && alike && !variable
        };
        let pieces = message.split('`').enumerate();
        let shown =
            pieces.map(|(at, piece)| if at % 2 == 1 && is_secret(piece) { MASK } else { piece });
        shown.collect::<Vec<_>>().join("`")
    }
}

/// What of a line of an open section stands in such a table behind the names of its entries.
fn closed_values(line: &str) -> Vec<Range<usize>> {
    let Some((key, from)) = assignment(line) else { return Vec::new() };
    if !key.split('.').any(|name| CHOSEN.contains(&name)) {
        return Vec::new();
    }
    let (mut values, mut value, mut quote) = (Vec::new(), None, None);
    for (at, character) in line.char_indices().skip_while(|(at, _)| *at < from) {
        match (quote, character) {
            (None, '=') if value.is_none() => value = Some(at + 1),
            (None, ',' | '}') => values.extend(value.take().map(|value| value..at)),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    // Without its end it may be anything.
    values.extend(value.map(|value| value..line.len()));
    if quote.is_some() {
        values = std::iter::once(from..line.len()).collect();
    }
    let inside = |range: Range<usize>| {
        let text = line.get(range.clone()).unwrap_or_default();
        range.start + text.len() - text.trim_start().len()..range.start + text.trim_end().len()
    };
    values.into_iter().map(inside).filter(|range| !range.is_empty()).collect()
}

/// The section that `line` begins, as in `[identity.jwt]`, or what looks like one.
fn section_of(line: &str) -> Option<&str> {
    let (inside, rest) = match line.strip_prefix("[[") {
        Some(inside) => inside.split_once("]]")?,
        None => line.strip_prefix('[')?.split_once(']')?,
    };
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with('#')).then_some(inside.trim())
}

fn root_of(name: &str) -> &str {
    name.split('.').next().unwrap_or_default().trim()
}

fn is_open(name: &str) -> bool {
    OPEN.contains(&root_of(name)) && !name.rsplit('.').next().is_some_and(is_closed)
}

/// A table within an open section that may hold a secret: by its own name, wherever it stands.
fn is_closed(name: &str) -> bool {
    CLOSED.contains(&name.trim())
}

/// Whether `line`, before the first section, gives something that is no secret.
fn is_open_entry(line: &str) -> bool {
    let entry = assignment(line).and_then(|(key, at)| Some((key, line.get(at..)?)));
    entry.is_some_and(|(key, value)| is_open(key) || is_number(value))
}

fn is_bare(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let word = word.trim();
    (1..=KEY_MAX).contains(&word.len()) && word.chars().all(allowed)
}

/// The key of `line`, also behind a `#`, and where its value begins.
fn assignment(line: &str) -> Option<(&str, usize)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim_start().trim_start_matches('#').trim();
    // `==` ends many a secret.
    let named = key.split('.').all(is_bare) && !value.starts_with('=') && !value.trim().is_empty();
    named.then(|| (key, line.len() - value.trim_start().len()))
}

/// Whether `value` of `key` in the table `section` of a whole file is no secret.
pub(super) fn is_shown(section: &str, key: &str, value: &str) -> bool {
    if section.is_empty() || is_open(section) {
        // Before the first section there are only names of sections.
        return !section.is_empty() && !secret::is_named_secret(key);
    }
    match value {
        // A number, or `true` or `false`, is no path.
        "" => key == "tls" || HARMLESS.contains(&key) || HARMLESS_OF_METERS.contains(&key),
        _ => is_harmless(section, key, value),
    }
}

fn is_number(value: &str) -> bool {
    matches!(value, "true" | "false") || value.parse::<f64>().is_ok()
}

fn is_harmless(section: &str, key: &str, value: &str) -> bool {
    match (section, key) {
        // Before the first section it is not known whose key it is.
        ("", _) => false,
        _ if root_of(section) == METERS => {
            !section.ends_with(HEADERS) && HARMLESS_OF_METERS.contains(&key)
        }
        ("identity.session", "key") => PLACES.iter().any(|place| value.contains(place)),
        // Of the Sentinels; elsewhere it is the name of a table, in which secrets are.
        (_, "tls") => is_number(value),
        (section, "key") if TLS.contains(&section) => is_path(value),
        _ if FILES.contains(&key) => is_path(value),
        _ => HARMLESS.contains(&key),
    }
}

/// Whether a path begins here: absolute, or with a variable.
fn is_path(value: &str) -> bool {
    let value = value.trim_start_matches(QUOTES);
    let Some(variable) = value.strip_prefix("${") else { return value.starts_with('/') };
    let Some((name, rest)) = variable.split_once('}') else { return false };
    let default = name.split_once(":-").map(|(_, default)| default);
    let ends = rest.is_empty() || rest.starts_with('/') || rest.starts_with(QUOTES);
    ends && default.is_none_or(|default| default.starts_with('/'))
}

/// Where something else is assigned behind the value that begins `text`: what a line of a broken
/// file may hold.
fn assigned_again(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut first = None;
    for (at, c) in text.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if QUOTES.contains(&c) => quote = Some(c),
            None if c == '=' => return first.or(Some(at)),
            Some(_) if c == '=' => first = first.or(Some(at)),
            _ => {}
        }
    }
    // Of a string that does not end nobody knows what is in it.
    first.filter(|_| quote.is_some())
}
