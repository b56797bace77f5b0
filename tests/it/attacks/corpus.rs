//! The corpus: streams of bytes, and what has to come of each.
//!
//! A file of it is lines of text:
//!
//! - `== NAME` begins a case. `== NAME every` has it split at every position, not at some.
//! - The lines up to `->` are the stream. Their own line ends do not count: `\r`, `\n`, `\t`, `\0`,
//!   `\\` and `\xHH` stand for bytes, `\{TEXT*N}` for text N times.
//! - `-> STATUS.. kept|closed|any` is what the client sees: the answers in their order, and whether
//!   the connection is of use afterwards (`any`: either, but always the same). `eof` before it: the
//!   client closes its half after the stream.
//!   `charged=N` where not each request that reaches the application is charged.
//! - `>> METHOD TARGET BODY` is a request that reaches the application, in their order; `>!
//!   METHOD TARGET` one whose head does and whose end does not. Of it, `>= NAME: VALUE` is a field
//!   that it has once with that value, and `>- NAME` one that it has not.
//! - Lines before the first case and between `->` and the next `==` that begin with `#` say why.

/// A stream and what has to come of it.
#[derive(Debug, Default)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) every: bool,
    pub(super) half_close: bool,
    pub(super) statuses: Vec<u16>,
    /// Nothing: either, but always the same.
    pub(super) closed: Option<bool>,
    pub(super) charged: Option<usize>,
    pub(super) requests: Vec<Reaching>,
}

/// A request that reaches the application.
#[derive(Debug, Default)]
pub(super) struct Reaching {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
    pub(super) whole: bool,
    pub(super) has: Vec<(String, String)>,
    pub(super) lacks: Vec<String>,
}

/// The files.
const FILES: [(&str, &str); 5] = [
    ("lengths", include_str!("corpus/lengths.txt")),
    ("chunks", include_str!("corpus/chunks.txt")),
    ("heads", include_str!("corpus/heads.txt")),
    ("targets", include_str!("corpus/targets.txt")),
    ("connections", include_str!("corpus/connections.txt")),
];

// === impl Case ===

impl Case {
    /// How many of its requests are charged.
    pub(super) fn charged(&self) -> usize {
        self.charged.unwrap_or(self.requests.len())
    }

    fn expect(&mut self, words: &str) {
        for word in words.split_whitespace() {
            match word {
                "kept" => self.closed = Some(false),
                "closed" => self.closed = Some(true),
                "any" => self.closed = None,
                "eof" => self.half_close = true,
                _ => match word.strip_prefix("charged=") {
                    Some(count) => self.charged = Some(count.parse().expect("a number")),
                    None => self.statuses.push(word.parse().expect("a status")),
                },
            }
        }
    }

    fn reach(&mut self, words: &str, whole: bool) {
        let mut words = words.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (method, target, body) = (next().to_owned(), next().to_owned(), bytes_of(next()));
        let target = String::from_utf8_lossy(&bytes_of(&target)).into_owned();
        self.requests.push(Reaching { method, target, body, whole, ..Reaching::default() });
    }

    fn last(&mut self) -> &mut Reaching {
        self.requests.last_mut().expect("a `>>` before it")
    }
}

/// All cases.
pub(super) fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|(file, text)| cases_of(file, text)).collect()
}

fn cases_of(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_stream = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            let (name, every) = name.strip_suffix(" every").map_or((name, false), |n| (n, true));
            let name = format!("{file}/{name}");
            cases.push(Case { name, every, ..Case::default() });
            in_stream = true;
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        match line.split_at_checked(3) {
            Some(("-> ", words)) => {
                case.expect(words);
                in_stream = false;
            }
            _ if in_stream => case.bytes.extend(bytes_of(line)),
            Some((">> ", words)) => case.reach(words, true),
            Some((">! ", words)) => case.reach(words, false),
            Some((">- ", name)) => case.last().lacks.push(name.to_owned()),
            Some((">= ", field)) => {
                let (name, value) = field.split_once(": ").expect("`NAME: VALUE`");
                case.last().has.push((name.to_owned(), value.to_owned()));
            }
            _ => assert!(line.is_empty() || line.starts_with('#'), "{file}: {line}"),
        }
    }
    cases
}

/// The bytes that a line of text stands for.
fn bytes_of(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (digits, after) = after.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = after;
            }
            "{" => {
                let (repeated, after) = after.split_once('}').expect("a closing brace");
                let (text, times) = repeated.rsplit_once('*').expect("`TEXT*N`");
                bytes.extend(bytes_of(text).repeat(times.parse().expect("a number")));
                rest = after;
            }
            _ => panic!("`\\{kind}` in {line:?}"),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}

#[test]
fn what_a_line_stands_for() {
    assert_eq!(bytes_of(r"a\r\n\t\0\\\xfFb\{xy\0*2}c"), b"a\r\n\t\0\\\xffbxy\0xy\0c");
}

#[test]
fn the_corpus_is_as_large_as_promised() {
    let cases = cases();
    assert!(cases.len() >= 150, "only {} streams", cases.len());
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    let doubled = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(doubled, None, "two cases of one name");
    let refused = cases.iter().filter(|case| case.requests.is_empty()).count();
    assert!(refused > 50 && cases.len() - refused > 50, "{refused} of {}", cases.len());
    for case in &cases {
        let open = case.statuses.is_empty() && !case.half_close && case.closed != Some(true);
        assert!(!case.bytes.is_empty() && !open, "{}: it says nothing", case.name);
    }
}
