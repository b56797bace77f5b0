//! `[meters.NAME]`.

mod push;

use std::time::Duration;

use super::Definition;
use super::rules::method;
use crate::config::diagnostic::Mistake;
use crate::config::reader::{Named, Section};
use crate::config::value::{List, Text};
use crate::config::{Metered, Upstream};
use crate::meter::{Meter, Unique};
use crate::request::Spelling;
use crate::rules::matcher::PathPattern;

/// Most meters: each is looked at once a second.
const METERS_MAX: usize = 64;
/// Most paths of a meter.
const PATHS_MAX: usize = 100;
/// Most methods of a meter.
const METHODS_MAX: usize = 32;
const SPAN_MIN: Duration = Duration::from_secs(1);
const SPAN_MAX: Duration = Duration::from_secs(31 * 86_400);
const SPAN_DEFAULT: Duration = Duration::from_secs(86_400);
const ITEMS_MAX: u64 = 1_000_000;
const ITEMS_DEFAULT: u64 = 50_000;

/// What the other sections say that this one depends on.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// There is no Redis.
    pub(super) alone: bool,
    /// Some request may have a user.
    pub(super) has_user: bool,
    pub(super) upstreams: &'a [Definition<Upstream>],
    /// How paths are spelled.
    pub(super) spelling: Spelling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UniqueBy {
    User,
    Ip,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Export {
    Pull,
    Push,
}

pub(super) fn meters(root: &mut Section<'_>, surroundings: Surroundings<'_>) -> Vec<Metered> {
    let named = root.named("meters").unwrap_or_default();
    if named.len() > METERS_MAX {
        let mistake = Mistake::new(format!("too many meters: {}", named.len()))
            .help(format!("at most {METERS_MAX}; a meter may have several `paths`"));
        root.error(&root.span_of("meters"), mistake);
    }
    named.into_iter().filter_map(|named| meter(named, surroundings)).collect()
}

fn meter(named: Named<'_>, surroundings: Surroundings<'_>) -> Option<Metered> {
    let Named { name, mut section } = named;
    if surroundings.alone {
        let mistake = Mistake::new("there is no Redis to count in: `store.kind` is `local`")
            .help("set `store.kind` to `redis`, or leave this section out");
        section.error(section.span(), mistake);
    }
    section.require("paths", "[\"/stories/*\"]");
    let paths = section
        .list("paths", 1..=PATHS_MAX, |text| path(text, surroundings.spelling))
        .map(List::into_values);
    let methods = section.list("methods", 1..=METHODS_MAX, method).map(List::into_values);
    let unique = unique(&mut section, surroundings.has_user);
    let items_max = section.integer("max_items", 1..=ITEMS_MAX).unwrap_or(ITEMS_DEFAULT);
    let push = export(&mut section, surroundings.upstreams);
    section.finish();
    let methods = methods.unwrap_or_else(|| vec!["GET".to_owned()]);
    let meter = Meter { name, paths: paths?, methods, unique, items_max };
    Some(Metered { meter, push })
}

fn unique(section: &mut Section<'_>, has_user: bool) -> Unique {
    let words = [("user", UniqueBy::User), ("ip", UniqueBy::Ip), ("none", UniqueBy::Nothing)];
    section.require("unique_by", "\"user\"");
    let by = section.word("unique_by", &words);
    let span = section.duration("unique_for", SPAN_MIN..=SPAN_MAX).unwrap_or(SPAN_DEFAULT);
    if by == Some(UniqueBy::Nothing) && section.has("unique_for") {
        let mistake = Mistake::new("every request counts: `unique_for` is of no use")
            .help("say in `unique_by` whose views count once: `user` or `ip`; or leave this out");
        section.error(&section.key_span("unique_for"), mistake);
    }
    if by == Some(UniqueBy::User) && !has_user {
        let mistake = Mistake::new("no request has a user: the address takes its place")
            .help("say where users come from: `[identity]`");
        section.reader().warn(&section.span_of("unique_by"), mistake);
    }
    match by {
        Some(UniqueBy::User) => Unique::by_user(span.as_secs()),
        Some(UniqueBy::Ip) => Unique::by_address(span.as_secs()),
        _ => Unique::None,
    }
}

fn export(
    section: &mut Section<'_>,
    upstreams: &[Definition<Upstream>],
) -> Option<crate::config::Push> {
    let words = [("pull", Export::Pull), ("push", Export::Push)];
    let export = section.word("export", &words).unwrap_or(Export::Pull);
    let there = section.has("push");
    let push = push::push(section.table("push"), upstreams);
    if export == Export::Push && !there {
        let mistake = Mistake::new("it is not said where the counts are pushed to")
            .help("add a `push` table of this meter, with an `upstream` and a `path`");
        section.error(&section.span_of("export"), mistake);
    }
    // With `pull` the table waits for the day on which that changes.
    push.filter(|_| export == Export::Push)
}

fn path(text: &Text, spelling: Spelling) -> Result<PathPattern, Mistake> {
    PathPattern::parse(&text.value, spelling).map_err(|error| {
        let why = text.because(&error);
        Mistake::new(format!("not a pattern for paths: {}{why}", text.shown()))
            .help("as in `/stories/*`")
    })
}
