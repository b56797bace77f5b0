//! `[policies.NAME.penalty]`: the ban of those who go on being denied.

use std::time::Duration;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::spell_duration;
use crate::limit::quota::{UNITS_MAX, WINDOW_MAX};
use crate::limit::sliding_window::{RESOLUTION_DEFAULT, SlidingWindow};
use crate::limit::{Ban, Quota};

/// Denials are told once a second, so shorter spans mean nothing.
const SPAN_MIN: Duration = Duration::from_secs(1);
const LONGEST_DEFAULT: Duration = Duration::from_secs(3_600);

/// The ban, if the policy has one and says all of it.
pub(super) fn penalty(mut section: Section<'_>) -> Option<Ban> {
    for (key, example) in [("denials", "20"), ("within", "\"1m\""), ("ban", "\"1m\"")] {
        section.require(key, example);
    }
    let bounds = || SPAN_MIN..=Duration::from(WINDOW_MAX);
    let denials = section.integer("denials", 1..=UNITS_MAX);
    let within = section.duration("within", bounds());
    let first = section.duration("ban", bounds());
    let longest = section.duration("ban_max", bounds());
    let is_wrong = section.has("ban_max") && longest.is_none();
    let longest = longest.unwrap_or(LONGEST_DEFAULT);
    let spans = first.filter(|first| *first > longest && !is_wrong);
    if let Some(first) = spans {
        let most = spell_duration(longest);
        let mistake = Mistake::new(format!("`ban` is longer than `ban_max`, which is `{most}`"))
            .help(format!("set `ban_max` to `{}` or more", spell_duration(first)));
        section.error(&section.span_of("ban"), mistake);
    }
    section.finish();
    let watch = Quota::new(denials?, within?.into())
        .and_then(|quota| SlidingWindow::new(quota, RESOLUTION_DEFAULT));
    Some(Ban::new(watch.ok()?, first?.into(), longest.into()))
}
