//! `[exempt]` and `[deny]`.

use super::networks::networks;
use crate::client::Networks;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{List, Text};
use crate::identity::claim;
use crate::request::Spelling;
use crate::rules::access::Exempt;
use crate::rules::matcher::PathPattern;

/// Most users, and most paths, that are exempt.
const ENTRIES_MAX: usize = 10_000;

pub(super) fn exempt(mut section: Section<'_>, has_user: bool, spelling: Spelling) -> Exempt {
    let users = section.list("users", 1..=ENTRIES_MAX, user).map(List::into_values);
    if section.has("users") && !has_user {
        let mistake = Mistake::new("no request has a user: nobody is exempt by this")
            .help("say in `[identity]` who tells the user");
        section.error(&section.span_of("users"), mistake);
    }
    let paths = section.list("paths", 1..=ENTRIES_MAX, |text| path(text, spelling));
    for (span, pattern) in paths.iter().flat_map(|paths| &paths.items) {
        if pattern.as_str() == "/**" {
            let mistake = Mistake::new("every request is exempt: nothing is limited")
                .help("to switch limits off, say `mode = \"off\"` in `[rollout]`");
            section.reader().warn(span, mistake);
        }
    }
    let exempt = Exempt {
        clients: networks(&mut section, "clients").unwrap_or_default(),
        users: users.unwrap_or_default().into_iter().collect(),
        paths: paths.map(List::into_values).unwrap_or_default(),
    };
    section.finish();
    exempt
}

pub(super) fn deny(mut section: Section<'_>) -> Networks {
    let clients = networks(&mut section, "clients").unwrap_or_default();
    section.finish();
    clients
}

fn user(text: &Text) -> Result<String, Mistake> {
    claim::user(&text.value)
        .ok_or_else(|| Mistake::new(format!("not a user: {}", text.shown())).help(claim::USER_HELP))
}

fn path(text: &Text, spelling: Spelling) -> Result<PathPattern, Mistake> {
    PathPattern::parse(&text.value, spelling).map_err(|error| {
        let why = text.because(&error);
        Mistake::new(format!("not a pattern for paths: {}{why}", text.shown()))
            .help("as in `/health` or `/static/**`")
    })
}
