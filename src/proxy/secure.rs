//! What is known of the TLS of a request's connection, and what is promised to come with it.

use std::sync::Arc;

use http::header::STRICT_TRANSPORT_SECURITY;
use pingora_core::protocols::tls::SslDigest;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::State;
use crate::identity::certificate::ClientCertificate;

/// Whether the request came over TLS to this gateway.
pub(super) fn is_secure(session: &Session) -> bool {
    digest(session).is_some()
}

/// The certificate that the client has shown, if it has shown one.
pub(super) fn certificate(session: &Session) -> Option<Arc<ClientCertificate>> {
    digest(session)?.extension.get::<Arc<ClientCertificate>>().cloned()
}

/// Tells browsers to come back with TLS alone. What the application says of that itself stays;
/// without TLS nothing is said: nobody could believe it (RFC 6797, section 7.2).
pub(super) fn promise(head: &mut ResponseHeader, session: &Session, state: &State) -> Result<()> {
    let Some(value) = state.hsts.as_ref().filter(|_| is_secure(session)) else { return Ok(()) };
    if head.headers.contains_key(STRICT_TRANSPORT_SECURITY) {
        return Ok(());
    }
    head.insert_header(STRICT_TRANSPORT_SECURITY, value.as_str())
}

fn digest(session: &Session) -> Option<&SslDigest> {
    session.as_downstream().digest()?.ssl_digest.as_deref()
}
