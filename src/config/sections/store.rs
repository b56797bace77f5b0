//! `[store]`.

pub(super) mod tls;

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::value::{Text, is_name};
use crate::config::{Secret, Store, StoreKind};

const URL_DEFAULT: &str = "redis://127.0.0.1:6379";
const URL_HELP: &str = "as in `redis://HOST:PORT`, `rediss://HOST:PORT` or `unix:///PATH`";
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
    // One topology so far: it is checked, and nothing is left to remember.
    section.word("topology", &[("single", ())], &["sentinel", "cluster"]);
    let memory = section.size("local_memory", MEMORY_MIN..=MEMORY_MAX);
    let url = section.parsed("url", url);
    let tls = tls::tls(section.table("tls"));
    // A URL that cannot be read is a mistake of its own.
    let in_plain = url.as_ref().map_or(!section.has("url"), |url| !is_encrypted(url));
    if section.has("tls") && in_plain {
        let mistake = Mistake::new("`[store.tls]` is of no use: `store.url` does without TLS")
            .help("write `store.url` as `rediss://HOST:PORT`, or leave this section out");
        section.error(&section.span_of("tls"), mistake);
    }
    let store = Store {
        kind: section.word("kind", &kinds, &[]).unwrap_or(StoreKind::Redis),
        url: url.unwrap_or_else(|| Secret::new(URL_DEFAULT.to_owned())),
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

fn key_prefix(text: &Text) -> Result<String, Mistake> {
    if is_name(&text.value, PREFIX_MAX) {
        return Ok(text.value.clone());
    }
    Err(Mistake::new(format!("not a prefix: {}", text.shown()))
        .help(format!("1 to {PREFIX_MAX} of letters, digits, `.`, `_` and `-`")))
}

fn is_encrypted(url: &Secret) -> bool {
    url.expose().starts_with("rediss://")
}

/// Checks scheme and place. No message quotes any of it.
fn url(text: &Text) -> Result<Secret, Mistake> {
    let url = text.value.as_str();
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(Mistake::new("the URL has no scheme").help(URL_HELP));
    };
    match scheme {
        "redis" | "rediss" => check_authority(rest)?,
        "unix" | "redis+unix" => check_path(rest)?,
        _ => return Err(Mistake::new("unknown scheme of the URL").help(URL_HELP)),
    }
    Ok(Secret::new(url.to_owned()))
}

fn check_path(rest: &str) -> Result<(), Mistake> {
    check_fragment(rest)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.len() <= 1 || !path.starts_with('/') {
        return Err(Mistake::new("the URL has no absolute path").help(URL_HELP));
    }
    let database = query.split('&').find_map(|pair| pair.strip_prefix("db="));
    if database.is_some_and(|number| number.parse::<u16>().is_err()) {
        return Err(Mistake::new("the URL's `db` is not a database number")
            .help("as in `unix:///PATH?db=0`"));
    }
    Ok(())
}

/// Refuses a `#`: behind it nothing counts, but for the one word that would switch the check of the
/// certificate off.
fn check_fragment(rest: &str) -> Result<(), Mistake> {
    match rest.split_once('#') {
        None => Ok(()),
        Some((_, "insecure")) => Err(Mistake::new(
            "`#insecure` is refused: the gateway always verifies the certificate of Redis",
        )
        .help("name the authority that signed it: `ca` in `[store.tls]`")),
        Some(_) => Err(Mistake::new("the URL ends at its `#`").help("write it as `%23`")),
    }
}

fn check_authority(rest: &str) -> Result<(), Mistake> {
    let (user, after_user) = rest.rsplit_once('@').unwrap_or(("", rest));
    if user.contains(['/', '?', '#']) {
        return Err(Mistake::new("the URL's user and password hold no plain `/`, `?` or `#`")
            .help("write them as `%2F`, `%3F` and `%23`"));
    }
    check_fragment(after_user)?;
    let authority = after_user.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) if address.parse::<Ipv6Addr>().is_ok() => (address, after),
        _ => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(host_char) {
        return Err(Mistake::new("the URL has no valid host").help(URL_HELP));
    }
    let database = after_user.split('?').next().and_then(|url| url.split_once('/'));
    if database.is_some_and(|(_, number)| !number.is_empty() && number.parse::<u16>().is_err()) {
        return Err(Mistake::new("the URL's path is not a database number")
            .help("as in `redis://HOST:PORT/0`"));
    }
    let number = port.strip_prefix(':').map(|port| port.parse::<u16>().is_ok_and(|n| n != 0));
    if port.is_empty() || number == Some(true) {
        return Ok(());
    }
    Err(Mistake::new("the URL has no valid port").help(URL_HELP))
}
