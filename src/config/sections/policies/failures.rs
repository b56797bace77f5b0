//! What a policy counts: every request, or those that failed.

use std::sync::Arc;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::rules::statuses::Statuses;

/// Most entries of `failure_status`.
const STATUSES_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Counted {
    Requests,
    Failures,
}

/// The answers that the policy counts; `None`: every request. What is `held` while a request is
/// under way is given back whatever the answer.
pub(super) fn failures(section: &mut Section<'_>, held: bool) -> Option<Arc<Statuses>> {
    let words = [("requests", Counted::Requests), ("failures", Counted::Failures)];
    let counted = section.word("count", &words);
    let statuses = section.numbers_or_words("failure_status", 1..=STATUSES_MAX, |text| {
        Statuses::parse(&text.value).ok_or_else(|| {
            Mistake::new(format!("not a status: {}", text.shown()))
                .help("200 to 599, or a class of them, as in `[401, 403, \"5xx\"]`")
        })
    });
    if held && counted == Some(Counted::Failures) {
        let mistake = Mistake::new("`concurrency` counts what is under way, failed or not")
            .help("remove `count`, or take another `algorithm`");
        section.error(&section.key_span("count"), mistake);
    }
    if counted == Some(Counted::Failures) {
        section.require("failure_status", "[401, 403]");
    } else if section.has("failure_status") && (counted.is_some() || !section.has("count")) {
        let mistake = Mistake::new("`failure_status` belongs to `count = \"failures\"`")
            .help("say that too, or remove it");
        section.error(&section.key_span("failure_status"), mistake);
    }
    let statuses = Statuses::new(statuses?.into_values());
    (counted == Some(Counted::Failures)).then(|| Arc::new(statuses))
}
