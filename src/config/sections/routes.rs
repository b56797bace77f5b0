//! `[[routes]]`, and the patterns that routes and rules have in common.

use std::cmp::Reverse;
use std::collections::HashSet;

use super::server::BODY_MAX;
use super::{Definition, ENTRIES_MAX, place};
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{Text, suggest};
use crate::config::{Route, Upstream};
use crate::request::Spelling;
use crate::rules::matcher::{HostPattern, PathPattern, PatternError};

/// Reads all routes, and says whether none of them is invalid.
pub(super) fn routes(
    root: &mut Section<'_>,
    upstreams: &[Definition<Upstream>],
    spelling: Spelling,
) -> (Vec<Route>, bool) {
    let Some(sections) = root.tables("routes", ENTRIES_MAX) else { return (Vec::new(), false) };
    let written = sections.len();
    if sections.is_empty() {
        let mistake = Mistake::new("no route: requests have nowhere to go")
            .help("add `[[routes]]` with `path = \"/**\"` and an `upstream`");
        root.error(&root.span_of("routes"), mistake);
    }
    let mut seen = HashSet::new();
    let mut routes = Vec::with_capacity(sections.len());
    for mut section in sections {
        let Some(route) = route(&mut section, upstreams, spelling) else {
            section.finish();
            continue;
        };
        let host = route.host.as_ref().map(ToString::to_string);
        if !seen.insert((route.path.as_str().to_owned(), host)) {
            let mistake = Mistake::new("another route has the same path and host")
                .help("remove one of them, or tell them apart by `host`");
            section.error(&section.span_of("path"), mistake);
        }
        section.finish();
        routes.push(route);
    }
    routes.sort_by_cached_key(order);
    let complete = written > 0 && routes.len() == written;
    (routes, complete)
}

/// The patterns of `path`, which must be there, and of `host`. `None` if either is invalid.
pub(super) fn patterns(
    section: &mut Section<'_>,
    spelling: Spelling,
) -> Option<(PathPattern, Option<HostPattern>)> {
    section.require("path", "\"/**\"");
    let path = section.parsed("path", |text| {
        PathPattern::parse(&text.value, spelling).map_err(|error| invalid("paths", text, &error))
    });
    let host = section.parsed("host", |text| {
        HostPattern::parse(&text.value).map_err(|error| invalid("hosts", text, &error))
    });
    if host.is_none() && section.has("host") {
        return None;
    }
    Some((path?, host))
}

fn invalid(of: &str, text: &Text, error: &PatternError) -> Mistake {
    let why = text.because(error);
    let example = if of == "hosts" { "`example.org` or `*.example.org`" } else { "`/api/**`" };
    Mistake::new(format!("not a pattern for {of}: {}{why}", text.shown()))
        .help(format!("as in {example}"))
}

fn route(
    section: &mut Section<'_>,
    upstreams: &[Definition<Upstream>],
    spelling: Spelling,
) -> Option<Route> {
    let patterns = patterns(section, spelling);
    section.require("upstream", "\"app\"");
    let upstream = section.parsed("upstream", |text| {
        place(upstreams, text).ok_or_else(|| unknown("upstream", text, upstreams))
    });
    let preserve_host = section.boolean("preserve_host").unwrap_or(true);
    let max_body = section.size("max_body", 0..=BODY_MAX);
    // A route to an unknown upstream still says that its path is taken.
    let (path, host) = patterns?;
    Some(Route { path, host, upstream: upstream.unwrap_or(0), preserve_host, max_body })
}

/// What to say of a name that nothing has.
pub(super) fn unknown<T>(what: &str, text: &Text, definitions: &[Definition<T>]) -> Mistake {
    let known = definitions.iter().map(|definition| definition.name.as_str());
    let mistake = Mistake::new(format!("unknown {what}: {}", text.shown()));
    if text.template.is_some() {
        // What the word resembles says too much about it.
        return mistake.help("the variable has to hold the name of one that the file defines");
    }
    mistake.help(suggest(&text.value, known))
}

/// Host literals first, then wildcards, then none; within each by path, and of two wildcards with
/// the same path the one that says more first.
fn order(route: &Route) -> (u8, PathPattern, Reverse<usize>, Option<HostPattern>) {
    let text = route.host.as_ref().map(ToString::to_string);
    let rank = match &text {
        Some(host) if !host.starts_with("*.") => 0,
        Some(_) => 1,
        None => 2,
    };
    let length = text.map_or(0, |host| host.len());
    (rank, route.path.clone(), Reverse(length), route.host.clone())
}
