//! `sluicegate demo`: a small sample application with the gateway in front of it, for a first look.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::config::{Config, ServerAddress, StoreKind};
use crate::server::Extras;

/// How long a Redis on this machine may take to accept a connection.
const REDIS_TIMEOUT: Duration = Duration::from_millis(300);

/// What signs in to the sample application, by POST to /login.
const RIGHT_PASSWORD: &str = "password=sesame";

/// The sample application: it says what it was asked and by whom, and who may sign in.
#[derive(Debug)]
pub struct SampleApp;

/// Chooses the store, finds the sample application's place and says what to try.
pub fn prepare(config: &mut Config) -> Result<Extras, String> {
    let app = config.upstreams.first().and_then(|upstream| upstream.servers.first());
    let app = match app.map(|server| &server.address) {
        Some(ServerAddress::Tcp { host, port }) => resolve(host, *port)
            .ok_or_else(|| format!("the demo cannot listen on `{host}`: it is not this machine"))?,
        Some(ServerAddress::Unix(_)) | None => {
            return Err("the demo needs an upstream whose first server is `host:port`".to_owned());
        }
    };
    let store = choose_store(config);
    let public = config.server.listen.first().copied().unwrap_or(app);
    Ok(Extras {
        upgrade: None,
        sample_app: Some(app),
        greeting: Some(greeting(public, config.admin, app, &store)),
    })
}

fn greeting(public: SocketAddr, admin: SocketAddr, app: SocketAddr, store: &str) -> String {
    format!(
        "\nSluicegate listens on http://{public}, in front of a sample application on {app}.\n\
         {store}\n\n\
         Try, in another terminal: an answer with its limits; five wrong\n\
         passwords a minute; the refusal; in a minute the right one, which is not counted:\n\n  \
         curl -i http://{public}/hello\n  \
         for i in $(seq 6); do curl -s -o /dev/null -w '%{{http_code}}\\n' -X POST http://{public}/login; done\n  \
         curl -i -X POST http://{public}/login\n  \
         curl -i -X POST http://{public}/login -d {RIGHT_PASSWORD}\n\n\
         Metrics are on http://{admin}/metrics. Stop with Ctrl-C."
    )
}

/// Redis if one answers at the configured address, else this process' memory.
fn choose_store(config: &mut Config) -> String {
    if config.store.kind == StoreKind::Local {
        return "Counts are kept in this process' memory, as the configuration says.".to_owned();
    }
    if redis_answers(config.store.url.expose()) {
        return format!("Counts are kept in Redis at {}.", config.store.url);
    }
    config.store.kind = StoreKind::Local;
    format!("Counts are kept in this process' memory: no Redis answers at {}.", config.store.url)
}

fn redis_answers(url: &str) -> bool {
    let Ok(info) = url.into_connection_info() else { return false };
    match info.addr() {
        ConnectionAddr::Tcp(host, port) => resolve(host, *port)
            .is_some_and(|address| TcpStream::connect_timeout(&address, REDIS_TIMEOUT).is_ok()),
        ConnectionAddr::Unix(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
        _ => false,
    }
}

fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    (host, port).to_socket_addrs().ok()?.next()
}

#[async_trait]
impl ServeHttp for SampleApp {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let signs_in = {
            let head = session.req_header();
            head.method == Method::POST && head.uri.path() == "/login"
        };
        let refused = signs_in && !knows_password(session).await;
        let head = session.req_header();
        let field = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("-").to_owned()
        };
        let body = format!(
            "Hello from the sample application.\n{} {}\nhost: {}\nclient: {}\nrequest: {}\n",
            head.method,
            head.uri,
            field(HOST.as_str()),
            field("x-forwarded-for"),
            field("x-request-id"),
        );
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body.into_bytes());
        if refused {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, length);
        response
    }
}

/// Whether the first bytes of the body are the right password.
async fn knows_password(session: &mut ServerSession) -> bool {
    matches!(session.read_request_body().await, Ok(Some(body)) if body == RIGHT_PASSWORD.as_bytes())
}
