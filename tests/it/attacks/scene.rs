//! A gateway in front of an application that notes what it gets, and requests as bytes.

use std::io::Write;
use std::net::TcpStream;

use crate::support::app::App;
use crate::support::gateway::{Gateway, app_at};
use crate::support::raw;

/// More than any test asks for.
const QUOTA: u64 = 1_000_000;
/// Everybody's requests, by address.
const POLICIES: &str = "[policies.all]\nquota = 1000000\nwindow = \"1h\"\n\
                        [[rules]]\npath = \"/**\"\npolicies = [\"all\"]\n";

/// A gateway whose policy `all` counts every request.
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) gateway: Gateway,
}

/// What came back.
pub(super) struct Answer {
    /// In lower case, but for the status line.
    pub(super) head: String,
    pub(super) status: u16,
}

impl Scene {
    /// With `config` besides: sections.
    pub(super) fn new(config: &str) -> Self {
        Self::with_server("", config)
    }

    /// With further keys of `[server]` and sections.
    pub(super) fn with_server(server: &str, config: &str) -> Self {
        let app = App::start();
        let rest = format!("{}{config}{POLICIES}", app_at(app.address()));
        let text = format!("{server}[store]\nkind = \"local\"\n{rest}");
        let gateway = Gateway::start(&text);
        Self { app, gateway }
    }

    /// Sends these bytes and reads until the gateway closes.
    pub(super) fn send(&self, bytes: &[u8]) -> Answer {
        Answer::of(&raw::exchange(self.gateway.public(), bytes))
    }

    /// Asks for `target` with these header lines, each ended by a line break, besides a host.
    pub(super) fn get(&self, target: &str, lines: &str) -> Answer {
        self.send(request("GET", target, &format!("host: a\r\n{lines}")).as_bytes())
    }

    /// How many requests the application has got.
    pub(super) fn served(&self) -> usize {
        self.app.seen().len()
    }

    /// How many requests have been refused for this.
    pub(super) fn malformed(&self, reason: &str) -> u64 {
        let label = format!("reason=\"{reason}\"");
        whole(self.gateway.metric("sluicegate_requests_malformed_total", &[&label]))
    }

    /// How many decisions the policy has made.
    pub(super) fn charged(&self, policy: &str) -> u64 {
        let labels = [&*format!("policy=\"{policy}\""), "decision=\"allow\""];
        whole(self.gateway.metric("sluicegate_decisions_total", &labels))
    }

    /// Refused with this status, for this reason, before the application or any limit heard of it.
    pub(super) fn refused(&self, status: u16, reason: &str, request: &str) {
        let before = (self.malformed(reason), self.served(), self.charged("all"));
        let answer = self.send(request.as_bytes());
        assert_eq!(answer.status, status, "{request}: {}", answer.head);
        assert!(answer.head.contains("connection: close"), "{request}: {}", answer.head);
        let after = (self.malformed(reason), self.served(), self.charged("all"));
        assert_eq!(after, (before.0 + 1, before.1, before.2), "{reason}: {request}");
    }

    /// Refused with 400, whoever in the gateway does it.
    pub(super) fn refused_somewhere(&self, request: &[u8]) {
        let before = (self.served(), self.charged("all"));
        let answer = self.send(request);
        let shown = request.escape_ascii();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.head);
        assert_eq!((self.served(), self.charged("all")), before, "{shown}");
    }
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self { head: head.to_ascii_lowercase(), status: status.unwrap_or(0) }
    }

    /// How much the policies have left of the one that is used up first.
    pub(super) fn remaining(&self) -> u64 {
        let line = self.head.lines().find_map(|line| line.strip_prefix("x-ratelimit-remaining: "));
        line.expect("a policy counted it").parse().expect("a number")
    }

    /// How many requests of the same client have been counted.
    pub(super) fn counted(&self) -> u64 {
        QUOTA - self.remaining()
    }
}

/// One connection that stays open.
pub(super) struct Kept(TcpStream);

impl Kept {
    pub(super) fn open(scene: &Scene) -> Self {
        Self(raw::connect(scene.gateway.public()))
    }

    /// Asks for `/` with these header lines.
    pub(super) fn get(&mut self, lines: &str) -> Answer {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        self.0.write_all(request.as_bytes()).expect("the gateway reads");
        Answer::of(raw::read_answer(&mut self.0).0.as_bytes())
    }
}

/// A request of HTTP/1.1 after which the connection closes.
pub(super) fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n{lines}\r\n")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(value: f64) -> u64 {
    value as u64
}
