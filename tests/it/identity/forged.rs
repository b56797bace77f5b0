//! Everything that passes itself off as somebody, and is nobody.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::scene::{
    API_KEY, Folder, SESSION, Served, ask, bearer, claims, gateway, head, served, serves, sha256,
};
use super::token::{Signer, base64url, now, unsigned};
use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::redis::RedisServer;

/// Where a forgery is tried: with a set of elliptic keys and everything else, or with one RSA key
/// and sessions by user.
#[derive(Clone, Copy)]
enum At {
    Set,
    Pem,
}

/// Whether a request presents a credential, to be refused where forgeries are; or only says
/// something that nobody listens to; or has more than one reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Credential,
    Words,
    Malformed,
}

struct Forgery {
    name: &'static str,
    at: At,
    what: What,
    target: String,
    lines: String,
}

struct Scene {
    app: App,
    redis: RedisServer,
    folder: Folder,
    /// The issuer's keys.
    one: Signer,
    rsa: Signer,
    /// Anybody's.
    own: Signer,
}

/// A forgery at the set that presents a credential.
fn forgery(name: &'static str, lines: impl Into<String>) -> Forgery {
    let target = "/".to_owned();
    Forgery { name, at: At::Set, what: What::Credential, target, lines: lines.into() }
}

impl Forgery {
    fn at_pem(self) -> Self {
        Self { at: At::Pem, ..self }
    }

    fn words(self) -> Self {
        Self { what: What::Words, ..self }
    }

    fn malformed(self) -> Self {
        Self { what: What::Malformed, ..self }
    }
}

impl Scene {
    fn new() -> Self {
        let redis = RedisServer::start();
        let session = "{\"user\":{\"id\":\"victim\"}}";
        let set = |key: &str, value: &str| redis.command::<()>(&["SET", key, value]);
        set(&format!("session:{SESSION}"), session);
        set("session:victim", session);
        set("session:profile:0123456789abcdef", session);
        set("session:0123456789abcdef-broken", "{\"user\":{\"id\":\"vic");
        set("session:0123456789abcdef-object", "{\"user\":{\"id\":{\"id\":\"victim\"}}}");
        set("session:0123456789abcdef-number", "\"victim\"");
        let large = format!("{{\"user\":{{\"id\":\"victim\"}},\"x\":\"{}\"}}", "x".repeat(65_536));
        set("session:0123456789abcdef-larger", &large);
        set("revoked:of-revoked", "1");
        set("login:victim", session);
        let (one, rsa, own) = (Signer::es256(), Signer::rsa(Algorithm::RS256), Signer::es256());
        Self { app: App::start(), redis, folder: Folder::new(), one, rsa, own }
    }

    /// The two gateways that do `on_invalid` about forgeries.
    fn gateways(&self, on_invalid: &str) -> [Gateway; 2] {
        let set = self.folder.jwks(&[self.one.jwk("one"), Signer::es256().jwk("two")]);
        let pem = self.folder.write("rsa.pem", self.rsa.public());
        let keys = self.folder.api_keys(&[("victim", API_KEY)]);
        let proxies = "[identity.header]\nuser = \"x-user-id\"\ntier = \"x-plan\"\n\
                       [client]\ntrusted_proxies = [\"192.0.2.0/24\"]\n";
        let everything = format!(
            "on_invalid = \"{on_invalid}\"\n[identity.jwt]\nalgorithms = [\"ES256\"]\n\
             jwks_file = \"{set}\"\nheader = \"authorization\"\ncookie = \"token\"\n\
             issuer = \"https://id.example.org\"\naudience = \"api\"\ntier = \"plan\"\n\
             revocation = \"revoked:{{jti}}\"\n[identity.session]\ncookie = \"sid\"\n\
             key = \"session:{{id}}\"\nuser = \"user.id\"\n[identity.api_key]\n\
             header = \"x-api-key\"\nfile = \"{keys}\"\n{proxies}"
        );
        let by_user = format!(
            "on_invalid = \"{on_invalid}\"\n[identity.jwt]\nalgorithms = [\"RS256\", \"RS512\"]\n\
             key_file = \"{pem}\"\n[identity.session]\nkey = \"login:{{user}}\"\n"
        );
        [gateway(&self.redis, &self.app, &everything), gateway(&self.redis, &self.app, &by_user)]
    }

    fn head(&self) -> Value {
        head(&self.one, Some("one"))
    }

    /// A right token but for what `change` does to its header and payload.
    fn signed(&self, change: impl Fn(&mut Value, &mut Value)) -> String {
        let (mut head, mut claims) = (self.head(), claims("victim"));
        change(&mut head, &mut claims);
        bearer(&self.one.token(&head, &claims))
    }

    fn right(&self) -> String {
        self.one.token(&self.head(), &claims("victim"))
    }

    fn without_signature(algorithm: &str, signature: &str) -> String {
        let head = json!({"alg": algorithm, "typ": "JWT", "kid": "one"});
        bearer(&format!("{}.{signature}", unsigned(&head, &claims("victim"))))
    }

    fn algorithms(&self) -> Vec<Forgery> {
        let confused = |pem: &str, kid: Option<&str>| {
            let signer = Signer::secret(Algorithm::HS256, pem.as_bytes());
            bearer(&signer.token(&head(&signer, kid), &claims("victim")))
        };
        let own = |change: &dyn Fn(&mut Value)| {
            let mut head = self.head();
            change(&mut head);
            bearer(&self.own.token(&head, &claims("victim")))
        };
        vec![
            forgery("alg none", Self::without_signature("none", "")),
            forgery("alg None", Self::without_signature("None", "")),
            forgery("alg nOnE", Self::without_signature("nOnE", "")),
            forgery("alg none, with a signature", Self::without_signature("none", "AAAA")),
            forgery("a secret that is the public key", confused(self.one.public(), Some("one"))),
            forgery("a secret that is the RSA key", confused(self.rsa.public(), None)).at_pem(),
            forgery("a secret that is the RSA key without its last line break", {
                confused(self.rsa.public().trim_end(), None)
            })
            .at_pem(),
            forgery("an algorithm of the key that is not configured", {
                let signer = Signer::rsa(Algorithm::PS256);
                bearer(&signer.token(&head(&signer, None), &claims("victim")))
            })
            .at_pem(),
            forgery("another key", own(&|_| {})),
            forgery("a key of its own in jwk", own(&|head| head["jwk"] = self.own.jwk("one"))),
            forgery("a key of its own in jku", {
                own(&|head| head["jku"] = json!("http://127.0.0.1:1/jwks.json"))
            }),
            forgery("a key of its own by no name", {
                own(&|head| drop(head.as_object_mut().expect("it is one").remove("kid")))
            }),
        ]
    }

    fn headers(&self) -> Vec<Forgery> {
        let kid = |kid: Value| self.signed(|head, _| head["kid"] = kid.clone());
        vec![
            forgery("an unknown kid", kid(json!("three"))),
            forgery("no kid, and two keys", {
                self.signed(|head, _| drop(head.as_object_mut().expect("it is").remove("kid")))
            }),
            forgery("a kid that is a path", kid(json!("../../../../dev/null"))),
            forgery("a kid that is SQL", kid(json!("one' OR '1'='1' --"))),
            forgery("a kid that is a list", kid(json!(["one"]))),
            forgery("crit", self.signed(|head, _| head["crit"] = json!(["exp"]))),
            forgery("b64", self.signed(|head, _| head["b64"] = json!(false))),
            forgery("a nested token", {
                let inner = base64url(self.right().as_bytes());
                bearer(&format!(
                    "{}.{inner}.AAAA",
                    base64url(b"{\"alg\":\"ES256\",\"kid\":\"one\"}")
                ))
            }),
            forgery("five parts", bearer(&format!("{}.AAAA.AAAA", self.right()))),
            forgery("two parts", bearer(self.right().rsplit_once('.').expect("it has").0)),
            forgery("no token at all", "authorization: Bearer\r\n"),
            forgery(
                "a token of 9 KiB",
                self.signed(|_, claims| claims["x"] = json!("x".repeat(7_000))),
            ),
        ]
    }

    fn payloads(&self) -> Vec<Forgery> {
        let says = |name: &'static str, value: Value| {
            self.signed(move |_, claims| claims[name] = value.clone())
        };
        let without = |name: &'static str| {
            self.signed(move |_, claims| drop(claims.as_object_mut().expect("it is").remove(name)))
        };
        vec![
            forgery("expired", says("exp", json!(now() - 1))),
            forgery("exp as a string", says("exp", json!((now() + 3600).to_string()))),
            forgery("without exp", without("exp")),
            forgery("not yet valid", says("nbf", json!(now() + 3600))),
            forgery("another audience", says("aud", json!(["web"]))),
            forgery("without audience", without("aud")),
            forgery("another issuer", says("iss", json!("https://id.example.org.evil.example"))),
            forgery("without issuer", without("iss")),
            forgery("revoked", says("jti", json!("of-revoked"))),
            forgery("without jti", without("jti")),
            forgery("the user is an object", says("sub", json!({"id": "victim"}))),
            forgery("the user is a float", says("sub", json!(1.5))),
            forgery("the user is nothing", says("sub", json!(""))),
            forgery("the user has a line break", says("sub", json!("victim\r\nx-evil: 1"))),
            forgery("the tier is a list", says("plan", json!(["gold"]))),
            forgery("a user who is not signed in", {
                bearer(&self.rsa.token(&head(&self.rsa, None), &claims("ghost")))
            })
            .at_pem(),
        ]
    }

    fn signatures(&self) -> Vec<Forgery> {
        let right = self.right();
        let parts: Vec<&str> = right.split('.').collect();
        let [head, payload, signature] = parts.as_slice() else { panic!("three parts") };
        let other = base64url(claims("admin").to_string().as_bytes());
        let flipped: String = signature.chars().rev().collect();
        vec![
            forgery("a payload exchanged", bearer(&format!("{head}.{other}.{signature}"))),
            forgery("a signature changed", bearer(&format!("{head}.{payload}.{flipped}"))),
            forgery("no signature", bearer(&format!("{head}.{payload}."))),
            forgery("a signature of zeros", {
                bearer(&format!("{head}.{payload}.{}", base64url(&[0; 64])))
            }),
            forgery("a signature spelled otherwise", bearer(&format!("{right}="))),
        ]
    }

    fn doubles(&self) -> Vec<Forgery> {
        let right = self.right();
        let token = bearer(&right);
        vec![
            forgery("two Authorization lines", format!("{token}{token}")).malformed(),
            forgery("two schemes", format!("{token}authorization: Basic YTpi\r\n")).malformed(),
            forgery("a header and another cookie", format!("{token}cookie: token=x\r\n")),
            forgery("two tokens in cookies", format!("cookie: token={right}; token={right}\r\n")),
            forgery("two sessions in a line", format!("cookie: sid={SESSION}; sid={SESSION}\r\n")),
            forgery("two sessions in two lines", {
                format!("cookie: sid={SESSION}\r\ncookie: sid=x{SESSION}\r\n")
            }),
            forgery("two lines of API keys", {
                format!("x-api-key: {API_KEY}\r\nx-api-key: {API_KEY}\r\n")
            })
            .malformed(),
            forgery("another scheme", format!("authorization: Basic {right}\r\n")).words(),
        ]
    }

    fn sessions() -> Vec<Forgery> {
        let cookie = |name, id: &str| forgery(name, format!("cookie: sid={id}\r\n"));
        vec![
            cookie("the user's id for a session", "victim"),
            cookie("an id that names another key", "profile:0123456789abcdef"),
            cookie("an id with a blank", "0123456789abcdef victim"),
            cookie("an unknown session", "0123456789abcdef-nobody"),
            cookie("a session that is no JSON", "0123456789abcdef-broken"),
            cookie("a session whose user is an object", "0123456789abcdef-object"),
            cookie("a session that is no object", "0123456789abcdef-number"),
            cookie("a session that is too large", "0123456789abcdef-larger"),
            cookie("a pattern for an id", "0123456789abcde?-vict*"),
            cookie("a session where sessions are by user", "victim").at_pem().words(),
        ]
    }

    fn keys_and_words() -> Vec<Forgery> {
        let words = |name, lines: &str| forgery(name, lines).words();
        vec![
            forgery("a wrong API key", format!("x-api-key: {API_KEY}x\r\n")),
            forgery("the hash of an API key", format!("x-api-key: {}\r\n", sha256(API_KEY))),
            forgery("a short API key", "x-api-key: victim\r\n"),
            words("a header of somebody who is no proxy", "x-user-id: victim\r\nx-plan: gold\r\n"),
            words("a look-alike", "X_User_Id: victim\r\nX_Verified_User: victim\r\n"),
            forgery(
                "a header named in Connection",
                "x-user-id: v\r\nconnection: close, x-user-id\r\n",
            )
            .malformed(),
            forgery("a nomination of the gateway's own", "connection: x-verified-user\r\n")
                .malformed(),
            words("the gateway's own headers", "X-Verified-User: victim\r\nx-verified-tier: a\r\n"),
        ]
    }

    fn forgeries(&self) -> Vec<Forgery> {
        let all = [
            self.algorithms(),
            self.headers(),
            self.payloads(),
            self.signatures(),
            self.doubles(),
            Self::sessions(),
            Self::keys_and_words(),
        ];
        all.into_iter().flatten().collect()
    }

    /// What is forged below is taken where it is right: else the table would prove nothing.
    fn right_ones_are_taken(&self, [set, pem]: &[Gateway; 2]) {
        let plain = ("victim", "");
        serves(set, &self.app, "/", &bearer(&self.right()), ("victim", "gold"));
        serves(
            set,
            &self.app,
            "/",
            &format!("cookie: token={}\r\n", self.right()),
            ("victim", "gold"),
        );
        serves(set, &self.app, "/", &format!("cookie: sid={SESSION}\r\n"), plain);
        serves(set, &self.app, "/", &format!("x-api-key: {API_KEY}\r\n"), ("victim", "gold"));
        let token = self.rsa.token(&head(&self.rsa, None), &claims("victim"));
        serves(pem, &self.app, "/", &bearer(&token), plain);
    }
}

fn pick(gateways: &[Gateway; 2], at: At) -> &Gateway {
    &gateways[at as usize]
}

/// No header with a user, or that reads like one, has reached the application.
fn nobody_was_named(app: &App, name: &str) {
    assert_eq!(served(app), Served { user: None, tier: None }, "{name}");
    let seen = app.last();
    for (header, _) in &seen.headers {
        let spelled = header.to_ascii_lowercase().replace('_', "-");
        assert!(!["x-user-id", "x-plan", "x-verified-user"].contains(&spelled.as_str()), "{name}");
    }
}

#[test]
fn no_forgery_is_a_user_and_none_escapes_the_limit_of_its_address() {
    let scene = Scene::new();
    let (lenient, strict) = (scene.gateways("anonymous"), scene.gateways("reject"));
    scene.right_ones_are_taken(&lenient);
    scene.right_ones_are_taken(&strict);
    let forgeries = scene.forgeries();
    assert_eq!(forgeries.len(), 71, "a forgery has been lost, or not been counted");
    let mut left = 1_000;
    for Forgery { name, at, what, target, lines } in &forgeries {
        let answer = ask(pick(&lenient, *at), target, lines);
        if *what == What::Malformed {
            let strictly = ask(pick(&strict, *at), target, lines);
            assert_eq!((answer.status(), strictly.status()), (400, 400), "{name}");
            continue;
        }
        assert_eq!((answer.status(), answer.counted_by()), (200, "anonymous"), "{name}");
        nobody_was_named(&scene.app, name);
        left -= 1;
        assert_eq!(answer.remaining(), left, "{name}: it counts by its address");
        let served_before = scene.app.seen().len();
        let answer = ask(pick(&strict, *at), target, lines);
        left -= 1;
        assert_eq!((answer.counted_by(), answer.remaining()), ("anonymous", left), "{name}");
        if *what == What::Words {
            assert_eq!(answer.status(), 200, "{name}");
            nobody_was_named(&scene.app, name);
            continue;
        }
        assert_eq!(answer.status(), 401, "{name}");
        let challenge = answer.field("www-authenticate");
        assert_eq!(challenge, Some("bearer error=\"invalid_token\""), "{name}: and not why");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{name}");
        assert_eq!(scene.app.seen().len(), served_before, "{name}: it goes no further");
    }
}

#[test]
fn a_forger_over_the_limit_is_told_of_the_limit() {
    let (redis, app, folder) = (RedisServer::start(), App::start(), Folder::new());
    let path = folder.api_keys(&[("acme", API_KEY)]);
    let identity = format!(
        "on_invalid = \"reject\"\n[identity.api_key]\nheader = \"x-api-key\"\nfile = \"{path}\"\n"
    );
    let gateway = gateway(&redis, &app, &identity);
    redis.command::<()>(&["FLUSHALL"]);
    gateway.edit("quota = 1000", "quota = 2");
    gateway.signal("HUP");
    crate::support::redis::wait_until("the reload", || gateway.log().contains("is in force"));
    let statuses: Vec<u16> =
        (0..4).map(|n| ask(&gateway, "/", &format!("x-api-key: {n}\r\n")).status()).collect();
    assert_eq!(statuses, [401, 401, 429, 429]);
}
