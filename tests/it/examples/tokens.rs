//! Tokens, and the examples that take them: the small social network and the API gateway.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ADDRESSES, Example, Person, SECRET};
use crate::support::app::App;

/// What a token says of a user for an hour.
pub(crate) fn claims(user: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({"sub": user, "exp": now + 3_600, "jti": format!("token-of-{user}")})
}

/// A token signed with the examples' secret.
pub(crate) fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

fn bearer<'a>(person: Person<'a>, token: &str) -> Person<'a> {
    person.with("authorization", format!("Bearer {token}"))
}

#[test]
fn a_small_social_network() {
    let example = Example::start("small-social-network", &[("JWT_SECRET", SECRET)]);
    for user in ["ann", "ben"] {
        example.redis.command::<()>(&["SET", &format!("session:{user}"), "{\"theme\":\"dark\"}"]);
    }
    let post = |path, person: &Person<'_>, quota| example.drive(person, &Method::POST, path, quota);
    for user in ["ann", "ben"] {
        // From two addresses: the user counts.
        let [here, there] = ADDRESSES.map(|at| bearer(Person::at(at), &signed(&claims(user))));
        let refusal = post("/api/posts", &here, 10);
        assert_eq!(example.seen("x-user-id").as_deref(), Some(user));
        assert!(refusal.text().unwrap().contains("Take a breath"));
        assert_eq!(example.ask(&there, &Method::POST, "/api/posts").status(), 429);
        // Each endpoint has a count of its own, over all posts.
        post("/api/posts/1/comments", &there, 10);
        assert_eq!(example.ask(&here, &Method::POST, "/api/posts/2/comments").status(), 429);
        post("/api/posts/1/like", &here, 10);
        assert_eq!(example.ask(&here, &Method::GET, "/api/posts").status(), 200, "reading is free");
    }
    // Who is not signed in counts by address; so does who was: signed out, or without a session.
    let [here, there] = ADDRESSES;
    let nobody = Person::at(here).with("x-user-id", "eve");
    post("/api/posts", &nobody, 10);
    assert_eq!(example.seen("x-user-id"), None, "nobody forges it");
    post("/api/posts", &Person::at(there), 10);
    example.redis.command::<()>(&["SET", "auth:blacklist:token-of-cat", "1"]);
    example.redis.command::<()>(&["SET", "session:cat", "{}"]);
    for user in ["cat", "dan"] {
        let was = bearer(Person::at(here), &signed(&claims(user)));
        assert_eq!(example.ask(&was, &Method::POST, "/api/posts").status(), 429, "{user}");
    }
}

/// The public half of the tests' RSA key as a set of keys, as an identity provider publishes it.
fn key_set() -> Value {
    let public = include_str!("../identity/test_only_rsa_public.pem");
    let body: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).expect("a key");
    // Its last parts are the modulus, 2048 bits behind a zero, and the exponent 65537.
    let (head, exponent) = der.split_at(der.len() - 3);
    let modulus = &head[head.len() - 2 - 256..head.len() - 2];
    assert_eq!((exponent, &head[head.len() - 2..]), ([1, 0, 1].as_slice(), [2, 3].as_slice()));
    let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
    json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": n, "e": e}]})
}

#[test]
fn the_gateway_of_a_system_of_services() {
    let file = std::env::temp_dir().join(format!("sluicegate-jwks-{}", std::process::id()));
    fs::write(&file, key_set().to_string()).expect("the keys");
    let (orders, catalogue) = (App::start(), App::start());
    let [at_orders, at_catalogue] = [&orders, &catalogue].map(|app| app.address().to_string());
    let variables = [
        ("JWKS", file.to_str().expect("text")),
        ("ORDERS", at_orders.as_str()),
        ("CATALOGUE", at_catalogue.as_str()),
    ];
    let example = Example::start("api-gateway", &variables);
    let token = |user: &str| {
        let mut claims = claims(user);
        claims["iss"] = json!("https://id.example.org");
        claims["aud"] = json!(["api", "other"]);
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("one".to_owned());
        let key = include_bytes!("../identity/test_only_rsa_private.pem");
        let key = EncodingKey::from_rsa_pem(key).expect("the key of the tests");
        encode(&header, &claims, &key).expect("a token")
    };
    let denied_by = |person: &Person<'_>, path: &str| {
        // A bucket fills again while it is emptied: the edge is where the first is refused.
        for passed in 0..=120 {
            let answer = example.ask(person, &Method::GET, path);
            if answer.status() == 429 {
                let body: Value = serde_json::from_str(&answer.text().unwrap()).expect("JSON");
                return (passed, body["violated-policies"][0].as_str().unwrap().to_owned());
            }
        }
        panic!("nobody is refused");
    };
    let mut passed = Vec::new();
    for (address, user) in ADDRESSES.into_iter().zip(["ann", "ben"]) {
        let (visits, policy) = denied_by(&Person::at(address), "/things");
        assert_eq!(policy, "visitor");
        assert!((10..30).contains(&visits), "{visits}");
        passed.push(visits);
        let member = bearer(Person::at(address), &token(user));
        let (visits, policy) = denied_by(&member, "/orders/7");
        // 50 at once of 5 a second, or what is left of the address' 100.
        assert!(
            visits >= 50 && ["member", "address"].contains(&policy.as_str()),
            "{visits} {policy}"
        );
        passed.push(visits);
        assert_eq!(orders.seen().last().expect("a request").header("x-user-id"), Some(user));
    }
    assert!(!orders.seen().is_empty() && !catalogue.seen().is_empty());
    // One address has 100 a minute, whoever asks from there.
    let (rest, policy) = denied_by(&bearer(Person::at(ADDRESSES[0]), &token("cat")), "/things");
    assert_eq!((policy.as_str(), passed[0] + passed[1] + rest), ("address", 100));
    fs::remove_file(&file).expect("the keys");
}
