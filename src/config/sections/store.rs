//! `[store]`.

pub(super) mod tls;
mod topology;
mod url;

use std::time::Duration;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{Text, is_name};
use crate::config::{Secret, Store, StoreKind, Topology};
use url::Url;

const URL_DEFAULT: &str = "redis://127.0.0.1:6379";
const PREFIX_DEFAULT: &str = "sg";
const PREFIX_MAX: usize = 32;
const INSTANCES_MAX: u64 = 1_000;
const MEMORY_MIN: u64 = 1 << 20;
const MEMORY_MAX: u64 = 64 << 30;
const MEMORY_DEFAULT: usize = 64 << 20;
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(10);
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(20);
const DENY_CACHE_MAX: Duration = Duration::from_secs(60);
const DENY_CACHE_DEFAULT: Duration = Duration::from_secs(1);

pub(super) fn store(mut section: Section<'_>) -> Store {
    let kinds = [("redis", StoreKind::Redis), ("local", StoreKind::Local)];
    let memory = section.size("local_memory", MEMORY_MIN..=MEMORY_MAX);
    let url = section.parsed("url", Url::parse);
    let topology = topology::topology(&mut section, url.as_ref());
    let tls = tls::tls(section.table("tls"));
    unneeded(&section, url.as_ref(), &topology);
    let store = Store {
        kind: section.word("kind", &kinds).unwrap_or(StoreKind::Redis),
        url: url.map_or_else(|| Secret::new(URL_DEFAULT.to_owned()), |url| url.secret),
        topology,
        tls,
        timeout: section.duration("timeout", TIMEOUT_MIN..=TIMEOUT_MAX).unwrap_or(TIMEOUT_DEFAULT),
        deny_cache: section
            .duration("deny_cache", Duration::ZERO..=DENY_CACHE_MAX)
            .unwrap_or(DENY_CACHE_DEFAULT),
        key_prefix: section
            .parsed("key_prefix", key_prefix)
            .unwrap_or_else(|| PREFIX_DEFAULT.to_owned()),
        expected_instances: section.integer("expected_instances", 1..=INSTANCES_MAX),
        local_memory: memory
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(MEMORY_DEFAULT),
    };
    section.finish();
    store
}

/// Reports `[store.tls]` where nothing goes over TLS.
fn unneeded(section: &Section<'_>, url: Option<&Url>, topology: &Topology) {
    // A URL that cannot be read is a mistake of its own.
    let in_plain = url.map_or(!section.has("url"), |url| !url.is_encrypted());
    let sentinels = matches!(topology, Topology::Sentinel(sentinel) if sentinel.tls);
    if section.has("tls") && in_plain && !sentinels {
        let mistake = Mistake::new("`[store.tls]` is of no use: `store.url` does without TLS")
            .help("write `store.url` as `rediss://HOST:PORT`, or leave this section out");
        section.error(&section.span_of("tls"), mistake);
    }
}

fn key_prefix(text: &Text) -> Result<String, Mistake> {
    if is_name(&text.value, PREFIX_MAX) {
        return Ok(text.value.clone());
    }
    Err(Mistake::new(format!("not a prefix: {}", text.shown()))
        .help(format!("1 to {PREFIX_MAX} of letters, digits, `.`, `_` and `-`")))
}
