//! What an upstream speaks, and with TLS how both sides prove who they are. There is no key that
//! leaves the proof out.

use rustls::pki_types::ServerName;

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::config::sections::store::tls;
use crate::config::value::{List, Text};
use crate::config::{Protocol, ServerAddress, Tls, UpstreamServer, UpstreamTls};

/// What only TLS has a use for.
const KEYS: [&str; 3] = ["server_name", "ca", "client_certificate"];

/// What the servers of an upstream speak.
pub(super) struct Spoken {
    pub(super) protocol: Protocol,
    pub(super) tls: Option<UpstreamTls>,
}

pub(super) fn spoken(section: &mut Section<'_>, servers: Option<&List<UpstreamServer>>) -> Spoken {
    // Each with whether it goes over TLS, where that is not to be chosen.
    let h2 = |tls| (Protocol::H2, Some(tls));
    let protocols = [("h1", (Protocol::H1, None)), ("h2", h2(true)), ("h2c", h2(false))];
    let written = section.word("protocol", &protocols);
    let (protocol, settled) = written.unwrap_or((Protocol::H1, None));
    let wanted = section.boolean("tls");
    // A mistake in one of these says nothing of what goes with it.
    let clear =
        section.has("protocol") == written.is_some() && section.has("tls") == wanted.is_some();
    if let Some((wanted, settled)) = wanted.zip(settled).filter(|(one, other)| one != other) {
        section.error(&section.span_of("tls"), contradiction(wanted, settled));
    }
    let by_tls = settled.or(wanted).unwrap_or(false);
    let server_name = section.parsed("server_name", server_name);
    let ca = tls::ca(section);
    let mut own = section.table("client_certificate");
    if own.is_there() && !own.has("certificate") && !own.has("key") {
        own.require("certificate", "\"/etc/sluicegate/client.pem\"");
    }
    let client = tls::own(&mut own);
    own.finish();
    if by_tls {
        if !section.has("server_name") {
            nameable(section, servers);
        }
    } else if clear {
        useless(section);
    }
    let tls = by_tls.then_some(UpstreamTls { server_name, trust: Tls { ca, client } });
    Spoken { protocol, tls }
}

fn contradiction(wanted: bool, settled: bool) -> Mistake {
    match (wanted, settled) {
        (false, true) => Mistake::new("`h2` always goes over TLS")
            .help("leave `tls` out, or set `protocol` to `h2c`: HTTP/2 without TLS"),
        _ => Mistake::new("`h2c` is HTTP/2 without TLS")
            .help("leave `tls` out, or set `protocol` to `h2`: HTTP/2 over TLS"),
    }
}

fn server_name(text: &Text) -> Result<String, Mistake> {
    if ServerName::try_from(text.value.as_str()).is_ok() {
        return Ok(text.value.clone());
    }
    let mistake = Mistake::new(format!("not the name of a server: {}", text.shown()));
    Err(mistake.help("what its certificate is for, as in `app.internal` or `10.0.0.7`"))
}

/// Records a mistake for each server that has no host which a certificate could be for.
fn nameable(section: &Section<'_>, servers: Option<&List<UpstreamServer>>) {
    for (span, server) in servers.into_iter().flat_map(|servers| &servers.items) {
        let address = &server.address;
        let host = match address {
            ServerAddress::Tcp { host, .. } => host.as_str(),
            ServerAddress::Unix(_) => "",
        };
        if ServerName::try_from(host).is_err() {
            let message = format!("a certificate cannot be for the host of `{address}`");
            let help = "say what it is for, as in `server_name = \"app.internal\"`";
            section.error(span, Mistake::new(message).help(help));
        }
    }
}

fn useless(section: &Section<'_>) {
    for key in KEYS.into_iter().filter(|key| section.has(key)) {
        let mistake = Mistake::new(format!("`{key}` is of no use: the servers do without TLS"))
            .help("add `tls = true`, or set `protocol` to `h2`");
        section.error(&section.key_span(key), mistake);
    }
}
