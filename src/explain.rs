//! `sluicegate explain`: what the gateway would make of a request, step by step, without making it.
//!
//! It goes the way that requests go (`proxy/admit.rs`), with the same parts, and writes down what
//! each of them says. Nothing is charged.

mod report;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::config::{Config, StoreKind};
use crate::identity::Connection;
use crate::identity::lookup::{Answer, Lookup, Question, Unanswered};
use crate::limit::{Check, Standing, SystemClock, Timestamp};
use crate::proxy::State;
use crate::request::RequestView;
use crate::rules::{Asked, Enforcement};
use crate::server;
use crate::store::redis::{Fault, RedisStore};
use report::Report;
pub(crate) use report::{divided, limit};

/// Longest wait for a session or a revocation: nobody's request waits.
const PATIENCE: Duration = Duration::from_secs(1);

/// The request that is asked about.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its method.
    pub method: Method,
    /// Its path, with or without a query.
    pub path: String,
    /// The address of the connection's other end.
    pub peer: IpAddr,
    /// Its header fields, in order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether to ask the store how the keys stand.
    pub store: bool,
}

/// The store, for one explanation.
enum Store {
    /// Nobody wants it asked.
    Unasked,
    /// It is the memory of each gateway.
    Local,
    /// It cannot be reached.
    Away(String),
    /// It can.
    Redis(Box<RedisStore>),
}

/// What the store says of the keys.
enum Stored {
    /// It was not asked.
    Unasked,
    /// Each of them, as it stands, or why that is not known.
    Standing(Vec<Result<Standing, Fault>>),
    /// Nothing: they stand in the memory of each gateway.
    Elsewhere,
    /// It did not answer.
    Failed(String),
}

/// What would become of a request.
#[derive(Debug)]
pub struct Explanation {
    /// As text for people.
    pub text: String,
    /// Why the store, which was to be asked, did not answer.
    pub unasked: Option<String>,
}

/// Explains what would become of the request.
pub fn explain(config: &Config, described: &Described) -> Result<Explanation, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(explained(config, described))
}

async fn explained(config: &Config, described: &Described) -> Result<Explanation, String> {
    let mut head = head(described)?;
    let state = server::build(config)?;
    let mut report = Report::about(described);
    match state.reading.read(&head, described.path.as_bytes()) {
        Ok(changes) => {
            report.taken_off(&changes.off);
            changes.apply(&mut head.headers);
        }
        Err(malformed) => {
            report.refused(malformed.status().as_u16(), &malformed.to_string());
            return Ok(report.finish(None));
        }
    }
    let view = RequestView::spelled(&head, state.reading.spelling);
    let client = state.clients.locate(described.peer, view.headers());
    report.client(&view, &client);
    if state.deny_list.contain(client.address) {
        report.refused(403, "`[deny]` names the client's address");
        return Ok(report.finish(None));
    }
    let store = if described.store { open(config).await? } else { Store::Unasked };
    let identity = &state.clients.identity;
    // A command line shows no certificate.
    let via_trusted_proxy = client.via_trusted_proxy;
    let connection = Connection { via_trusted_proxy, certificate: None };
    let found = identity.identify(&view, connection, SystemClock::wall(), &store).await;
    report.findings(&found);
    let client = client.with(found.person.clone());
    report.user(&client);
    let route = state.routes.find(&view);
    report.route(route.map(|route| &**route), &config.upstreams);
    if let Some(exemption) = state.exemptions.of(&view, &client) {
        report.exempt(exemption);
        return Ok(report.finish(None));
    }
    let enforcement = enforcement(&state);
    report.enforcement(&enforcement);
    report.rules(state.rules.matching(&view, &client), &state.rules);
    let pattern = route.map_or("none", |route| route.path.as_str());
    let enforced = enforcement.unwrap_or(state.enforcement);
    let asked = Asked {
        view: &view,
        client: &client,
        route: pattern,
        enforcement: enforced,
        now: store.now(),
    };
    let demand = state.rules.evaluate(&asked);
    let stored = store.inspect(&demand.checks).await;
    report.policies(&demand, &state.rules, &stored);
    if identity.rejects_invalid && enforced == Enforcement::Full && found.is_forgery() {
        report.refused(401, "if the limits let it pass: `identity.on_invalid` is `reject`");
    }
    Ok(report.finish(match stored {
        Stored::Failed(why) => Some(why),
        Stored::Standing(standings) => {
            standings.into_iter().find_map(Result::err).map(|fault| fault.to_string())
        }
        _ => None,
    }))
}

fn head(described: &Described) -> Result<Parts, String> {
    let uri: Uri = described
        .path
        .parse()
        .map_err(|error| format!("`--path {}` is not a path: {error}", described.path))?;
    let mut request = Request::new(());
    *request.method_mut() = described.method.clone();
    *request.uri_mut() = uri;
    for (name, value) in &described.headers {
        request.headers_mut().append(name.clone(), value.clone());
    }
    if !request.headers().contains_key(HOST) {
        // Whoever asks may leave it out, and in HTTP/1.0 it may be missing.
        *request.version_mut() = Version::HTTP_10;
    }
    Ok(request.into_parts().0)
}

/// How far limits are enforced, by configuration and switch file; or why the latter says nothing.
fn enforcement(state: &State) -> Result<Enforcement, String> {
    let said = crate::proxy::switched(state.switch_file.clone());
    said.map(|said| said.min(state.enforcement)).map_err(|error| error.to_string())
}

/// The store, connected if it can be.
async fn open(config: &Config) -> Result<Store, String> {
    if config.store.kind == StoreKind::Local {
        return Ok(Store::Local);
    }
    server::choose_cryptography();
    let clock = Arc::new(SystemClock::start());
    let redis = server::redis_store(&config.store, clock).map_err(|error| error.to_string())?;
    Ok(match redis.connect_once().await {
        Ok(()) => Store::Redis(Box::new(redis)),
        Err(fault) => Store::Away(fault.to_string()),
    })
}

// === impl Store ===

impl Store {
    /// The present moment by the clock that decides, as far as it is known here.
    fn now(&self) -> Timestamp {
        match self {
            Self::Redis(redis) => redis.now(),
            Self::Unasked | Self::Local | Self::Away(_) => SystemClock::wall(),
        }
    }

    async fn inspect(&self, checks: &[Check]) -> Stored {
        match self {
            Self::Unasked => Stored::Unasked,
            Self::Local => Stored::Elsewhere,
            Self::Away(fault) => Stored::Failed(fault.clone()),
            Self::Redis(_) if checks.is_empty() => Stored::Unasked,
            Self::Redis(redis) => Stored::Standing(redis.inspect(checks).await),
        }
    }
}

#[async_trait]
impl Lookup for Store {
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        let Self::Redis(redis) = self else { return Err(Unanswered) };
        redis.look_up(&question, PATIENCE).await.map_err(|_| Unanswered)
    }
}
