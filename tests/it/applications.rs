//! Applications that nobody here wrote, each asked directly and through the gateway. Whatever they
//! answer, a client gets the same: the limits only add their fields.

mod answers;
mod nginx;
pub(crate) mod server;
mod streams;
mod uploads;
pub(crate) mod websocket;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Body, Client, RequestBuilder};
use reqwest::redirect::Policy;

use crate::support::gateway::{Gateway, app_at};

/// What an upload and a download are worth testing with.
const LARGE: usize = 50 << 20;
/// Generous: only a hang runs into it.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// An application may be asked for a path with an encoded slash, if it is meant so.
const REQUEST: &str = "[request]\nencoded_slashes = \"keep\"\n";
/// Limits that every request meets and none exceeds.
const LIMITS: &str = "[policies.per-client]\nquota = 1000000\nwindow = \"1h\"\n\
    [policies.per-path]\nquota = 100000\nwindow = \"1m\"\nalgorithm = \"token-bucket\"\npartition = [\"ip\", \"path\"]\n\
    [[rules]]\npath = \"/**\"\npolicies = [\"per-client\", \"per-path\"]\n";

/// Headers that speak of the connection or the moment, not of what is answered.
const OF_THE_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];
/// Headers that the gateway adds.
const FIELDS: [&str; 5] = [
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// Names in small letters, and all values of each in their order.
type Headers = BTreeMap<String, Vec<String>>;

/// What a client gets.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

/// An application with a gateway in front of it.
struct Pair {
    app: SocketAddr,
    gateway: Gateway,
    client: Client,
}

impl Answer {
    /// The one value of a header.
    fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers.get(name)?;
        assert_eq!(values.len(), 1, "`{name}` came more than once: {values:?}");
        Some(&values[0])
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    fn has_fields(&self) -> bool {
        FIELDS.iter().all(|name| self.headers.contains_key(*name))
            && self.header("ratelimit").is_some_and(|list| list.contains("\"per-client\";r="))
            && self
                .header("ratelimit-policy")
                .is_some_and(|list| list.contains("\"per-path\";q=100000"))
    }

    /// What the application has said, whoever has passed it on.
    fn end_to_end(&self) -> Headers {
        let aside = |name: &str| OF_THE_HOP.contains(&name) || FIELDS.contains(&name);
        self.headers.clone().into_iter().filter(|(name, _)| !aside(name)).collect()
    }
}

impl Pair {
    fn of(app: SocketAddr) -> Self {
        let config = format!("[store]\nkind = \"local\"\n{REQUEST}{}{LIMITS}", app_at(app));
        let gateway = Gateway::start(&config);
        let client = Client::builder().timeout(CLIENT_TIMEOUT).no_proxy().redirect(Policy::none());
        Self { app, gateway, client: client.build().expect("a client") }
    }

    /// Asks the application and then the gateway, and returns what both answer.
    fn same(&self, what: &str, ask: impl Fn(SocketAddr) -> Answer) -> Answer {
        let (direct, through) = (ask(self.app), ask(self.gateway.public()));
        assert_eq!(
            direct.status, through.status,
            "{what}: {direct:?}, through the gateway {through:?}"
        );
        assert_eq!(direct.end_to_end(), through.end_to_end(), "{what}: the same headers");
        // Not `assert_eq`, which would print megabytes.
        assert!(
            direct.body == through.body,
            "{what}: {} bytes became {}",
            direct.body.len(),
            through.body.len()
        );
        assert!(through.has_fields(), "{what}: the limits speak: {:?}", through.headers);
        assert!(!direct.has_fields(), "{what}: {:?}", direct.headers);
        direct
    }

    /// The same for a request as clients commonly send it. The application sees one host.
    fn ask(
        &self,
        what: &str,
        method: &Method,
        path: &str,
        more: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        self.same(what, |address| self.send(address, method, path, &more))
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let add = |request: RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        self.ask(&format!("{path} {headers:?}"), &Method::GET, path, add)
    }

    fn post(&self, path: &str, body: impl Fn() -> Body) -> Answer {
        self.ask(path, &Method::POST, path, |request| request.body(body()))
    }

    fn send(
        &self,
        address: SocketAddr,
        method: &Method,
        path: &str,
        more: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        let request = self.client.request(method.clone(), format!("http://{address}{path}"));
        let response = more(request.header("host", "example.org")).send().expect("an answer");
        let mut headers = Headers::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.as_str().to_owned()).or_default().push(value);
        }
        let status = response.status().as_u16();
        Answer { status, headers, body: response.bytes().expect("a whole body").to_vec() }
    }
}

/// Bytes that no one mistakes for others, the same ones for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// The sum of some bytes, as the applications write it.
fn sum(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}
