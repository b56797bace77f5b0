//! A connection that has been proven, and the script calls on it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Script, ServerErrorKind, Value};
use tokio::time::timeout;

use super::fault::{Fault, FaultKind};
use crate::limit::{Check, Decision};
use crate::store::script::{Call, Now, SOURCE};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls under way on a connection at most; more wait, within their deadline.
const CONCURRENCY_MAX: usize = 1024;
/// Attempts at a proof: one slow answer is a hiccup.
const PROOFS: u32 = 3;

/// A connection to Redis.
pub(super) struct Link {
    connection: MultiplexedConnection,
    script_hash: String,
}

// === impl Link ===

impl Link {
    pub(super) async fn open(client: &Client) -> Result<Self, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Decisions have their own deadline, shorter than any the client would keep.
            .set_response_timeout(None)
            .set_concurrency_limit(CONCURRENCY_MAX)
            .set_pipeline_buffer_size(CONCURRENCY_MAX);
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(CONNECT_TIMEOUT, opening)
            .await
            .map_err(|_| Fault::new(FaultKind::Timeout, "no connection in time"))??;
        Ok(Self { connection, script_hash: Script::new(SOURCE).get_hash().to_owned() })
    }

    /// Decides all checks of one request, within `longest`.
    pub(super) async fn decide(
        &self,
        checks: &[Check],
        longest: Duration,
    ) -> Result<Vec<Decision>, Fault> {
        let requests = [checks];
        let call = Call::new(&requests);
        let reply = timeout(longest, self.run(&call))
            .await
            .map_err(|_| Fault::new(FaultKind::Timeout, "no answer in time"))??;
        let decided = call.decisions(&reply).ok().and_then(|mut requests| requests.pop());
        decided.ok_or_else(|| Fault::new(FaultKind::MalformedReply, "not a reply of the script"))
    }

    /// Runs the real script, with a write, as a request would: within the same `longest`.
    pub(super) async fn prove(&self, probe: &Check, longest: Duration) -> Result<(), Fault> {
        let mut attempts = 1;
        loop {
            match self.decide(std::slice::from_ref(probe), longest).await {
                Ok(_) => return Ok(()),
                Err(fault) if fault.kind() != FaultKind::Timeout || attempts == PROOFS => {
                    return Err(fault);
                }
                Err(_) => attempts += 1,
            }
        }
    }

    /// EVALSHA, and EVAL where Redis does not know the script: after a restart, a failover or a
    /// SCRIPT FLUSH. EVAL also teaches it.
    async fn run(&self, call: &Call<'_>) -> Result<Value, Fault> {
        let mut connection = self.connection.clone();
        let known = call.command("EVALSHA", &self.script_hash, Now::Redis);
        match known.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let whole = call.command("EVAL", SOURCE, Now::Redis);
                Ok(whole.query_async(&mut connection).await?)
            }
            answer => Ok(answer?),
        }
    }
}
