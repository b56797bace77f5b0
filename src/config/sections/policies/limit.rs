//! The limit of a policy: its quota, window and algorithm.

use std::time::Duration;

use super::calendar;
use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::duration_within;
use crate::limit::concurrency::{self, Concurrency};
use crate::limit::quota::{UNITS_MAX, WINDOW_MAX, WINDOW_MIN};
use crate::limit::sliding_window::{RESOLUTION_DEFAULT, RESOLUTION_MAX, SlidingWindow};
use crate::limit::token_bucket::TokenBucket;
use crate::limit::{Limit, LimitError, Micros, Quota};
use crate::rules::calendar::{Periods, Unit, Zone};

/// Where the algorithm of a tier or an override is said.
const POLICY_S: &str = " for the whole policy";

/// The numbers of a limit, as far as the file gives them.
#[derive(Clone, Default)]
pub(super) struct Written {
    /// `None`: what stands there is none.
    algorithm: Option<Algorithm>,
    units: Option<u64>,
    window: Option<Window>,
    zone: Option<Zone>,
    burst: Option<u64>,
    resolution: Option<u64>,
}

/// A limit, and of a calendar the periods that it is counted in.
pub(super) type Timed = (Limit, Option<Periods>);

#[derive(Clone, Copy)]
enum Algorithm {
    SlidingWindow,
    TokenBucket,
    Calendar,
    Concurrency,
}

#[derive(Clone, Copy)]
enum Window {
    Span(Micros),
    Of(Unit),
}

impl Written {
    /// Whether its units are counted over windows, as far as that is known.
    pub(super) const fn has_windows(&self) -> bool {
        !matches!(self.algorithm, Some(Algorithm::Concurrency))
    }
}

/// The limit of a policy, and its numbers for the limits that differ from it.
pub(super) fn limit(section: &mut Section<'_>) -> Option<(Timed, Written)> {
    let algorithms = [
        ("sliding-window", Algorithm::SlidingWindow),
        ("token-bucket", Algorithm::TokenBucket),
        ("calendar", Algorithm::Calendar),
        ("concurrency", Algorithm::Concurrency),
    ];
    let algorithm = match section.word("algorithm", &algorithms) {
        None if section.has("algorithm") => None,
        algorithm => Some(algorithm.unwrap_or(Algorithm::SlidingWindow)),
    };
    let window = if matches!(algorithm, Some(Algorithm::Calendar)) { "\"day\"" } else { "\"1m\"" };
    section.require("quota", "100");
    if !matches!(algorithm, Some(Algorithm::Concurrency)) {
        section.require("window", window);
    }
    // Read also without an algorithm: every mistake is to be told.
    let written = numbers(section, algorithm, "");
    algorithm?;
    check_belonging(section, &written, "");
    Some((build(section, &written)?, written))
}

/// A limit that differs from `own` in what the section says.
pub(super) fn differing(section: &mut Section<'_>, own: &Written) -> Option<Timed> {
    let written = numbers(section, own.algorithm, POLICY_S);
    check_belonging(section, &written, POLICY_S);
    let keys = ["quota", "window", "time_zone", "burst", "resolution"];
    if section.is_there() && !keys.iter().any(|key| section.has(key)) {
        let mistake = Mistake::new("this changes nothing").help("give it a `quota` of its own");
        section.error(section.span(), mistake);
    }
    let differing = Written {
        algorithm: own.algorithm,
        units: written.units.or(own.units.filter(|_| !section.has("quota"))),
        window: written.window.or(own.window.filter(|_| !section.has("window"))),
        zone: written.zone.or_else(|| own.zone.clone()),
        burst: written.burst.or(own.burst),
        resolution: written.resolution.or(own.resolution),
    };
    build(section, &differing)
}

fn numbers(section: &mut Section<'_>, algorithm: Option<Algorithm>, whose: &str) -> Written {
    let units_max = match algorithm {
        Some(Algorithm::Concurrency) => concurrency::QUOTA_MAX,
        _ => UNITS_MAX,
    };
    Written {
        algorithm,
        units: section.integer("quota", 1..=units_max),
        window: window(section, algorithm, whose),
        zone: calendar::zone(section),
        burst: section.integer("burst", 1..=UNITS_MAX),
        resolution: section.integer("resolution", 1..=RESOLUTION_MAX),
    }
}

/// The window in the form that the algorithm takes; in either if it is not known.
fn window(section: &mut Section<'_>, algorithm: Option<Algorithm>, whose: &str) -> Option<Window> {
    let bounds = Duration::from(WINDOW_MIN)..=Duration::from(WINDOW_MAX);
    let span = |span: Duration| Window::Span(span.into());
    match algorithm {
        Some(Algorithm::Calendar) => calendar::window(section, whose).map(Window::Of),
        Some(Algorithm::Concurrency) => section.parsed("window", |_| Err(no_window(whose))),
        Some(_) => {
            section.duration_or("window", bounds, |text| calendar::misplaced(text, whose)).map(span)
        }
        None => section.parsed("window", |text| match calendar::unit(text) {
            Some(unit) => Ok(Window::Of(unit)),
            None => duration_within(text, "window", &bounds).map(span),
        }),
    }
}

/// `whose`: what has the algorithm, where that is not the section itself.
fn check_belonging(section: &Section<'_>, written: &Written, whose: &str) {
    let Some(algorithm) = written.algorithm else { return };
    if !matches!(algorithm, Algorithm::TokenBucket) {
        belongs(section, "burst", "token-bucket", whose);
    }
    if !matches!(algorithm, Algorithm::SlidingWindow) {
        belongs(section, "resolution", "sliding-window", whose);
    }
    if !matches!(algorithm, Algorithm::Calendar) {
        belongs(section, "time_zone", "calendar", whose);
    }
}

fn no_window(whose: &str) -> Mistake {
    Mistake::new("`concurrency` counts what is under way at once: it has no window")
        .help(format!("remove it, or set `algorithm = \"sliding-window\"`{whose}"))
}

fn build(section: &Section<'_>, written: &Written) -> Option<Timed> {
    let (algorithm, units) = (written.algorithm?, written.units?);
    if matches!(algorithm, Algorithm::Concurrency) {
        let built = Concurrency::new(units).map(|limit| (Limit::Concurrency(limit), None));
        return built.map_err(|error| blame(section, error)).ok();
    }
    let built = match (algorithm, written.window?) {
        (_, Window::Of(unit)) => {
            calendar::build(units, unit, written.zone.clone().unwrap_or_default())
        }
        (Algorithm::TokenBucket, Window::Span(span)) => Quota::new(units, span)
            .and_then(|quota| TokenBucket::new(quota, written.burst.unwrap_or(units)))
            .map(|bucket| (Limit::TokenBucket(bucket), None)),
        (_, Window::Span(span)) => Quota::new(units, span)
            .and_then(|quota| {
                SlidingWindow::new(quota, written.resolution.unwrap_or(RESOLUTION_DEFAULT))
            })
            .map(|window| (Limit::SlidingWindow(window), None)),
    };
    built.map_err(|error| blame(section, error)).ok()
}

/// Records a mistake if `key` is there, which only `algorithm` knows.
fn belongs(section: &Section<'_>, key: &str, algorithm: &str, whose: &str) {
    if section.has(key) {
        let mistake = Mistake::new(format!("`{key}` belongs to `{algorithm}`"))
            .help(format!("remove it, or set `algorithm = \"{algorithm}\"`{whose}"));
        section.error(&section.key_span(key), mistake);
    }
}

/// Records why a limit cannot be, at the key at fault.
fn blame(section: &Section<'_>, error: LimitError) {
    let key = match error {
        LimitError::Window(_) | LimitError::Period { .. } => "window",
        LimitError::Burst(_) | LimitError::Inexact { .. } if section.has("burst") => "burst",
        LimitError::Resolution(_) => "resolution",
        // Without a burst of its own, the quota is the burst.
        LimitError::Units(_)
        | LimitError::Permits(_)
        | LimitError::Burst(_)
        | LimitError::Inexact { .. } => "quota",
    };
    let help = match error {
        LimitError::Inexact { .. } => "lower the burst, or the window that it comes with",
        _ => "docs/algorithms.md says what each algorithm can count",
    };
    section.error(&section.span_of(key), Mistake::new(error.to_string()).help(help));
}
