//! The operator's listener: `/metrics`, `/livez`, `/readyz`. Never on the public port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use serde_json::{Value, json};

use crate::limit::{Limit, Micros};
use crate::limiter::{Fate, Reason};
use crate::metering::Delivered;
use crate::metrics::{LocalReading, MeterReading, PenaltyReading, StoreReading};
use crate::proxy::Proxy;
use crate::store::redis::State;
use crate::telemetry::Logs;

/// The pages of the operator.
#[derive(Debug)]
pub struct Admin {
    /// Asked how it and its stores are.
    pub proxy: Arc<Proxy>,
    /// Asked what they have not shown.
    pub logs: Arc<Logs>,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

// === impl Admin ===

impl Admin {
    fn page(&self, method: &Method, path: &str) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Page::json(
                StatusCode::METHOD_NOT_ALLOWED,
                &json!({"error": "only GET and HEAD"}),
            );
        }
        match path {
            "/metrics" => self.series(),
            "/livez" => Page::json(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => self.readiness(),
            _ => {
                let pages = ["/metrics", "/livez", "/readyz"];
                Page::json(StatusCode::NOT_FOUND, &json!({"error": "no such page", "pages": pages}))
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
        Page {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4",
            body: self.proxy.metrics.expose(
                reading.as_ref(),
                &local,
                self.proxy.enforcement().number(),
                &self.meters(),
            ),
        }
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
        let draining = self.proxy.draining.load(Ordering::Relaxed);
        let (code, status) = if draining {
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
        self.page(&method, &path).into_response(&method)
    }
}

// === impl Page ===

impl Page {
    fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: format!("{body}\n") }
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
        response
    }
}
