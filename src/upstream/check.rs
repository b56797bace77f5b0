//! One active check of one server: a request, or a connection alone, on its own connection.

use std::result::Result as StdResult;
use std::time::Duration;

use pingora_core::connectors::TransportConnector;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use pingora_error::{ErrorType, OrErr as _, Result};
use pingora_http::RequestHeader;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::health::HealthCheck;
use super::server::Server;

/// Answers before the final one that are read at most.
const INTERIM_MAX: usize = 8;
/// How long a connection of HTTP/2 stays after its check: it ends with its pool.
const LEFT_OPEN: Duration = Duration::from_millis(1);
const USER_AGENT: &str = concat!("sluicegate/", env!("CARGO_PKG_VERSION"), " (health check)");

/// What checks are made with.
pub(super) enum Checker {
    /// Requests.
    Requests(Box<Connector>),
    /// Connections, and no more than that.
    Connections(Box<TransportConnector>),
}

// === impl Checker ===

impl Checker {
    pub(super) fn new(check: &HealthCheck) -> Self {
        match check.path {
            Some(_) => Self::Requests(Box::new(Connector::new(None))),
            None => Self::Connections(Box::new(TransportConnector::new(None))),
        }
    }

    /// Whether the server is well; if not, what is wrong.
    pub(super) async fn check(
        &self,
        server: &Server,
        settings: &Settings,
        check: &HealthCheck,
    ) -> StdResult<(), String> {
        let Some(mut peer) = server.peer(settings.tls.as_ref()) else {
            return Err("it has no name to verify".to_owned());
        };
        settings.apply(&mut peer);
        let options = &mut peer.options;
        options.connection_timeout = Some(check.timeout);
        options.total_connection_timeout = Some(check.timeout);
        options.read_timeout = Some(check.timeout);
        // Whether new connections are served is the question, so this is one.
        peer.group_key = fastrand::u64(1..);
        let deadline = Instant::now() + check.timeout;
        let asked = match self {
            Self::Connections(connector) => timeout_at(deadline, connector.new_stream(&*peer))
                .await
                .map(|made| made.map(|_| 200)),
            Self::Requests(connector) => request(connector, server, &peer, check, deadline).await,
        };
        match asked {
            Ok(Ok(status)) if check.path.is_none() || check.good.contains(&status) => Ok(()),
            Ok(Ok(status)) => Err(format!("it answered {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }
}

/// The status that the server answers with.
async fn request(
    connector: &Connector,
    server: &Server,
    peer: &HttpPeer,
    check: &HealthCheck,
    deadline: Instant,
) -> StdResult<Result<u16>, Elapsed> {
    let mut session = match timeout_at(deadline, connector.get_http_session(peer)).await? {
        Ok((session, _)) => session,
        Err(error) => return Ok(Err(error)),
    };
    let h2 = session.as_http2().map(|_| peer.tls());
    let answer = match head(server, check, h2) {
        Ok(head) => timeout_at(deadline, exchange(&mut session, head)).await,
        Err(error) => Ok(Err(error)),
    };
    if h2.is_some() {
        // However it went: Pingora keeps such a connection until it is given back.
        connector.release_http_session(session, peer, Some(LEFT_OPEN)).await;
    }
    answer
}

async fn exchange(session: &mut HttpSession, head: RequestHeader) -> Result<u16> {
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    let mut status = 0;
    for _ in 0..INTERIM_MAX {
        session.read_response_header().await?;
        status = session.response_header().map_or(0, |head| head.status.as_u16());
        if status >= 200 {
            break;
        }
    }
    Ok(status)
}

fn head(server: &Server, check: &HealthCheck, h2: Option<bool>) -> Result<RequestHeader> {
    let path = check.path.as_deref().unwrap_or("/");
    let own = || server.address.authority();
    let host = check.host.clone().unwrap_or_else(own);
    let mut head = RequestHeader::build("GET", path.as_bytes(), None)?;
    if let Some(by_tls) = h2 {
        // HTTP/2 has scheme and host in the target, and Pingora takes them from there.
        let scheme = if by_tls { "https" } else { "http" };
        let target = format!("{scheme}://{host}{path}").parse();
        head.set_uri(target.or_err(ErrorType::InvalidHTTPHeader, "the target of a check")?);
    } else {
        head.insert_header("host", host)?;
    }
    head.insert_header("user-agent", USER_AGENT)?;
    head.insert_header("accept", "*/*")?;
    Ok(head)
}
