//! `[identity.jwt]`. No message quotes anything of a key.

use std::time::Duration;

use super::key::{claim_path, template};
use super::place::{self, Headers, plain_name};
use crate::config::diagnostic::{Mistake, Span};
use crate::config::file::{KEYS_MAX, Kind, readable_by_all};
use crate::config::reader::Section;
use crate::config::value::{Text, listed};
use crate::identity::claim::ClaimPath;
use crate::identity::credential::Place;
use crate::identity::jwt::{
    Algorithm, Claims, Family, Key, KeyFault, KeySetFault, Keys, SECRET_MIN, Tokens, Verifier,
};

const LEEWAY_MAX: Duration = Duration::from_secs(300);
const KEYS: [&str; 3] = ["key", "key_file", "jwks_file"];
const PEM: Kind =
    Kind { name: "a file with a key", example: "/etc/sluicegate/jwt.pem", size_max: KEYS_MAX };
const JWKS: Kind =
    Kind { name: "a file with keys", example: "/etc/sluicegate/jwks.json", size_max: KEYS_MAX };
const PEM_HELP: &str = "a PEM file with `-----BEGIN PUBLIC KEY-----`";

pub(super) fn jwt(mut section: Section<'_>, alone: bool, headers: &mut Headers) -> Option<Tokens> {
    let algorithms = algorithms(&mut section);
    let keys = keys(&mut section, algorithms.as_deref());
    let places = places(&mut section, headers);
    let revocation =
        section.parsed("revocation", |text| template(text, "jti", "auth:blacklist:{jti}"));
    if alone && section.has("revocation") {
        let mistake = Mistake::new("there is no Redis to ask: `store.kind` is `local`")
            .help("set `store.kind` to `redis`, or leave `revocation` out");
        section.error(&section.span_of("revocation"), mistake);
    }
    let user = match section.parsed("user", claim_path) {
        None if !section.has("user") => ClaimPath::parse("sub"),
        user => user,
    };
    let claims = Claims {
        issuer: section.parsed("issuer", nonempty),
        audience: section.parsed("audience", nonempty),
        tier: section.parsed("tier", claim_path),
        leeway: section
            .duration("leeway", Duration::ZERO..=LEEWAY_MAX)
            .unwrap_or(Duration::ZERO)
            .into(),
        require_exp: section.boolean("require_exp").unwrap_or(true),
        user: user?,
    };
    section.finish();
    Some(Tokens { places, verifier: Verifier::new(keys?, claims), revocation })
}

fn nonempty(text: &Text) -> Result<String, Mistake> {
    let empty = || Mistake::new("an empty string says nothing").help("leave the key out");
    if text.value.is_empty() { Err(empty()) } else { Ok(text.value.clone()) }
}

/// The header unless only a cookie is named.
fn places(section: &mut Section<'_>, headers: &mut Headers) -> Vec<Place> {
    let header = headers.of_credential(section, place::JWT);
    let cookie = section.parsed("cookie", plain_name).map(Place::Cookie);
    if section.has("header") || section.has("cookie") {
        return header.into_iter().chain(cookie).collect();
    }
    vec![headers.by_default(section, place::JWT)]
}

/// The algorithms, which must take the same kind of key: else a token could choose the kind.
fn algorithms(section: &mut Section<'_>) -> Option<Vec<Algorithm>> {
    section.require("algorithms", "[\"RS256\"]");
    let known = Algorithm::ALL.map(|(name, _)| name);
    let list = section.list("algorithms", 1..=known.len(), |text| {
        Algorithm::parse(&text.value).ok_or_else(|| {
            Mistake::new(format!("not an algorithm: {}", text.shown()))
                .help(format!("one of {}", listed(known)))
        })
    })?;
    let family = list.items.first()?.1.family();
    for (span, algorithm) in &list.items {
        if algorithm.family() != family {
            let mistake = Mistake::new("this algorithm takes another kind of key than the first")
                .help("algorithms of one kind: HS, RS with PS, ES, or EdDSA");
            section.error(span, mistake);
            return None;
        }
    }
    let algorithms = list.into_values();
    (!algorithms.is_empty()).then_some(algorithms)
}

/// The keys, which are given in exactly one way.
fn keys(section: &mut Section<'_>, algorithms: Option<&[Algorithm]>) -> Option<Keys> {
    let texts = KEYS.map(|key| Some((key, section.key_span(key), section.text(key)?)));
    let none = "`[identity.jwt]` has no key to verify tokens with";
    if !section.one_of(&KEYS, none, "keys are given in one way") {
        return None;
    }
    let (name, span, text) = texts.into_iter().flatten().next()?;
    let algorithms = algorithms?;
    let (read, place): (Result<Keys, Mistake>, &Span) = match name {
        // The line is masked, but what is underlined in it need not be the secret.
        "key" => (secret(&text, algorithms), &span),
        "key_file" => (key_file(section, &text, algorithms), &text.span),
        _ => (jwks_file(section, &text, algorithms), &text.span),
    };
    read.map_err(|mistake| section.error(place, mistake)).ok()
}

fn takes_secret(algorithms: &[Algorithm]) -> bool {
    algorithms.iter().any(|algorithm| algorithm.family() == Family::Secret)
}

fn secret(text: &Text, algorithms: &[Algorithm]) -> Result<Keys, Mistake> {
    if !takes_secret(algorithms) {
        return Err(Mistake::new("`key` is a secret, and these algorithms take a public key")
            .help("name the file of the public key: `key_file` or `jwks_file`"));
    }
    one(Key::secret(text.value.as_bytes(), algorithms), text)
}

fn key_file(section: &Section<'_>, text: &Text, algorithms: &[Algorithm]) -> Result<Keys, Mistake> {
    let contents = section.reader().files().watch(text, &PEM)?;
    if !takes_secret(algorithms) {
        return one(Key::pem(&contents, algorithms), text);
    }
    if contents.starts_with(b"-----BEGIN") {
        let what = "a PEM file is no secret: who has the public key could sign tokens with it";
        return Err(Mistake::new(what).help("RS, PS, ES or EdDSA in `algorithms`, for such a key"));
    }
    if let Some(doubt) = readable_by_all(text.value.as_ref(), &text.shown()) {
        section.reader().warn(&text.span, doubt);
    }
    let secret = contents.strip_suffix(b"\n").unwrap_or(&contents);
    one(Key::secret(secret.strip_suffix(b"\r").unwrap_or(secret), algorithms), text)
}

fn jwks_file(
    section: &Section<'_>,
    text: &Text,
    algorithms: &[Algorithm],
) -> Result<Keys, Mistake> {
    let contents = section.reader().files().watch(text, &JWKS)?;
    let shown = text.shown();
    Keys::set(&contents, algorithms).map_err(|fault| match fault {
        KeySetFault::NoSet => Mistake::new(format!("not a set of keys (JWKS): {shown}"))
            .help("a JSON object with a list: `{\"keys\": [...]}`"),
        KeySetFault::TooMany => Mistake::new(format!("more than 64 keys: {shown}")),
        KeySetFault::Private => Mistake::new(format!("a private key in {shown}"))
            .help("publish the set without `d`: whoever reads it can sign tokens"),
        KeySetFault::Twice(_) => Mistake::new(format!("two keys of one `kid` in {shown}"))
            .help("each key has a name of its own, or a token names two"),
        KeySetFault::NoneUsable => {
            Mistake::new(format!("no key for these `algorithms` in {shown}"))
                .help("its `kty`, `crv`, `alg` and `use` must fit; RSA has 2048 bits at least")
        }
    })
}

fn one(key: Result<Key, KeyFault>, text: &Text) -> Result<Keys, Mistake> {
    let shown = text.shown();
    key.map(Keys::one).map_err(|fault| match fault {
        KeyFault::ShortSecret => {
            Mistake::new(format!("the secret has less than {SECRET_MIN} bytes"))
                .help("as from `openssl rand -base64 48`")
        }
        KeyFault::Private => Mistake::new(format!("a private key in {shown}"))
            .help(format!("the public key is enough: {PEM_HELP}")),
        KeyFault::Certificate => Mistake::new(format!("a certificate in {shown}"))
            .help(format!("take the key out of it: {PEM_HELP}")),
        KeyFault::NoKey => Mistake::new(format!("no public key in {shown}")).help(PEM_HELP),
        KeyFault::Unfit => {
            Mistake::new(format!("a key of another kind than `algorithms` take: {shown}"))
                .help("ES256 takes P-256, ES384 P-384, EdDSA Ed25519, RS and PS take RSA")
        }
        KeyFault::Size => Mistake::new(format!("an RSA key of an unusable size: {shown}"))
            .help("2048 to 8192 bits"),
    })
}
