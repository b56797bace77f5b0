//! A connection to Redis, and the script calls on it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisResult, ServerErrorKind, Value, cmd,
    from_redis_value, pipe,
};
use tokio::time::timeout;

use super::fault::{Fault, FaultKind};
use super::scripts::{DECIDE, DECIDE_QUOTAS, Script};
use crate::limit::{Check, Timestamp};
use crate::store::script::{Answer, Call, Now};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Calls under way on a connection at most; more wait, within their deadline.
const CONCURRENCY_MAX: usize = 1024;
/// Attempts at a proof: one slow answer is a hiccup.
const PROOFS: u32 = 3;

/// A connection to Redis.
pub(super) struct Link {
    connection: MultiplexedConnection,
}

/// As whom a call is sent to a server of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The server serves the slot.
    Own,
    /// It is about to.
    Guest,
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
        Ok(Self { connection })
    }

    /// The connection, for calls that are no script. It is shared, not copied.
    pub(super) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Decides all checks of one request, within `longest`.
    pub(super) async fn decide(
        &self,
        checks: &[Check],
        longest: Duration,
    ) -> Result<Answer, Fault> {
        let requests = [checks];
        let call = Call::new(&requests);
        let command = |verb: &str, script: &str| call.command(verb, script, Now::Redis);
        let script = if call.is_about_quotas() { &DECIDE_QUOTAS } else { &DECIDE };
        let reply = self.run(script, command, longest).await?;
        Ok(call.answer(&reply)?)
    }

    /// Runs the real script, with a write, as a request would: within the same `longest`.
    pub(super) async fn prove(&self, probe: &Check, longest: Duration) -> Result<Answer, Fault> {
        let mut attempts = 1;
        loop {
            match self.decide(std::slice::from_ref(probe), longest).await {
                Err(fault) if fault.kind() == FaultKind::Timeout && attempts < PROOFS => {
                    attempts += 1;
                }
                proof => return proof,
            }
        }
    }

    /// What Redis says of itself.
    pub(super) async fn info(&self, longest: Duration) -> Result<String, Fault> {
        let mut connection = self.connection.clone();
        let command = cmd("INFO");
        let asking = command.query_async(&mut connection);
        let said = timeout(longest, asking).await.map_err(|_| Fault::unanswered())?;
        Ok(said?)
    }

    /// Redis' clock: seconds and microseconds.
    pub(super) async fn time(&self, longest: Duration) -> Result<(u64, u64), Fault> {
        let mut connection = self.connection.clone();
        let command = cmd("TIME");
        let asking = command.query_async(&mut connection);
        Ok(timeout(longest, asking).await.map_err(|_| Fault::unanswered())??)
    }

    /// Redis' clock and the values of `keys`, of which there is at least one.
    pub(super) async fn read(
        &self,
        turn: Turn,
        keys: &[&str],
        longest: Duration,
    ) -> Result<((u64, u64), Vec<Value>), Fault> {
        let time = self.time(longest).await?;
        let mut values = cmd("MGET");
        values.arg(keys);
        let asking = self.send(turn, values);
        let reply = timeout(longest, asking).await.map_err(|_| Fault::unanswered())??;
        Ok((time, from_redis_value(reply?).map_err(|_| Fault::malformed())?))
    }

    /// How many members of the sorted set `key` lie behind the first moment and not behind the last.
    pub(super) async fn count(
        &self,
        turn: Turn,
        key: &str,
        (first, last): (Timestamp, Timestamp),
        longest: Duration,
    ) -> Result<u64, Fault> {
        let mut count = cmd("ZCOUNT");
        count.arg(key).arg(format!("({}", first.as_micros())).arg(last.as_micros());
        let asking = self.send(turn, count);
        let reply = timeout(longest, asking).await.map_err(|_| Fault::unanswered())??;
        from_redis_value(reply?).map_err(|_| Fault::malformed())
    }

    /// Runs `script` by `command`, which is handed EVALSHA and the hash; and EVAL and the source
    /// where Redis does not know the script: after a restart, a failover or a SCRIPT FLUSH. EVAL
    /// also teaches it.
    pub(super) async fn run(
        &self,
        script: &Script,
        command: impl Fn(&str, &str) -> Cmd + Sync,
        longest: Duration,
    ) -> Result<Value, Fault> {
        self.run_in(Turn::Own, script, command, longest).await
    }

    /// The same, as a guest where the keys are still moving to.
    pub(super) async fn run_in(
        &self,
        turn: Turn,
        script: &Script,
        command: impl Fn(&str, &str) -> Cmd + Sync,
        longest: Duration,
    ) -> Result<Value, Fault> {
        let running = async {
            match self.send(turn, command("EVALSHA", script.hash())).await? {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    Ok(self.send(turn, command("EVAL", script.source())).await??)
                }
                answer => Ok(answer?),
            }
        };
        timeout(longest, running).await.map_err(|_| Fault::unanswered())?
    }

    /// The reply to `command`; as a guest only if the server lets us be one.
    async fn send(&self, turn: Turn, command: Cmd) -> Result<RedisResult<Value>, Fault> {
        let mut connection = self.connection.clone();
        if turn == Turn::Own {
            return Ok(command.query_async(&mut connection).await);
        }
        // It holds for one command, so nothing may come between.
        let mut both = pipe();
        both.cmd("ASKING").add_command(command);
        let replies = connection.send_packed_commands(&both, 0, 2).await?;
        let [asking, reply] = <[Value; 2]>::try_from(replies).map_err(|_| Fault::malformed())?;
        match (asking.extract_error(), reply.extract_error()) {
            // Whoever is no guest has not been served, unless the keys have arrived meanwhile.
            (Err(error), Err(_)) => Err(Fault::new(FaultKind::Moved, error.to_string())),
            (_, reply) => Ok(reply),
        }
    }
}
