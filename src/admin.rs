//! The operator's listener: `/metrics`, `/livez`, `/readyz`, `/config` and `/reload`. Never on the
//! public port.

mod config;
mod reload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::limit::{Limit, Micros};
use crate::limiter::{Fate, Reason};
use crate::metering::Delivered;
use crate::metrics::{LocalReading, MeterReading, PenaltyReading, StoreReading, UpstreamReading};
use crate::proxy::Proxy;
use crate::reload::Reloader;
use crate::store::redis::State;
use crate::telemetry::Logs;

/// The methods of pages that only tell.
const READ_ONLY: &str = "GET, HEAD";
/// What there is, besides an error for everything else.
const PAGES: [&str; 5] = ["/metrics", "/livez", "/readyz", "/config", "/reload"];

/// The pages of the operator.
#[derive(Debug)]
pub struct Admin {
    /// Asked how it and its stores are.
    pub proxy: Arc<Proxy>,
    /// Asked what they have not shown.
    pub logs: Arc<Logs>,
    /// Asked what is in force, and to read it anew.
    pub reloader: Arc<Reloader>,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    /// The methods that a page has, where it has another than was asked for.
    allow: Option<&'static str>,
    retry_after: Option<&'static str>,
}

// === impl Admin ===

impl Admin {
    async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Page {
        match path {
            "/config" => config::page(method, &self.reloader),
            "/reload" => reload::page(method, headers, &self.reloader).await,
            _ => self.page(method, path),
        }
    }

    fn page(&self, method: &Method, path: &str) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Page::not_allowed(READ_ONLY);
        }
        match path {
            "/metrics" => self.series(),
            "/livez" => Page::json(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => self.readiness(),
            _ => {
                Page::json(StatusCode::NOT_FOUND, &json!({"error": "no such page", "pages": PAGES}))
            }
        }
    }

    fn series(&self) -> Page {
        let reading = self.proxy.limiter.redis().map(|redis| {
            let status = redis.status();
            StoreReading {
                up: status.state == State::Up,
                breaker: status.breaker().number(),
                nodes: status.nodes.len(),
                nodes_up: status.nodes.iter().filter(|node| node.is_up()).count(),
                faults: redis.faults().map(|(kind, count)| (kind.name(), count)).collect(),
            }
        });
        let local = LocalReading {
            permits: self.permits(),
            entries: self.proxy.limiter.local_entries(),
            instances: self.proxy.limiter.instances(),
            settled: self.settled(Reason::Cost),
            refunded: self.settled(Reason::Denied),
        };
        let limiter = &self.proxy.limiter;
        let penalties = PenaltyReading { bans: limiter.bans(), dropped: limiter.denials_dropped() };
        self.proxy.metrics.penalised(&penalties);
        self.proxy.metrics.logged(&self.logs);
        self.proxy.metrics.upstreams(&self.upstream_readings());
        Page {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4",
            body: self.proxy.metrics.expose(
                reading.as_ref(),
                &local,
                self.proxy.enforcement().number(),
                &self.meters(),
            ),
            allow: None,
            retry_after: None,
        }
    }

    fn upstream_readings(&self) -> Vec<UpstreamReading> {
        let state = self.proxy.state.load();
        let each = state.upstreams.iter().map(|upstream| {
            let (standing, happened) = (upstream.standing(), upstream.happened());
            UpstreamReading {
                name: standing.name,
                servers: standing.servers,
                up: standing.up,
                retries: happened.retries,
                ejections: happened.ejections,
                checks: [("ok", happened.good_checks), ("failed", happened.bad_checks)],
            }
        });
        each.collect()
    }

    /// A gateway whose application is away is ready all the same: it says so to those who ask.
    fn upstreams(&self) -> Value {
        let state = self.proxy.state.load();
        let each = state.upstreams.iter().map(|upstream| {
            let standing = upstream.standing();
            (standing.name, json!({ "servers": standing.servers, "up": standing.up }))
        });
        each.collect::<serde_json::Map<_, _>>().into()
    }

    fn settled(&self, reason: Reason) -> [(&'static str, u64); 3] {
        Fate::ALL.map(|fate| (fate.name(), self.proxy.limiter.settled(reason, fate)))
    }

    /// What is held of each policy that takes permits, also where that is nothing.
    fn permits(&self) -> BTreeMap<String, usize> {
        let state = self.proxy.state.load();
        let policies = state.rules.policies();
        let those = policies.filter(|policy| matches!(policy.limit, Limit::Concurrency(_)));
        let none = those.map(|policy| (policy.name.clone(), 0));
        none.chain(self.proxy.limiter.permits_held()).collect()
    }

    fn meters(&self) -> Vec<MeterReading> {
        let tallies = self.proxy.metering.tallies().into_iter();
        let each = tallies.map(|(name, tally)| MeterReading {
            name,
            views: vec![
                ("counted", tally.counted),
                ("duplicate", tally.known),
                ("full", tally.full),
                ("dropped", tally.dropped),
            ],
            batches: Delivered::ALL.map(Delivered::name).into_iter().zip(tally.batches).collect(),
            waiting: tally.waiting,
            pending: tally.pending,
        });
        each.collect()
    }

    /// A gateway without Redis is ready: it limits by itself. One that drains is not.
    fn readiness(&self) -> Page {
        let stopping = self.proxy.stopping.load(Ordering::Relaxed);
        let (code, status) = if stopping {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else {
            (StatusCode::OK, "ready")
        };
        Page::json(
            code,
            &json!({
                "status": status,
                "limits": self.proxy.enforcement().name(),
                "store": self.store(),
                "upstreams": self.upstreams(),
            }),
        )
    }

    fn store(&self) -> Value {
        let Some(redis) = self.proxy.limiter.redis() else { return json!({"kind": "local"}) };
        let status = redis.status();
        let seconds = |latency: Micros| latency.get() as f64 / 1e6;
        // Where the configuration says where Redis is, there is nothing to tell of nodes.
        let nodes = status.nodes.iter().filter_map(|node| {
            let state = if node.is_up() { State::Up } else { State::Away };
            let latency = node.is_up().then(|| seconds(node.latency));
            let (address, state) = (node.name.as_ref()?, state.name());
            Some(json!({ "address": address, "state": state, "latency_seconds": latency }))
        });
        let nodes: Vec<Value> = nodes.collect();
        let mut report = json!({
            "kind": "redis",
            "state": status.state.name(),
            "breaker": status.breaker().name(),
            "latency_seconds": status.latency().map(seconds),
            "instances": self.proxy.limiter.instances(),
        });
        if !nodes.is_empty() {
            report["nodes"] = nodes.into();
        }
        report
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let head = session.req_header();
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let headers = head.headers.clone();
        self.answer(&method, &path, &headers).await.into_response(&method)
    }
}

// === impl Page ===

impl Page {
    fn json(status: StatusCode, body: &Value) -> Self {
        let (allow, retry_after) = (None, None);
        let body = format!("{body}\n");
        Self { status, content_type: "application/json", body, allow, retry_after }
    }

    fn not_allowed(allow: &'static str) -> Self {
        let error = json!({ "error": format!("only {}", allow.replace(", ", " and ")) });
        Self { allow: Some(allow), ..Self::json(StatusCode::METHOD_NOT_ALLOWED, &error) }
    }

    fn into_response(self, method: &Method) -> Response<Vec<u8>> {
        let length = HeaderValue::from(self.body.len());
        let body = if *method == Method::HEAD { Vec::new() } else { self.body.into_bytes() };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_LENGTH, length);
        let more = [(ALLOW, self.allow), (RETRY_AFTER, self.retry_after)];
        for (name, value) in more {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        response
    }
}
