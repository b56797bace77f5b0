//! Requests made up by chance, always the same ones, and the lines that log them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde_json::json;

/// Half an hour before a midnight of UTC, in seconds since the epoch.
pub(super) const START_S: u64 = 1_763_078_400 - 1_800;

/// A request that somebody made.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) client: IpAddr,
    /// When, in milliseconds since the epoch.
    pub(super) at_ms: u64,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) host: &'static str,
    pub(super) user: Option<String>,
    pub(super) agent: String,
}

/// Requests of many clients, some of them busy, over about an hour.
pub(super) fn requests(number: usize) -> Vec<Request> {
    let mut chance = fastrand::Rng::with_seed(7);
    let each = 3_600_000.0 / number as f64;
    let request = |place: usize| {
        // The few with low numbers ask most of the time.
        let client = (chance.f64().powi(4) * 3_000.0) as u32;
        let late = if chance.u8(..) < 10 { chance.u64(..4_000) } else { 0 };
        Request {
            client: address(client),
            at_ms: START_S * 1_000 + (place as f64 * each) as u64 + 4_000 - late,
            method: ["GET", "GET", "HEAD", "POST", "DELETE"][chance.usize(..5)],
            target: target(&mut chance),
            host: ["example.org", "api.example.org", "Other.example:8080"][chance.usize(..3)],
            user: chance.bool().then(|| format!("user-{}", client % 50)),
            agent: format!("agent/{}", chance.u8(..20)),
        }
    };
    (0..number).map(request).collect()
}

fn address(client: u32) -> IpAddr {
    if client.is_multiple_of(3) {
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(client) << 62 | 1).into()
    } else {
        Ipv4Addr::from_bits(0xcb00_0000 + client).into()
    }
}

fn target(chance: &mut fastrand::Rng) -> String {
    match chance.u8(..8) {
        0 => "/".to_owned(),
        1 => "/login".to_owned(),
        2 => format!("/api/items/{}", chance.u16(..500)),
        3 => format!("/api/./x//{}", chance.u8(..3)),
        4 => format!("/search?q=%41{}&page={}", chance.u8(..5), chance.u8(..9)),
        5 => "/health".to_owned(),
        6 => format!("/a%2Fb/{}", chance.u8(..4)),
        _ => format!("/pages/{}", chance.u8(..100)),
    }
}

impl Request {
    /// As nginx writes it with `escape=json`.
    pub(super) fn json(&self) -> String {
        json!({
            "msec": format!("{}.{:03}", self.at_ms / 1_000, self.at_ms % 1_000),
            "remote_addr": self.client.to_string(),
            "remote_user": self.user.as_deref().unwrap_or(""),
            "request": format!("{} {} HTTP/1.1", self.method, self.target),
            "status": "200",
            "http_host": self.host,
            "http_user_agent": self.agent,
        })
        .to_string()
    }

    /// In the common format: to the second, without a host.
    pub(super) fn common(&self) -> String {
        let at = Timestamp::from_second((self.at_ms / 1_000).cast_signed()).expect("a time");
        let user = self.user.as_deref().unwrap_or("-");
        let time = at.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let Self { client, method, target, .. } = self;
        format!("{client} - {user} [{time}] \"{method} {target} HTTP/1.1\" 200 5")
    }

    /// In the combined format.
    pub(super) fn combined(&self) -> String {
        format!("{} \"-\" \"{}\"", self.common(), self.agent)
    }
}

/// The lines of a log.
pub(super) fn log(requests: &[Request], line: impl Fn(&Request) -> String) -> String {
    requests.iter().fold(String::new(), |mut log, request| {
        writeln!(log, "{}", line(request)).expect("a text takes everything");
        log
    })
}
