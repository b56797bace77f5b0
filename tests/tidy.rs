//! The form of the code, held by tests: sizes, layers, the scripts' contracts, and documents that
//! name every key and every series. Each failure says where, and what to do.
//!
//! The code is read with a small lexer rather than a parser: without comments and literals, word by
//! word. That is exact enough for what is asked here.

#![expect(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a file, tests included.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Blocks of `if`, `else`, `match`, `for`, `while` and `loop` inside one another in a function. The
/// arms of a match and closures add no level of their own.
const NESTING_MAX: usize = 4;

/// The layers, lower ones first: their modules; crates that these may not name, by the beginning of
/// the name (`*`: all but `std`); layers that they may name. `upstream` is the part of the effects
/// that makes Pingora's peers. `cli` is at the root but opens no socket. Tests are free.
const LAYERS: &str = "
core     | limit                         | * |
facts    | request client identity rules meter | pingora redis prometheus tokio toml clap | core
bodies   | body                          | pingora redis prometheus tokio toml clap http |
input    | config                        | pingora redis prometheus tokio | core facts bodies
effects  | store limiter metering             | pingora http prometheus toml clap | core facts
upstream | upstream                      | redis http prometheus toml clap | core
output   | response metrics telemetry    | pingora redis tokio toml clap | core facts bodies
rim      | guard tls proxy admin reload delivery  | redis toml | core facts bodies input effects upstream output
cli      | cli                           | pingora redis tokio | core facts input root
root     | server demo explain replay batches main lib  | | core facts bodies input effects upstream output rim cli
";
/// What the header of a script has to state.
const CONTRACT: [&str; 6] = ["KEYS", "ARGV", "Stored value", "Reply", "Atomicity", "Clock"];
/// What is not finished does not stay: an issue remembers it better.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "unimplemented!", "todo!"];

#[test]
fn files_say_what_they_are_for_and_are_short() {
    let mut faults = Vec::new();
    for file in sources() {
        let ways = [
            (!file.text.starts_with("//!"), "begin with `//!` and what the file is for"),
            (file.path.ends_with("mod.rs"), "name it after its module: `foo.rs` beside `foo/`"),
            (file.text.lines().count() > FILE_LINES_MAX, "split it by its nouns: it is too long"),
        ];
        faults.extend(ways.iter().filter(|(wrong, _)| *wrong).map(|(_, what)| file.fault(1, what)));
    }
    none(&faults);
}

#[test]
fn functions_are_short_and_flat() {
    let (mut faults, mut functions) = (Vec::new(), 0);
    for file in sources() {
        for (line, lines, nesting) in functions_of(&words_of(&file.text)) {
            functions += 1;
            let size = (lines, FUNCTION_LINES_MAX, "lines: name its parts");
            let depth = (nesting, NESTING_MAX, "blocks inside one another: return early");
            for (is, most, what) in [size, depth].into_iter().filter(|(is, most, _)| is > most) {
                faults.push(file.fault(line, &format!("{is} of at most {most} {what}")));
            }
        }
    }
    assert!(functions > 100, "only {functions} functions found: the lexer has lost its way");
    none(&faults);
}

#[test]
fn modules_know_only_what_their_layer_may() {
    let (crates, mut faults, mut uses) = (dependencies(), Vec::new(), 0);
    for file in sources() {
        let words = words_of(&file.text);
        let Some([layer, _, never, may]) = layer_of(&file.module()) else {
            faults.push(file.fault(1, "give its module a row of LAYERS in tests/tidy.rs"));
            continue;
        };
        for (line, used) in own_modules_of(&words) {
            uses += 1;
            let of = layer_of(used).map_or(layer, |[name, ..]| name);
            if of != layer && !may.split(' ').any(|name| name == of) {
                let what = format!("`crate::{used}` ({of}): take the value from above");
                faults.push(file.fault(line, &format!("{layer} may not know {what}")));
            }
        }
        for (line, used) in crates_of(&words, &crates) {
            if never.split(' ').any(|name| name == "*" || used.split('_').next() == Some(name)) {
                let what = format!("the crate `{used}`: do that in a layer that may");
                faults.push(file.fault(line, &format!("{layer} may not know {what}")));
            }
        }
        let waits = |word: &&Word<'_>| layer == "core" && matches!(word.1, "async" | "await");
        for (line, _) in words.iter().filter(waits) {
            faults.push(file.fault(*line, "decide at once: wait outside"));
        }
        // All of this follows `crate::` alone, so nothing may leave its module by `super`.
        let at_root = file.path.parent() == Some(&root().join("src"));
        let outward = places(&words, if at_root { &["super"] } else { &["super", "::", "super"] });
        faults.extend(outward.iter().map(|at| file.fault(words[*at].0, "write `crate::...`")));
    }
    assert!(uses > 50, "only {uses} uses found: the lexer has lost its way");
    none(&faults);
}

#[test]
fn scripts_state_their_contract() {
    let mut faults = Vec::new();
    for file in some(files(&root().join("lua"), "lua"), "scripts") {
        let header = file.text.lines().take_while(|line| line.starts_with("--"));
        for word in CONTRACT {
            if !header.clone().any(|line| line.starts_with(&format!("-- {word}"))) {
                faults.push(file.fault(1, &format!("state `{word}` in the header")));
            }
        }
    }
    none(&faults);
}

#[test]
fn documents_name_every_series() {
    let mut source = read("src/metrics.rs").text;
    source.extend(files(&root().join("src/metrics"), ".rs").into_iter().map(|file| file.text));
    let full = source.split("\"sluicegate_").skip(1);
    let short = source.split("registry,").filter_map(|at| at.trim_start().strip_prefix('"'));
    let names = full.chain(short).filter_map(|rest| rest.split('"').next());
    let names = names.filter(|name| !name.contains('{')).map(|name| format!("sluicegate_{name}"));
    let names: BTreeSet<String> = names.collect();
    assert!(names.len() >= 10, "only {} series found in src/metrics", names.len());
    let document = read("docs/metrics.md").text;
    let told: Vec<&str> = document.split(|c| !in_word(c)).collect();
    let missing = names.iter().filter(|name| !told.contains(&name.as_str()));
    let faults = missing.map(|name| format!("docs/metrics.md:1: say what `{name}` tells"));
    none(&faults.collect::<Vec<_>>());
}

#[test]
fn documents_name_every_key() {
    let (file, document) = (read("gateway.toml"), read("docs/configuration.md").text);
    let mut faults = Vec::new();
    for (line, section, key) in some(keys_of(&file.text), "keys of gateway.toml") {
        // Under the heading of its table: `[store]`, `[upstreams.NAME]` or `[[routes]]`.
        let table = section.split('.').next().unwrap_or_default();
        let mut parts = document.split("\n## `").map(|part| part.trim_start_matches('['));
        let row = format!("`{key}`");
        if !parts.any(|part| part.starts_with(table) && part.contains(&row)) {
            let what = format!("describe {row} in docs/configuration.md under `[{table}]`");
            faults.push(file.fault(line, &what));
        }
    }
    none(&faults);
}

#[test]
fn nothing_is_left_for_later() {
    let mut faults = Vec::new();
    let others = files(&root(), "").into_iter().filter(|f| !f.path.ends_with("tests/tidy.rs"));
    for file in some(others.collect(), "files") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(*word)) {
                let what = format!("finish what `{word}` says, or drop it");
                faults.push(file.fault(number + 1, &what));
            }
        }
    }
    none(&faults);
}

// === Files ===

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn fault(&self, line: usize, what: &str) -> String {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        format!("{}:{line}: {what}", path.display())
    }

    /// The module right below the root that it belongs to.
    fn module(&self) -> String {
        let path = self.path.strip_prefix(root().join("src")).expect("a file of src/");
        path.to_string_lossy().split(['/', '.']).next().unwrap_or_default().to_owned()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Source {
    let path = root().join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Source { path, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// All files below `folder` with this extension, or all; what is built or downloaded aside.
fn files(folder: &Path, extension: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let aside = [".git", "target", "proptest-regressions"].map(|name| path.ends_with(name));
        if path.is_dir() && !aside.contains(&true) {
            found.extend(files(&path, extension));
        } else if path.is_file() && path.to_string_lossy().ends_with(extension) {
            found.push(read(&path.to_string_lossy()));
        }
    }
    found
}

/// All of `src/`. Escapes are replaced, so that a quote in the text begins or ends something.
fn sources() -> Vec<Source> {
    let mut files = some(files(&root().join("src"), ".rs"), "source files");
    for file in &mut files {
        file.text = file.text.replace("\\\\", "\\_").replace("\\\"", "\\_").replace("\\'", "\\_");
    }
    files
}

/// A list that a test goes through. An empty one would make the test say nothing.
fn some<T>(list: Vec<T>, what: &str) -> Vec<T> {
    assert!(!list.is_empty(), "no {what} found: the test looks in the wrong place");
    list
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

// === Layers ===

/// The row of a module: layer, modules, crates it may not name, layers it may.
fn layer_of(module: &str) -> Option<[&'static str; 4]> {
    let mut rows = LAYERS.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut cells = line.split('|').map(str::trim);
        [(); 4].map(|()| cells.next().expect("a row of LAYERS has four cells"))
    });
    rows.find(|[_, modules, ..]| modules.split(' ').any(|name| name == module))
}

/// The crates that `[dependencies]` of `Cargo.toml` names, as the code calls them.
fn dependencies() -> Vec<String> {
    let manifest = read("Cargo.toml").text;
    let section = manifest.split("\n[dependencies]\n").nth(1).expect("it has dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_")));
    some(names.collect(), "dependencies")
}

/// The modules named after `crate::`, one by one or in braces.
fn own_modules_of<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut found = Vec::new();
    for at in places(words, &["crate", "::"]) {
        let mut depth = 0;
        for pair in words[at + 1..=closing(words, at + 2)].windows(2) {
            depth += step(pair[0]);
            if matches!((depth, pair[0].1), (0, "::") | (1, "{" | ",")) {
                found.push(pair[1]);
            }
        }
    }
    found
}

/// The crates that a path begins with.
fn crates_of<'a>(words: &[Word<'a>], crates: &[String]) -> Vec<Word<'a>> {
    let begins = |three: &&[Word<'_>]| three[0].1 != "::" && three[2].1 == "::";
    let paths = words.windows(3).filter(begins).map(|three| three[1]);
    paths.filter(|(_, word)| crates.iter().any(|name| name == word)).collect()
}

/// The keys that the annotated configuration shows, in force or behind a `#`: line, table, name.
fn keys_of(text: &str) -> Vec<(usize, &str, &str)> {
    let (mut keys, mut section) = (Vec::new(), "");
    for (number, line) in text.lines().enumerate() {
        let line = line.strip_prefix('#').unwrap_or(line).trim_start();
        if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = name.trim_start_matches('[');
        } else if let Some((key, _)) = line.split_once(" =") {
            keys.extend(key.chars().all(in_word).then_some((number + 1, section, key)));
        }
    }
    keys
}

// === Words ===

/// The line of an identifier, a number or a sign, and itself.
type Word<'a> = (usize, &'a str);

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of a source: no comments, no literals, no `#[cfg(test)] mod`.
fn words_of(text: &str) -> Vec<Word<'_>> {
    let (mut words, mut rest, mut line) = (Vec::new(), text, 1);
    while !rest.is_empty() {
        let (length, is_word) = piece(rest);
        let (word, after) = rest.split_at(length);
        words.extend(is_word.then_some((line, word)));
        line += word.matches('\n').count();
        rest = after;
    }
    let tests = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    while let Some(at) = places(&words, &tests).first() {
        words.drain(*at..=closing(&words, at + tests.len() + 1));
    }
    words
}

/// The length of what `rest` begins with, and whether that is a word or a sign, to be kept.
fn piece(rest: &str) -> (usize, bool) {
    let until = |found: Option<usize>, more| found.map_or(rest.len(), |at| at + more);
    let word = until(rest.find(|c| !in_word(c)), 0);
    let quote = word + rest[word..].bytes().take_while(|byte| *byte == b'#').count();
    let opens = rest[quote..].starts_with('"');
    if opens && matches!((&rest[..word], quote), ("", 0) | ("r" | "br", _)) {
        let end = format!("\"{}", "#".repeat(quote - word));
        return (until(rest[quote + 1..].find(&end), quote + 1 + end.len()), false);
    }
    match rest.chars().next() {
        Some('/') if rest.starts_with("//") => (until(rest.find('\n'), 0), false),
        Some('/') if rest.starts_with("/*") => (until(rest.find("*/"), 2), false),
        Some('\'') if rest.starts_with("'\\") => (until(rest[1..].find('\''), 2), false),
        // A tick that no other follows at once belongs to a lifetime.
        Some('\'') => match rest.char_indices().nth(2) {
            Some((end, '\'')) => (end + 1, false),
            _ => (1, false),
        },
        _ if word > 0 => (word, true),
        _ if rest.starts_with("::") || rest.starts_with("=>") => (2, true),
        first => (first.map_or(0, char::len_utf8), !rest.starts_with(char::is_whitespace)),
    }
}

/// Where these words stand in a row.
fn places(words: &[Word<'_>], wanted: &[&str]) -> Vec<usize> {
    let here = |at: &usize| wanted.iter().zip(&words[*at..]).all(|(a, (_, b))| a == b);
    (0..words.len().saturating_sub(wanted.len())).filter(here).collect()
}

/// How much deeper it is behind a word.
fn step((_, word): Word<'_>) -> isize {
    isize::from(matches!(word, "{" | "(" | "[")) - isize::from(matches!(word, "}" | ")" | "]"))
}

/// The bracket that closes the one at `open`; `open` itself if it is none.
fn closing(words: &[Word<'_>], open: usize) -> usize {
    let (mut end, mut depth) = (open, step(words[open]));
    while depth > 0 {
        end += 1;
        depth += step(words[end]);
    }
    end
}

/// The line of each function with a body, how many lines it has, and how deep it nests.
fn functions_of(words: &[Word<'_>]) -> Vec<(usize, usize, usize)> {
    let mut functions = Vec::new();
    for at in places(words, &["fn"]) {
        let (mut depth, mut open) = (0, at + 1);
        while depth > 0 || !matches!(words[open].1, "{" | ";") {
            depth += step(words[open]);
            open += 1;
        }
        let end = closing(words, open);
        // `fn(u64) -> u64` is a type.
        if words[at + 1].1 != "(" && open < end {
            let lines = words[end].0 - words[at].0 + 1;
            functions.push((words[at].0, lines, nesting(&words[open + 1..end])));
        }
    }
    functions
}

/// The most control-flow blocks inside one another.
fn nesting(words: &[Word<'_>]) -> usize {
    let (mut open, mut due, mut deepest) = (Vec::new(), Vec::new(), 0);
    for pair in words.windows(2) {
        match (pair[0].1, pair[1].1) {
            ("for", "<") => {}
            // Its block opens at the depth at which the keyword stands.
            ("if" | "match" | "for" | "while" | "loop", _) | ("else", "{") => {
                due.push(open.len());
            }
            // It was the guard of an arm and has no block.
            ("=>", _) => drop(due.pop_if(|depth| *depth == open.len())),
            ("{", _) => open.push(due.pop_if(|depth| *depth == open.len()).is_some()),
            ("(" | "[", _) => open.push(false),
            ("}" | ")" | "]", _) => drop(open.pop()),
            _ => {}
        }
        due.retain(|depth| *depth <= open.len());
        deepest = deepest.max(open.iter().filter(|control| **control).count());
    }
    deepest
}
