//! `[upstreams.NAME.health]` and `[upstreams.NAME.ejection]`: who gets no requests for now.

use std::time::Duration;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::target;
use crate::config::value::spell_duration;
use crate::config::{Ejection, HealthCheck};
use crate::rules::statuses::Statuses;

/// Most checks in a row that may be asked for.
const IN_A_ROW_MAX: u64 = 100;
/// Most entries of `status`.
const STATUSES_MAX: usize = 64;
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
const UNHEALTHY_DEFAULT: u64 = 2;
const HEALTHY_DEFAULT: u64 = 1;
/// Most failures in a row that may be asked for.
const FAILURES_MAX: u64 = 1000;
const FAILURES_DEFAULT: u64 = 5;
const EJECTED_DEFAULT: Duration = Duration::from_secs(10);

pub(super) fn health(mut section: Section<'_>) -> Option<HealthCheck> {
    let is_there = section.is_there();
    let path = section.parsed("path", target::path);
    let host = section.parsed("host", target::host);
    let interval = section.duration("interval", INTERVAL_MIN..=HOUR);
    let timeout = section.duration("timeout", TIMEOUT_MIN..=HOUR);
    let status = section.numbers_or_words("status", 1..=STATUSES_MAX, |text| {
        Statuses::parse(&text.value).ok_or_else(|| {
            Mistake::new(format!("not a status: {}", text.shown()))
                .help("200 to 599, or a class of them, as in `[200, 204, \"3xx\"]`")
        })
    });
    let unhealthy_after = in_a_row(&mut section, "unhealthy_after", UNHEALTHY_DEFAULT);
    let healthy_after = in_a_row(&mut section, "healthy_after", HEALTHY_DEFAULT);
    let every = interval.unwrap_or(INTERVAL_DEFAULT);
    // What is not said gives way: a check is over before the next begins.
    let longest = timeout.unwrap_or(TIMEOUT_DEFAULT.min(every));
    if longest > every && (interval.is_some() || !section.has("interval")) {
        let mistake = Mistake::new("a check may take longer than the time between two of them")
            .help(format!("at most the `interval`: {}", spell_duration(every)));
        section.error(&section.span_of("timeout"), mistake);
    }
    for key in ["host", "status"].into_iter().filter(|key| section.has(key)) {
        if is_there && !section.has("path") {
            let mistake = Mistake::new(format!("`{key}` is of no use: nothing is asked for"))
                .help("say what, as in `path = \"/healthz\"`, or leave it out");
            section.error(&section.key_span(key), mistake);
        }
    }
    section.finish();
    is_there.then_some(HealthCheck {
        path,
        host: host.and_then(|host| host.to_str().map(str::to_owned).ok()),
        interval: every,
        timeout: longest,
        status: status.map(|status| Statuses::new(status.into_values())),
        unhealthy_after,
        healthy_after,
    })
}

fn in_a_row(section: &mut Section<'_>, key: &'static str, default: u64) -> u32 {
    let number = section.integer(key, 1..=IN_A_ROW_MAX).unwrap_or(default);
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn ejection(mut section: Section<'_>) -> Ejection {
    let failures = section.integer("failures", 0..=FAILURES_MAX).unwrap_or(FAILURES_DEFAULT);
    let span = section.duration("for", INTERVAL_MIN..=HOUR).unwrap_or(EJECTED_DEFAULT);
    section.finish();
    Ejection { failures: u32::try_from(failures).unwrap_or(u32::MAX), span }
}
