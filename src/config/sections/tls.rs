//! `[tls]`: reads the files that it names, so that `check` finds what is wrong with them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::server;
use crate::config::diagnostic::{Mistake, Span};
use crate::config::file::{Files, KEYS_MAX, Kind, readable_by_all};
use crate::config::https::{Authorities, Https, Pair, Place};
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::limit::SystemClock;

/// Most certificates: a name of each is a label of a metric.
const CERTIFICATES_MAX: usize = 64;
/// Two years: what browsers keep a host in their lists for.
const HSTS_MAX: Duration = Duration::from_secs(730 * 24 * 3600);
const CERTIFICATE: Kind =
    Kind { name: "a PEM file", example: "/etc/sluicegate/example.org.pem", size_max: KEYS_MAX };
const CA_HELP: &str = "a PEM file with `-----BEGIN CERTIFICATE-----`";

/// `others` are the addresses of the other listeners. Gives also whether clients are asked for a
/// certificate, be it that what they are asked for is a mistake.
pub(super) fn tls(mut section: Section<'_>, others: &[SocketAddr]) -> (Https, bool) {
    if !section.is_there() {
        section.finish();
        return (Https::default(), false);
    }
    section.require("listen", "[\"0.0.0.0:8443\"]");
    let listen = listen(&mut section, others);
    let pairs = pairs(&mut section);
    let files = section.reader().files();
    let clients = section.parsed("client_ca", |text| authorities(files, text));
    let words = [("required", true), ("optional", false)];
    let required = section.word("client_certificate", &words);
    let asks_clients = section.has("client_ca");
    needs(&section, "client_certificate", "client_ca");
    let hsts = section.duration("hsts", Duration::ZERO..=HSTS_MAX);
    let redirect = section.boolean("redirect").unwrap_or(false);
    let port = section.integer("redirect_port", 1..=u64::from(u16::MAX));
    if !redirect && section.has("redirect_port") {
        let mistake = Mistake::new("`redirect_port` is of no use: nothing is redirected");
        section.error(&section.key_span("redirect_port"), mistake.help("add `redirect = true`"));
    }
    section.finish();
    let https = Https {
        listen,
        pairs,
        clients: clients.map(Arc::new),
        clients_required: required.unwrap_or(true),
        hsts,
        redirect,
        redirect_port: port.and_then(|port| u16::try_from(port).ok()),
    };
    (https, asks_clients)
}

fn listen(section: &mut Section<'_>, others: &[SocketAddr]) -> Vec<SocketAddr> {
    let list = section.list("listen", 1..=server::LISTEN_MAX, server::address);
    let Some(list) = list else { return Vec::new() };
    let mut seen = HashSet::new();
    for (span, address) in list.items.iter().filter(|(_, address)| address.port() != 0) {
        if others.contains(address) {
            let mistake = Mistake::new("another listener has this address: one speaks TLS")
                .help("give `listen` in `[tls]` addresses of its own");
            section.error(span, mistake);
        } else if !seen.insert(*address) {
            section.error(span, Mistake::new("this address is listed twice").help("remove one"));
        }
    }
    list.into_values()
}

fn pairs(section: &mut Section<'_>) -> Vec<Arc<Pair>> {
    let tables = section.tables("certificates", CERTIFICATES_MAX);
    if tables.as_ref().is_some_and(Vec::is_empty) {
        let mistake = Mistake::new("`[tls]` has no certificate: nothing can be shown to clients");
        let help = "add `[[tls.certificates]]` with `certificate` and `key`";
        section.error(&section.span_of("certificates"), mistake.help(help));
    }
    tables.into_iter().flatten().filter_map(pair).map(Arc::new).collect()
}

fn pair(mut section: Section<'_>) -> Option<Pair> {
    section.require("certificate", "\"/etc/sluicegate/example.org.pem\"");
    section.require("key", "\"/etc/sluicegate/example.org.key\"");
    let files = section.reader().files();
    let read = |text: &Text| {
        Ok((PathBuf::from(&text.value), text.shown(), files.keep(text, &CERTIFICATE)?))
    };
    let certificate = section.parsed("certificate", read);
    let key = section.parsed("key", read);
    let (certificate_at, key_at) = (section.span_of("certificate"), section.span_of("key"));
    let reader = section.reader();
    section.finish();
    let ((certificate, certificate_shown, chain), (key, key_shown, secret)) =
        certificate.zip(key)?;
    if let Some(doubt) = readable_by_all(&key, &key_shown) {
        reader.warn(&key_at, doubt);
    }
    match Pair::of(Place { certificate, key }, &chain, &secret) {
        Ok(pair) => {
            doubt(&pair, &certificate_shown, &|mistake| reader.warn(&certificate_at, mistake));
            Some(pair)
        }
        Err(fault) => {
            let (span, shown): (&Span, _) = if fault.is_of_key() {
                (&key_at, key_shown)
            } else {
                (&certificate_at, certificate_shown)
            };
            let mistake = Mistake::new(format!("{fault}: {shown}")).help(fault.help());
            reader.error(span, mistake);
            None
        }
    }
}

/// What a client will not like about a certificate.
fn doubt(pair: &Pair, shown: &str, warn: &dyn Fn(Mistake)) {
    let now = i64::try_from(SystemClock::wall().as_micros() / 1_000_000).unwrap_or(i64::MAX);
    if pair.ends() < now {
        let message = format!("this certificate has expired: {shown}");
        warn(Mistake::new(message).help("clients refuse it: renew it"));
    } else if pair.begins() > now {
        let message = format!("this certificate is not valid yet: {shown}");
        warn(Mistake::new(message).help("clients refuse it until then: is the clock right?"));
    }
    if pair.names().is_empty() {
        let message = format!("this certificate names no host: {shown}");
        warn(Mistake::new(message).help("clients look for theirs in `subjectAltName`"));
    }
}

fn authorities(files: &Files, text: &Text) -> Result<Authorities, Mistake> {
    let contents = files.keep(text, &CERTIFICATE)?;
    Authorities::of(PathBuf::from(&text.value), contents)
        .map_err(|fault| Mistake::new(format!("{fault}: {}", text.shown())).help(CA_HELP))
}

/// Reports `key` where `other`, without which it says nothing, is absent.
fn needs(section: &Section<'_>, key: &str, other: &str) {
    if section.has(key) && !section.has(other) {
        let mistake = Mistake::new(format!("`{key}` is of no use without `{other}`"));
        section.error(&section.key_span(key), mistake.help(format!("add `{other}`")));
    }
}
