//! The key of an override: a value for each word of the partition, in the form in which requests
//! have it. What no request has is a mistake: the override would say nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use super::variants::Sources;
use crate::client;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::rules;
use crate::config::value::{Text, listed, quote, suggest};
use crate::identity::claim;
use crate::request::{Spelling, bare_host};
use crate::rules::partition::{Partition, Word};

/// Most values of a key: more than a partition has words.
const VALUES_MAX: usize = 32;

/// The subject of the key that an override names: a value for each word of the partition.
pub(super) fn subject(
    section: &mut Section<'_>,
    partition: &Partition,
    sources: &Sources,
) -> Option<String> {
    section.require("key", "{ ip = \"192.0.2.7\" }");
    if !section.has("key") {
        return None;
    }
    let entries = section.texts("key", VALUES_MAX);
    let words = partition.words();
    let names: Vec<String> = words.iter().map(ToString::to_string).collect();
    if words.is_empty() {
        let mistake = Mistake::new("everyone shares the one key of this policy")
            .help("change the policy's own `quota`, or give it a `partition`");
        section.error(&section.key_span("key"), mistake);
        return None;
    }
    let mut values: Vec<(Word, String)> = Vec::new();
    for (name, span, text) in entries {
        let word = Word::parse(&name).filter(|word| words.contains(word));
        let Some(word) = word else {
            let mistake = Mistake::new(format!("{} does not divide this policy", quote(&name)))
                .help(format!("a value for each of {}", listed(names.iter().map(String::as_str))));
            section.error(&span, mistake);
            return None;
        };
        match value(&word, &text, sources) {
            Ok(value) => values.push((word, value)),
            Err(mistake) => {
                section.error(&text.span, mistake);
                return None;
            }
        }
    }
    if let Some(missing) = words.iter().find(|word| !values.iter().any(|(w, _)| w == *word)) {
        let mistake = Mistake::new(format!("a key of this policy has a value for `{missing}`"))
            .help(format!("a value for each of {}", listed(names.iter().map(String::as_str))));
        section.error(&section.span_of("key"), mistake);
        return None;
    }
    let find = |word: &Word| values.iter().find(|(w, _)| w == word);
    Some(partition.subject_of(|word| find(word).map(|(_, v)| v.clone()).unwrap_or_default()))
}

/// The value of a word in the form in which requests have it.
fn value(word: &Word, text: &Text, sources: &Sources) -> Result<String, Mistake> {
    let written = text.value.as_str();
    match word {
        Word::Ip => network(text, sources),
        Word::Path => path(text, sources.spelling),
        Word::Method if written == "HEAD" => Ok("GET".to_owned()),
        Word::Method if written == "*" => {
            Err(Mistake::new("`*` is not a method").help("one method, as in `GET`: no pattern"))
        }
        Word::Method => rules::method(text),
        Word::Host => host(text),
        Word::Route => route(text, sources),
        Word::User => claim::user(written).ok_or_else(|| {
            Mistake::new(format!("not a user: {}", text.shown())).help(claim::USER_HELP)
        }),
        _ => Ok(written.to_owned()),
    }
}

fn network(text: &Text, sources: &Sources) -> Result<String, Mistake> {
    let Ok(address) = text.value.parse::<IpAddr>() else {
        return Err(Mistake::new(format!("not an address: {}", text.shown()))
            .help("one address of the client, as in `192.0.2.7`"));
    };
    let Sources { ipv4_prefix, ipv6_prefix, .. } = *sources;
    Ok(client::network(client::canonical(address), ipv4_prefix, ipv6_prefix).to_string())
}

/// A path is no pattern here: what looks like one stands for itself.
fn path(text: &Text, spelling: Spelling) -> Result<String, Mistake> {
    let help = if !text.value.starts_with('/') {
        "a path begins with `/` and is no pattern here"
    } else if text.value.contains(['?', '#']) {
        "leave out the query and what follows a `#`; escaped they are `%3F` and `%23`"
    } else if text.value.contains(|c: char| c == ' ' || c.is_ascii_control()) {
        "no path has a blank or a control character, write it as an escape like `%20`"
    } else {
        return spelling.normalise(&text.value).map(Cow::into_owned).map_err(|fault| {
            Mistake::new(format!("not a path: {}", text.shown()))
                .help(format!("{fault}: such requests are refused"))
        });
    };
    Err(Mistake::new(format!("not a path: {}", text.shown())).help(help))
}

fn host(text: &Text) -> Result<String, Mistake> {
    let bare = bare_host(&text.value);
    let whole = text.value.trim_end_matches('.').to_ascii_lowercase();
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if bare.is_empty() || bare != whole || bare.contains(odd) {
        return Err(Mistake::new(format!("not a host: {}", text.shown()))
            .help("a name without scheme, port and path, as in `example.org`"));
    }
    Ok(bare)
}

fn route(text: &Text, sources: &Sources) -> Result<String, Mistake> {
    match &sources.routes {
        Some(routes) if !routes.contains(&text.value) => {
            let mistake = Mistake::new(format!("no route has this path: {}", text.shown()));
            if text.template.is_some() {
                // What the word resembles says too much about it.
                return Err(mistake.help("the `path` of one of the `[[routes]]`"));
            }
            Err(mistake.help(suggest(&text.value, routes.iter().map(String::as_str))))
        }
        _ => Ok(text.value.clone()),
    }
}
