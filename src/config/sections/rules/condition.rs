//! What besides path, host and method a rule asks of a request.

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::identity::header_name;
use crate::config::sections::networks::networks;
use crate::config::value::Text;
use crate::rules::condition::{Condition, ValuePattern, When};

/// Most headers, and most query parameters, that a rule asks for.
const VALUES_MAX: usize = 16;
/// Longest pattern for a value, in bytes.
const PATTERN_MAX: usize = 1024;

/// Reads the conditions of a rule; `has_user` says whether anything tells who a user is. `None` if
/// one of them is invalid.
pub(super) fn condition(section: &mut Section<'_>, has_user: bool) -> Option<Condition> {
    let words = [("anonymous", When::Anonymous), ("authenticated", When::Authenticated)];
    let when = section.word("when", &words);
    if when == Some(When::Authenticated) && !has_user {
        let mistake = Mistake::new("no request has a user: this rule never applies")
            .help("say in `[identity]` who tells the user");
        section.error(&section.span_of("when"), mistake);
    }
    let clients = networks(section, "clients");
    let headers = values(section, "headers", |name| {
        header_name(name).map_err(|mistake| mistake.help("as in `headers = { x-plan = \"free\" }`"))
    });
    let query = values(section, "query", |name| Ok(name.value.clone()));
    let complete =
        when.is_some() == section.has("when") && clients.is_some() == section.has("clients");
    Some(Condition { when, clients, headers: headers?, query: query? }).filter(|_| complete)
}

/// The patterns of the table `key`, by name.
fn values(
    section: &mut Section<'_>,
    key: &'static str,
    name: impl Fn(&Text) -> Result<String, Mistake>,
) -> Option<Vec<(String, ValuePattern)>> {
    let mut values = Vec::new();
    let mut complete = true;
    for (written, span, text) in section.texts(key, VALUES_MAX) {
        let called = Text { value: written, template: None, span };
        let read = name(&called).map_err(|mistake| (&called.span, mistake)).and_then(|name| {
            let pattern = pattern(&text).map_err(|mistake| (&text.span, mistake))?;
            Ok((name, pattern))
        });
        match read {
            Ok(value) => values.push(value),
            Err((span, mistake)) => {
                section.error(span, mistake);
                complete = false;
            }
        }
    }
    complete.then_some(values)
}

fn pattern(text: &Text) -> Result<ValuePattern, Mistake> {
    if text.value.len() > PATTERN_MAX {
        return Err(format!("a pattern has at most {PATTERN_MAX} bytes").into());
    }
    ValuePattern::parse(&text.value).map_err(|error| {
        let why = text.because(&error);
        Mistake::new(format!("not a pattern for values: {}{why}", text.shown()))
            .help("`*` is any run of characters, as in `free*`; `*` alone: whatever it says")
    })
}
