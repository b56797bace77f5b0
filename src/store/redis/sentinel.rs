//! The Sentinels of a master: where it is, and when another server takes its place.
//!
//! What a server is said to be is for whoever connects to it to see: nothing here asks it. Not
//! promised: that there is one answer at a time. While the Sentinels agree on another master, some
//! still name the old one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, RedisResult, Value, cmd,
    from_redis_value, pipe,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address::{Access, Login, Place};
use super::fault::{Fault, FaultKind};

/// Longest wait for a Sentinel, be it to connect and ask or for a single answer.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Longest wait for those that are left when most have answered.
const REST_MAX: Duration = Duration::from_millis(100);
/// How often the Sentinel that is listened to is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(1);
/// After so many of its answers all are asked: that one may be cut off from the others.
const PINGS: u32 = 5;
/// Longest pause before the next Sentinel is listened to.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Why a Sentinel names no place. The name is that in the configuration.
const UNKNOWN: &str = "no master is called so: in place of the host `store.url` has what the \
    Sentinels call it";
/// Where a Sentinel says that a master is another server now.
const CHANNEL: &str = "+switch-master";

/// The Sentinels of a master, and who the gateway is there.
#[derive(Clone, Copy)]
pub struct SentinelAddress<'a> {
    /// What they call the master.
    pub master: &'a str,
    /// Host and port of each; there is at least one.
    pub servers: &'a [(String, u16)],
    /// Not that of the master.
    pub login: Login<'a>,
}

/// The Sentinels of one master.
pub(super) struct Sentinels {
    master: String,
    servers: Vec<Place>,
    access: Access,
}

/// What a Sentinel knows of the master.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    /// Counts the masters that the Sentinels have agreed on; 0 where it is not told.
    epoch: u64,
    place: Place,
}

/// What has been heard from the Sentinel that is listened to. The newest counts, so there is no
/// queue.
#[derive(Default)]
struct Heard {
    place: Option<Place>,
    gone: bool,
}

// === impl SentinelAddress ===

impl SentinelAddress<'_> {
    pub(super) fn sentinels(&self) -> Result<Sentinels, RedisError> {
        Ok(Sentinels {
            master: self.master.to_owned(),
            servers: self.servers.to_vec(),
            access: self.login.access()?,
        })
    }
}

// === impl Sentinels ===

impl Sentinels {
    /// Where the master is, as the Sentinel says that knows of the latest failover: one that was
    /// cut off may name the old master. All are asked at once.
    ///
    /// Whether they think that it is up does not count: while it is down they have no other yet,
    /// and who connects sees for himself.
    pub(super) async fn master(&self) -> Result<Place, Fault> {
        let mut asking = JoinSet::new();
        for server in &self.servers {
            let (client, master) = (self.access.client_at(server), self.master.clone());
            asking.spawn(async move { within(ask(&client?, &master)).await });
        }
        let (mut answers, mut last) = (Vec::new(), None);
        loop {
            // Most of them elect a master, so most of them know: who hangs holds nobody up.
            let next = asking.join_next();
            let asked = if answers.len() * 2 > self.servers.len() {
                timeout(REST_MAX, next).await.ok().flatten()
            } else {
                // Each is bounded by itself.
                next.await
            };
            match asked {
                Some(Ok(Ok(said))) => answers.push(said),
                // Who answers that he does not know says more than who does not answer.
                Some(Ok(Err(fault))) if says_more(&fault, last.as_ref()) => last = Some(fault),
                Some(_) => {}
                None => break,
            }
        }
        newest(&answers).ok_or_else(|| self.nobody_knows(last))
    }

    /// Calls `on` with the place of the master whenever a Sentinel says that it has changed, and
    /// with what [`Self::master`] says at first, after every interruption and every few seconds:
    /// mostly with the place that is known already. Goes on for ever.
    ///
    /// One Sentinel at a time is listened to. Gateways begin with different ones.
    pub(super) async fn watch(&self, on: impl Fn(Place)) {
        let first = fastrand::usize(..self.servers.len().max(1));
        for server in self.servers.iter().cycle().skip(first) {
            // Why does not matter: who asks for the master is told.
            let _gone = self.listen(server, &on).await;
            sleep(PAUSE_MAX.mul_f64(fastrand::f64())).await;
        }
    }

    /// Listens to the Sentinel at `server`; returns when it is gone.
    async fn listen(&self, server: &Place, on: &impl Fn(Place)) -> Result<Infallible, Fault> {
        let (mut connection, mut heard) = self.subscribe(server).await?;
        let mut told = None;
        let mut pings = PINGS;
        loop {
            // First of all once it is subscribed, so that nothing is missed in between.
            if pings == PINGS {
                pings = 0;
                on(self.master().await?);
            }
            tokio::select! {
                // Without the one who tells, the connection has ended.
                alive = heard.changed() => {
                    let news = heard.borrow_and_update();
                    let (place, gone) = (news.place.clone(), news.gone || alive.is_err());
                    drop(news);
                    if place != told {
                        told.clone_from(&place);
                        place.into_iter().for_each(on);
                    }
                    if gone {
                        return Err(Fault::new(FaultKind::Connection, "the Sentinel is gone"));
                    }
                }
                () = sleep(PING_EVERY) => {
                    // The answer is of no interest; a fault is.
                    let _: Value = within(cmd("PING").query_async(&mut connection)).await?;
                    pings += 1;
                }
            }
        }
    }

    async fn subscribe(
        &self,
        server: &Place,
    ) -> Result<(MultiplexedConnection, watch::Receiver<Heard>), Fault> {
        let (tell, heard) = watch::channel(Heard::default());
        let master = self.master.clone();
        let push = move |push: PushInfo| {
            tell.send_if_modified(|heard| heard.take(&push, &master));
            Ok::<_, Infallible>(())
        };
        let client = self.access.client_at(server)?;
        let config = config().set_push_sender(push);
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(opening).await?;
        within(connection.subscribe(CHANNEL)).await?;
        Ok((connection, heard))
    }

    fn nobody_knows(&self, last: Option<Fault>) -> Fault {
        let last = last.unwrap_or_else(Fault::unanswered);
        let kind = match last.kind() {
            FaultKind::Timeout => FaultKind::Timeout,
            _ => FaultKind::Connection,
        };
        let count = self.servers.len();
        Fault::new(kind, format!("none of {count} Sentinels says where the master is ({last})"))
    }
}

// === impl Heard ===

impl Heard {
    /// Whether `push` is news: the connection has ended, or `master` is another server now.
    fn take(&mut self, push: &PushInfo, master: &str) -> bool {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => self.gone = true,
            (PushKind::Message, [_, Value::BulkString(message)]) => {
                let Some(place) = switched(message, master) else { return false };
                self.place = Some(place);
            }
            _ => return false,
        }
        true
    }
}

// === asking ===

fn config() -> AsyncConnectionConfig {
    // The bound is `within`.
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

async fn within<T, E>(asking: impl Future<Output = Result<T, E>>) -> Result<T, Fault>
where
    Fault: From<E>,
{
    Ok(timeout(ANSWER_MAX, asking).await.map_err(|_| Fault::unanswered())??)
}

fn says_more(fault: &Fault, than: Option<&Fault>) -> bool {
    fault.kind() == FaultKind::ErrorReply
        || than.is_none_or(|than| than.kind() != FaultKind::ErrorReply)
}

/// What the Sentinel of `client` knows of `master`.
///
/// Two questions: a Sentinel that leads a failover already counts it while its `MASTER` still has
/// the old place. In this order: what changes in between makes the answer older than it is, not
/// newer.
async fn ask(client: &Client, master: &str) -> Result<Said, Fault> {
    let mut connection = client.get_multiplexed_async_connection_with_config(&config()).await?;
    let mut both = pipe();
    both.ignore_errors();
    both.cmd("SENTINEL").arg("MASTER").arg(master);
    both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let replies: Vec<RedisResult<Value>> = both.query_async(&mut connection).await?;
    let [about, place] =
        <[RedisResult<Value>; 2]>::try_from(replies).map_err(|_| Fault::malformed())?;
    said(about, place?)
}

/// What the answers to both questions say. Where the first is refused, the epoch is missing.
fn said(about: RedisResult<Value>, place: Value) -> Result<Said, Fault> {
    let place: Option<(String, u16)> = from_redis_value(place).map_err(|_| Fault::malformed())?;
    let Some(place) = place.filter(|(host, port)| !host.is_empty() && *port != 0) else {
        return Err(Fault::new(FaultKind::ErrorReply, UNKNOWN));
    };
    let fields = about.ok().and_then(|about| from_redis_value(about).ok());
    let fields: HashMap<String, String> = fields.unwrap_or_default();
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    Ok(Said { epoch: epoch.unwrap_or(0), place })
}

/// The place with the highest epoch; where that names several, the one that most agree on.
fn newest(answers: &[Said]) -> Option<Place> {
    let votes = |said: &Said| answers.iter().filter(|other| *other == said).count();
    let newest = answers.iter().max_by_key(|said| (said.epoch, votes(said)))?;
    Some(newest.place.clone())
}

/// The new place in a message of [`CHANNEL`], if it is about `master`: its name, the old host and
/// port, and the new ones.
fn switched(message: &[u8], master: &str) -> Option<Place> {
    let message = std::str::from_utf8(message).ok()?;
    let words: Vec<&str> = message.split(' ').collect();
    let [name, _, _, host, port] = words.as_slice() else { return None };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (*name == master && !host.is_empty()).then(|| ((*host).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind};

    use super::*;

    fn place(host: &str, port: u16) -> Place {
        (host.to_owned(), port)
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn heard(kind: PushKind, data: Vec<Value>) -> (bool, Heard) {
        let mut heard = Heard::default();
        (heard.take(&PushInfo { kind, data }, "counts"), heard)
    }

    #[test]
    fn a_switch_of_this_master_is_news() {
        let message = |message: &str| heard(PushKind::Message, vec![text(CHANNEL), text(message)]);
        let (news, heard) = message("counts 10.0.0.1 6379 10.0.0.2 6380");
        assert_eq!((news, heard.place, heard.gone), (true, Some(place("10.0.0.2", 6_380)), false));
        let (_, heard) = message("counts ::1 6379 2001:db8::2 6380");
        assert_eq!(heard.place, Some(place("2001:db8::2", 6_380)));
        for other in [
            "counts2 10.0.0.1 6379 10.0.0.2 6380",
            "Counts 10.0.0.1 6379 10.0.0.2 6380",
            "counts 10.0.0.1 6379 10.0.0.2 0",
            "counts 10.0.0.1 6379 10.0.0.2 65536",
            "counts 10.0.0.1 6379 10.0.0.2",
            "counts 10.0.0.1 6379 10.0.0.2 6380 more",
            "counts 10.0.0.1 6379  6380",
            "",
        ] {
            let (news, heard) = message(other);
            assert_eq!((news, heard.place), (false, None), "{other}");
        }
    }

    #[test]
    fn a_lost_connection_is_news_and_a_subscription_is_not() {
        let (news, lost) = heard(PushKind::Disconnection, Vec::new());
        assert!(news && lost.gone && lost.place.is_none());
        let (news, _) = heard(PushKind::Subscribe, vec![text(CHANNEL), Value::Int(1)]);
        assert!(!news);
    }

    #[test]
    fn the_latest_failover_counts_and_not_the_majority() {
        let said = |epoch, host| Said { epoch, place: place(host, 6_379) };
        let answers = [said(3, "old"), said(10, "new"), said(3, "old")];
        assert_eq!(newest(&answers), Some(place("new", 6_379)));
        let answers = [said(0, "b"), said(0, "a"), said(0, "b"), said(0, "c")];
        assert_eq!(newest(&answers), Some(place("b", 6_379)), "without epochs most count");
        assert_eq!(newest(&[]), None);
    }

    #[test]
    fn a_sentinel_may_keep_its_epoch_to_itself_but_not_the_place() {
        let fields = ["name", "counts", "ip", "10.0.0.1", "port", "6379", "config-epoch", "12"];
        let about = Value::Array(fields.into_iter().map(text).collect());
        let at = || Value::Array(vec![text("10.0.0.2"), text("6380")]);
        let place = place("10.0.0.2", 6_380);
        let full = said(Ok(about.clone()), at()).expect("an answer");
        assert_eq!(full, Said { epoch: 12, place: place.clone() });
        let denied = || RedisError::from((ErrorKind::Server(ServerErrorKind::NoPerm), "no"));
        assert_eq!(said(Err(denied()), at()).expect("an answer"), Said { epoch: 0, place });
        let unknown = said(Err(denied()), Value::Nil).expect_err("nothing");
        assert_eq!(unknown.kind(), FaultKind::ErrorReply);
        let malformed = said(Ok(about), Value::Int(1)).expect_err("nothing");
        assert_eq!(malformed.kind(), FaultKind::MalformedReply);
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_how_many_were_asked_and_no_password() {
        // Bound and not accepted from: each connects, and nobody answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = |listener: &std::net::TcpListener| {
            place("127.0.0.1", listener.local_addr().expect("an address").port())
        };
        let (silent_at, closed_at) = (at(&silent), at(&closed));
        drop(closed);
        let of = |servers: Vec<Place>| {
            let login = Login {
                username: Some("gate"),
                password: Some("hunter2"),
                tls: false,
                ca: None,
                client: None,
            };
            let address = SentinelAddress { master: "counts", servers: &servers, login };
            address.sentinels().expect("Sentinels")
        };
        let fault = of(vec![closed_at.clone(), closed_at.clone()]).master().await;
        let fault = fault.expect_err("no master");
        assert_eq!(fault.kind(), FaultKind::Connection);
        assert!(fault.to_string().contains("none of 2 Sentinels"), "{fault}");
        let fault = of(vec![closed_at, silent_at]).master().await.expect_err("no master");
        assert_eq!(fault.kind(), FaultKind::Timeout, "the last to fail");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}
