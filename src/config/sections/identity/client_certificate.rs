//! `[identity.client_certificate]`.

use crate::config::diagnostic::Mistake;
use crate::config::reader::Section;
use crate::identity::certificate::{ByCertificate, Name};

/// `asks_clients`: whether anybody is asked for a certificate.
pub(super) fn client_certificate(
    mut section: Section<'_>,
    asks_clients: bool,
) -> Option<ByCertificate> {
    section.require("user", "\"subject_cn\"");
    let user = section.word("user", &Name::WORDS);
    if !asks_clients {
        let mistake = Mistake::new("no client is asked for a certificate")
            .help("name who vouches for clients: `client_ca` in `[tls]`");
        section.error(section.span(), mistake);
    }
    section.finish();
    Some(ByCertificate { user: user? })
}
