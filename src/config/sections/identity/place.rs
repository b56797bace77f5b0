//! Where clients present credentials and where users are named: which headers are no such place,
//! and that each has one role.

use http::HeaderName;

use crate::client::ADDRESS_CLAIMS;
use crate::config::diagnostic::{Mistake, Span};
use crate::config::reader::Section;
use crate::config::value::Text;
use crate::identity::credential::Place;

/// Headers that belong to the connection or frame the message, or that the gateway reads or writes
/// itself: neither a user nor a credential can stand there.
const NEVER: [&str; 15] = [
    "connection",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];
/// And what their names begin with.
const NEVER_BEGINS: [&str; 2] = ["content-", "proxy-"];
/// Headers that mean something else, and that clients, servers or the gateway set: no user can
/// stand there. To take one off or to set it would change every request.
const NO_USER: [&str; 14] = [
    "authorization",
    "cache-control",
    "date",
    "from",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "server",
    "user-agent",
    "vary",
    "www-authenticate",
];
/// And what their names begin with.
const NO_USER_BEGINS: [&str; 7] =
    ["accept", "access-control-", "grpc-", "if-", "ratelimit", "sec-", "x-ratelimit-"];
const AUTHORIZATION: &str = "authorization";

/// Pairs of roles that may share a header: what a trusted proxy says is then replaced by what was
/// verified, under the same name.
const SHARED: [[&str; 2]; 2] = [[USER, USER_HEADER], [TIER, TIER_HEADER]];
pub(super) const USER: &str = "`user` of `[identity.header]`";
pub(super) const TIER: &str = "`tier` of `[identity.header]`";
pub(super) const USER_HEADER: &str = "`user_header`";
pub(super) const TIER_HEADER: &str = "`tier_header`";
pub(super) const JWT: &str = "`header` of `[identity.jwt]`";
pub(super) const SESSION: &str = "`header` of `[identity.session]`";
pub(super) const API_KEY: &str = "`header` of `[identity.api_key]`";

/// The headers of all sections of `[identity]`, with what each is for.
#[derive(Default)]
pub(super) struct Headers {
    taken: Vec<Taken>,
}

/// A header in one role.
struct Taken {
    name: String,
    role: &'static str,
    /// Where it is written; that of the section for a default.
    span: Span,
}

// === impl Headers ===

impl Headers {
    /// The header `key`, which names a user or a tier.
    pub(super) fn of_user(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        role: &'static str,
    ) -> Option<String> {
        let name = section.parsed(key, user_name)?;
        self.take(name.clone(), role, section.span_of(key));
        Some(name)
    }

    /// The header `header`, in which a credential is presented.
    pub(super) fn of_credential(
        &mut self,
        section: &mut Section<'_>,
        role: &'static str,
    ) -> Option<Place> {
        let name = section.parsed("header", |text| credential_name(text, role))?;
        self.take(name.clone(), role, section.span_of("header"));
        Some(Place::Header(name))
    }

    /// `Authorization`, where no header is given.
    pub(super) fn by_default(&mut self, section: &Section<'_>, role: &'static str) -> Place {
        self.take(AUTHORIZATION.to_owned(), role, section.span().clone());
        Place::Header(AUTHORIZATION.to_owned())
    }

    fn take(&mut self, name: String, role: &'static str, span: Span) {
        self.taken.push(Taken { name, role, span });
    }

    /// Reports every header that has more than one role, where it is written last.
    pub(super) fn check(mut self, section: &Section<'_>) {
        self.taken.sort_by_key(|taken| taken.span.start);
        for (at, later) in self.taken.iter().enumerate() {
            let earlier = self.taken.iter().take(at).find(|earlier| earlier.collides(later));
            if let Some(Taken { role, .. }) = earlier {
                let mistake = Mistake::new(format!("this header has another role: {role}"));
                section.error(&later.span, mistake.help("give each a header of its own"));
            }
        }
    }
}

// === impl Taken ===

impl Taken {
    fn collides(&self, other: &Self) -> bool {
        let roles = |[a, b]: &[&str; 2]| {
            (self.role == *a && other.role == *b) || (self.role == *b && other.role == *a)
        };
        let shared = self.name == other.name && SHARED.iter().any(roles);
        plain(&self.name) == plain(&other.name) && !shared
    }
}

/// `x_user` and `x-user` are one header to many an application.
fn plain(name: &str) -> String {
    name.replace('_', "-")
}

pub(in crate::config::sections) fn header_name(text: &Text) -> Result<String, Mistake> {
    HeaderName::try_from(text.value.as_str()).map(|name| name.as_str().to_owned()).map_err(|_| {
        Mistake::new(format!("not the name of a header: {}", text.shown()))
            .help("letters, digits and `-`, as in `x-user-id`")
    })
}

fn user_name(text: &Text) -> Result<String, Mistake> {
    let name = header_name(text)?;
    let plain = plain(&name);
    let begins = NO_USER_BEGINS.iter().any(|start| plain.starts_with(start));
    if is_never(&plain) || begins || NO_USER.contains(&plain.as_str()) {
        let mistake = Mistake::new(format!("this header says something else: {}", text.shown()));
        return Err(mistake.help("a header of its own, as in `x-user-id`"));
    }
    Ok(name)
}

fn credential_name(text: &Text, role: &str) -> Result<String, Mistake> {
    let name = header_name(text)?;
    let plain = plain(&name);
    // What stands there begins with a scheme: it is no session's id.
    if is_never(&plain) || (plain == AUTHORIZATION && role == SESSION) {
        let message = format!("no credential stands in this header: {}", text.shown());
        let help = match (plain.as_str(), role) {
            ("cookie", JWT | SESSION) => "name the cookie: `cookie = \"NAME\"`",
            (_, SESSION) => "a header of its own, as in `x-session`",
            _ => "`authorization`, or a header of its own, as in `x-api-key`",
        };
        return Err(Mistake::new(message).help(help));
    }
    Ok(name)
}

fn is_never(plain: &str) -> bool {
    let begins = NEVER_BEGINS.iter().any(|start| plain.starts_with(start));
    begins || NEVER.contains(&plain) || ADDRESS_CLAIMS.contains(&plain)
}

/// The name of a cookie or a query parameter: nothing that would part it from its value.
pub(super) fn plain_name(text: &Text) -> Result<String, Mistake> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"=;,\"&".contains(&byte);
    if !text.value.is_empty() && text.value.bytes().all(plain) {
        return Ok(text.value.clone());
    }
    Err(Mistake::new(format!("not a name: {}", text.shown()))
        .help("letters, digits, `_`, `-` and `.`, as in `session`"))
}

/// The place of a credential, of which there must be exactly one among `keys`.
pub(super) fn one_place(
    section: &mut Section<'_>,
    keys: [&'static str; 2],
    headers: &mut Headers,
    role: &'static str,
) -> Option<Place> {
    let found = keys.map(|key| match key {
        "cookie" => section.parsed(key, plain_name).map(Place::Cookie),
        "query" => section.parsed(key, plain_name).map(Place::Query),
        _ => headers.of_credential(section, role),
    });
    let none = "nothing says where clients present this";
    let one = section.one_of(&keys, none, "clients present this in one place");
    found.into_iter().flatten().next().filter(|_| one)
}
