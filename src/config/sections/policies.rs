//! `[policies.NAME]`.

use std::sync::Arc;
use std::time::Duration;

use super::Definition;
use crate::config::PartitionedPolicy;
use crate::config::diagnostic::{Mistake, Span};
use crate::config::reader::{Named, Section};
use crate::config::value::Text;
use crate::limit::quota::{UNITS_MAX, WINDOW_MAX, WINDOW_MIN};
use crate::limit::sliding_window::{RESOLUTION_DEFAULT, RESOLUTION_MAX, SlidingWindow};
use crate::limit::token_bucket::TokenBucket;
use crate::limit::{Limit, LimitError, Micros, Mode, OnStoreError, Policy, Quota};
use crate::rules::partition::{Partition, Word};

const STATUS_DEFAULT: u16 = 429;
const MESSAGE_DEFAULT: &str = "Too many requests; try again later.";
const MESSAGE_MAX: usize = 1024;
/// Most words of a partition.
const WORDS_MAX: usize = 16;
const WORDS_HELP: &str = "one of `ip`, `user`, `path`, `route`, `rule`, `method`, `host`, \
                          `header:NAME`, `cookie:NAME`, `query:NAME`";

#[derive(Clone, Copy)]
enum Algorithm {
    SlidingWindow,
    TokenBucket,
}

/// Reads all policies; `has_user` says whether anything tells who the user of a request is.
pub(super) fn policies(
    root: &mut Section<'_>,
    generation: u64,
    has_user: bool,
) -> Vec<Definition<PartitionedPolicy>> {
    let named = root.named("policies").unwrap_or_default();
    let read = |(id, named)| policy(named, id, generation, has_user);
    named.into_iter().enumerate().map(read).collect()
}

fn policy(
    named: Named<'_>,
    id: usize,
    generation: u64,
    has_user: bool,
) -> Definition<PartitionedPolicy> {
    let Named { name, mut section } = named;
    let span = section.span().clone();
    let limit = limit(&mut section);
    let partition = partition(&mut section, has_user);
    let on_store_error = [
        ("local", OnStoreError::Local),
        ("allow", OnStoreError::Allow),
        ("deny", OnStoreError::Deny),
    ];
    let on_store_error = section.word("on_store_error", &on_store_error, &[]);
    let modes = [("enforce", Mode::Enforce), ("shadow", Mode::Shadow)];
    let mode = section.word("mode", &modes, &[]);
    let status = section.integer("status", 400..=599).and_then(|status| status.try_into().ok());
    let message = section.parsed("message", message);
    section.finish();
    let meaning = limit.map(|limit| PartitionedPolicy {
        policy: Arc::new(Policy {
            id,
            generation,
            name: name.clone(),
            limit,
            mode: mode.unwrap_or(Mode::Enforce),
            on_store_error: on_store_error.unwrap_or(OnStoreError::Local),
            status: status.unwrap_or(STATUS_DEFAULT),
            message: message.unwrap_or_else(|| MESSAGE_DEFAULT.to_owned()),
        }),
        partition,
    });
    Definition { name, span, meaning }
}

fn limit(section: &mut Section<'_>) -> Option<Limit> {
    section.require("quota");
    section.require("window");
    let units = section.integer("quota", 1..=UNITS_MAX);
    let bounds = Duration::from(WINDOW_MIN)..=Duration::from(WINDOW_MAX);
    let window = section.duration("window", bounds);
    let algorithms =
        [("sliding-window", Algorithm::SlidingWindow), ("token-bucket", Algorithm::TokenBucket)];
    let algorithm = match section.word("algorithm", &algorithms, &[]) {
        None if section.has("algorithm") => None,
        algorithm => Some(algorithm.unwrap_or(Algorithm::SlidingWindow)),
    };
    let burst = section.integer("burst", 1..=UNITS_MAX);
    let resolution = section.integer("resolution", 1..=RESOLUTION_MAX);
    let algorithm = algorithm?;
    match algorithm {
        Algorithm::SlidingWindow => belongs(section, "burst", "token-bucket"),
        Algorithm::TokenBucket => belongs(section, "resolution", "sliding-window"),
    }
    let (units, window) = (units?, Micros::from(window?));
    let built = Quota::new(units, window).and_then(|quota| match algorithm {
        Algorithm::SlidingWindow => {
            let resolution = resolution.unwrap_or(RESOLUTION_DEFAULT);
            SlidingWindow::new(quota, resolution).map(Limit::SlidingWindow)
        }
        Algorithm::TokenBucket => {
            TokenBucket::new(quota, burst.unwrap_or(units)).map(Limit::TokenBucket)
        }
    });
    built.map_err(|error| blame(section, error)).ok()
}

/// Records a mistake if `key` is there, which only `algorithm` knows.
fn belongs(section: &Section<'_>, key: &str, algorithm: &str) {
    if section.has(key) {
        let mistake = Mistake::new(format!("`{key}` belongs to `{algorithm}`"))
            .help(format!("remove it, or set `algorithm = \"{algorithm}\"`"));
        section.error(&section.key_span(key), mistake);
    }
}

/// Records why a limit cannot be, at the key at fault.
fn blame(section: &Section<'_>, error: LimitError) {
    let key = match error {
        LimitError::Window(_) => "window",
        LimitError::Burst(_) | LimitError::Inexact { .. } if section.has("burst") => "burst",
        LimitError::Resolution(_) => "resolution",
        // Without a burst of its own, the quota is the burst.
        LimitError::Units(_) | LimitError::Burst(_) | LimitError::Inexact { .. } => "quota",
    };
    section.error(&section.span_of(key), error.to_string());
}

fn partition(section: &mut Section<'_>, has_user: bool) -> Partition {
    let Some(list) = section.list("partition", 0..=WORDS_MAX, word) else {
        return Partition::new(vec![Word::Ip]);
    };
    for (span, word) in &list.items {
        if *word == Word::User && !has_user {
            warn_no_user(section, span);
        }
    }
    let complete = list.items.len() == list.written;
    let span = list.span.clone();
    let partition = Partition::new(list.into_values());
    let words = partition.words();
    let divides = words.iter().any(|word| matches!(word, Word::Ip | Word::User));
    if complete && !divides && words.iter().any(Word::chosen_by_client) {
        let mistake = Mistake::new("a client can have as many quotas as it likes")
            .help("add `ip` or `user`: the other words are the client's to choose");
        section.reader().warn(&span, mistake);
    }
    partition
}

fn warn_no_user(section: &Section<'_>, span: &Span) {
    let mistake = Mistake::new("no request has a user: the address takes its place")
        .help("name the header that tells the user: `user` of `[identity.header]`");
    section.reader().warn(span, mistake);
}

fn word(text: &Text) -> Result<Word, Mistake> {
    Word::parse(&text.value).ok_or_else(|| {
        Mistake::new(format!("unknown word of a partition: {}", text.shown())).help(WORDS_HELP)
    })
}

fn message(text: &Text) -> Result<String, Mistake> {
    if text.value.len() > MESSAGE_MAX {
        let length = text.value.len();
        return Err(format!("a message has at most {MESSAGE_MAX} bytes: {length}").into());
    }
    if text.value.contains(char::is_control) {
        return Err("a message is one line without control characters".into());
    }
    Ok(text.value.clone())
}
