//! `url` of `[store]`. No message quotes any of it.

use std::net::Ipv6Addr;

use crate::config::Secret;
use crate::config::diagnostic::Mistake;
use crate::config::value::Text;

const HELP: &str = "as in `redis://HOST:PORT`, `rediss://HOST:PORT` or `unix:///PATH`";

/// A URL of the store.
pub(super) struct Url {
    pub(super) secret: Secret,
    /// `None`: a socket of this machine.
    pub(super) authority: Option<Authority>,
}

/// What it names on the network.
pub(super) struct Authority {
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) has_port: bool,
    pub(super) database: u16,
}

// === impl Url ===

impl Url {
    /// Checks scheme and place.
    pub(super) fn parse(text: &Text) -> Result<Self, Mistake> {
        let url = text.value.as_str();
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(Mistake::new("the URL has no scheme").help(HELP));
        };
        let authority = match scheme {
            "redis" | "rediss" => Some(authority(rest)?),
            "unix" | "redis+unix" => {
                check_path(rest)?;
                None
            }
            _ => return Err(Mistake::new("unknown scheme of the URL").help(HELP)),
        };
        Ok(Self { secret: Secret::new(url.to_owned()), authority })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.secret.expose().starts_with("rediss://")
    }
}

fn check_path(rest: &str) -> Result<(), Mistake> {
    check_fragment(rest)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.len() <= 1 || !path.starts_with('/') {
        return Err(Mistake::new("the URL has no absolute path").help(HELP));
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

fn authority(rest: &str) -> Result<Authority, Mistake> {
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
        return Err(Mistake::new("the URL has no valid host").help(HELP));
    }
    let database = after_user.split('?').next().and_then(|url| url.split_once('/'));
    let database = database.map(|(_, number)| number).filter(|number| !number.is_empty());
    let Ok(database) = database.unwrap_or("0").parse::<u16>() else {
        return Err(Mistake::new("the URL's path is not a database number")
            .help("as in `redis://HOST:PORT/0`"));
    };
    let number = port.strip_prefix(':').map(|port| port.parse::<u16>().is_ok_and(|n| n != 0));
    if port.is_empty() || number == Some(true) {
        return Ok(Authority { host: host.to_owned(), has_port: number.is_some(), database });
    }
    Err(Mistake::new("the URL has no valid port").help(HELP))
}
