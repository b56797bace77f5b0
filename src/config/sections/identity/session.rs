//! `[identity.session]`.

use super::key::{claim_path, template};
use super::place::{self, Headers, one_place};
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::identity::session::{Confirmation, IdFormat, Session, Stored};
use crate::identity::template::Template;

const EXAMPLE: &str = "session:{id}";

/// What the section is about.
pub(super) enum Read {
    /// Sessions by the id that a client presents.
    Source(Session),
    /// Sessions by user.
    Confirmation(Confirmation),
}

/// Which of the two the key is for.
enum Key {
    Id(Template),
    User(Template),
}

pub(super) fn session(
    mut section: Section<'_>,
    alone: bool,
    headers: &mut Headers,
) -> Option<Read> {
    if alone {
        let mistake = Mistake::new("there is no Redis to ask: `store.kind` is `local`")
            .help("set `store.kind` to `redis`, or leave this section out");
        section.error(&section.span().clone(), mistake);
    }
    section.require("key", "\"session:{id}\"");
    let key = section.parsed("key", key);
    let formats = [("plain", IdFormat::Plain), ("express", IdFormat::Express)];
    let format = section.word("format", &formats).unwrap_or(IdFormat::Plain);
    let stored = section.word("value", &[("json", Stored::Json), ("hash", Stored::Hash)]);
    let stored = stored.unwrap_or(Stored::Json);
    let user = section.parsed("user", claim_path);
    let tier = section.parsed("tier", claim_path);
    let read = match key {
        Some(Key::User(key)) => {
            by_user(&mut section, stored);
            Some(Read::Confirmation(Confirmation { key, stored, user, tier }))
        }
        Some(Key::Id(key)) => {
            section.require("user", "\"user.id\"");
            let place = one_place(&mut section, ["cookie", "header"], headers, place::SESSION);
            place.zip(user).map(|(place, user)| {
                Read::Source(Session { place, format, key, stored, user, tier })
            })
        }
        None => {
            // Which keys are right depends on it.
            let _ = (section.text("cookie"), section.text("header"));
            None
        }
    };
    section.finish();
    read
}

/// Reports what makes no sense where the session is found by its user.
fn by_user(section: &mut Section<'_>, stored: Stored) {
    for key in ["cookie", "header", "format"] {
        if section.has(key) {
            let mistake =
                Mistake::new(format!("`{key}` is of no use: the key is found by its user"))
                    .help(format!("leave it out, or write the key like `{EXAMPLE}`"));
            section.error(&section.key_span(key), mistake);
        }
    }
    let _ = (section.text("cookie"), section.text("header"));
    if stored == Stored::Hash && section.has("tier") && !section.has("user") {
        let mistake = Mistake::new("a hash without this field would be no session")
            .help("give `user` too, a field that every session has");
        section.error(&section.key_span("tier"), mistake);
    }
}

fn key(text: &Text) -> Result<Key, Mistake> {
    match (text.value.contains("{id}"), text.value.contains("{user}")) {
        (true, true) => Err(Mistake::new(format!(
            "a key is found by `{{id}}` or by `{{user}}`, not by both: {}",
            text.shown()
        ))
        .help(format!("as in `{EXAMPLE}`"))),
        (false, true) => template(text, "user", "session:{user}").map(Key::User),
        _ => template(text, "id", EXAMPLE).map(Key::Id),
    }
}
