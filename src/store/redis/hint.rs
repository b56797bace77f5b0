//! What to change, where the words of Redis or of TLS alone do not say it.

use std::borrow::Cow;
use std::error::Error as _;
use std::io;
use std::sync::Arc;

use redis::RedisError;
use rustls::{AlertDescription, CertificateError, Error};

use super::scripts::{self, Script};

/// What Redis 7.0 says of a script that its user may not run to the end; not which command it was.
const DENIED: &str = "user executing the script can't run this command";
/// What a single Redis says to CLUSTER.
const NO_CLUSTER: &str = "cluster support disabled";
/// What stands before the number of the script's line.
const LINE: &str = "@user_script:";

/// The way out of `error`, if there is more to say of it than it says itself. It holds nothing that
/// the configuration says.
pub(super) fn hint(error: &RedisError) -> Option<Cow<'static, str>> {
    match tls_error(error) {
        Some(error) => Some(of_tls(error).into()),
        None => of_reply(&error.to_string()),
    }
}

fn of_reply(error: &str) -> Option<Cow<'static, str>> {
    if error.contains(NO_CLUSTER) {
        return Some("this Redis is no cluster: set `store.topology` to \"single\"".into());
    }
    missing_right(error, &scripts::ALL)
}

/// Names the command that a user may not call, from the line at which one of `scripts` was stopped.
fn missing_right(error: &str, scripts: &[&Script]) -> Option<Cow<'static, str>> {
    if !error.contains(DENIED) {
        return None;
    }
    let script = scripts.iter().find(|script| error.contains(script.hash()))?;
    let (_, place) = error.split_once(LINE)?;
    let number = place.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()?;
    let line = script.source().lines().nth(number.checked_sub(1)?)?;
    let (_, called) = line.split_once("call('").or_else(|| line.split_once("call(\""))?;
    let command = called.split(['\'', '"']).next()?.to_ascii_lowercase();
    Some(format!("the user of Redis may not run '{command}': see docs/operating.md").into())
}

fn of_tls(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(reason) => of_certificate(reason),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "Redis wants a client certificate: see `certificate` in `[store.tls]`"
        }
        Error::AlertReceived(_) => {
            "Redis refuses TLS with this gateway: see `certificate` in `[store.tls]`"
        }
        Error::InvalidMessage(_) => "what listens there does not speak TLS: see `store.url`",
        _ => "TLS failed",
    }
}

fn of_certificate(reason: &CertificateError) -> &'static str {
    use CertificateError as E;
    match reason {
        E::UnknownIssuer | E::BadSignature => {
            "the certificate of Redis is not from an authority that is trusted: see `ca` in \
             `[store.tls]`"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "the certificate of Redis is for another host than that in `store.url`"
        }
        E::Expired | E::ExpiredContext { .. } => "the certificate of Redis has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the certificate of Redis is not valid yet: see the clock of this machine"
        }
        _ => "the certificate of Redis cannot be accepted",
    }
}

/// What rustls said, below the layers around it.
fn tls_error(error: &RedisError) -> Option<&Error> {
    let outer = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    outer.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Error>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: Error) -> RedisError {
        RedisError::from(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn a_failed_handshake_says_what_to_change() {
        let said = |error| hint(&failed(error)).expect("a hint").into_owned();
        let unknown = said(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(unknown.contains("`ca` in `[store.tls]`"), "{unknown}");
        let expired = said(Error::InvalidCertificate(CertificateError::Expired));
        assert!(expired.contains("expired"), "{expired}");
        let wanted = said(Error::AlertReceived(AlertDescription::CertificateRequired));
        assert!(wanted.contains("client certificate"), "{wanted}");
        let plain = said(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
        assert!(plain.contains("does not speak TLS"), "{plain}");
    }

    #[test]
    fn a_denied_script_says_which_command() {
        let script = Script::new("-- a comment\nlocal now = call('TIME')\nreturn now\n");
        let (hash, scripts) = (script.hash(), [&script]);
        let error = |hash: &str, line| format!("The {DENIED} script: {hash}, on {LINE}{line}.");
        let said = missing_right(&error(hash, 2), &scripts).expect("a hint");
        assert!(said.contains("may not run 'time'"), "{said}");
        assert_eq!(missing_right(&error(hash, 3), &scripts), None, "nothing is called there");
        assert_eq!(missing_right(&error(hash, 9), &scripts), None, "no such line");
        assert_eq!(missing_right(&error("another", 2), &scripts), None, "another script");
    }

    #[test]
    fn other_errors_speak_for_themselves() {
        let reset = RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(hint(&reset), None);
        let busy = RedisError::from((redis::ErrorKind::Client, "busy"));
        assert_eq!(hint(&busy), None);
    }
}
