//! Series of TLS to clients.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::series::{counters, gauges};

/// How a TLS handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Both sides agreed.
    Ok,
    /// They did not, or the client went away.
    Failed,
    /// The client took too long.
    Timeout,
}

#[derive(Debug)]
pub(super) struct TlsSeries {
    handshakes: IntCounterVec,
    expiry: IntGaugeVec,
}

// === impl TlsSeries ===

impl TlsSeries {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let handshakes = counters(
            registry,
            "tls_handshakes_total",
            "TLS handshakes with clients, by result.",
            &["result"],
        )?;
        for handshake in Handshake::ALL {
            handshakes.with_label_values(&[handshake.word()]);
        }
        let expiry = gauges(
            registry,
            "certificate_expiry_seconds",
            "When the certificate ends, in seconds since the epoch.",
            &["certificate"],
        )?;
        Ok(Self { handshakes, expiry })
    }

    pub(super) fn shaken(&self, handshake: Handshake) {
        self.handshakes.with_label_values(&[handshake.word()]).inc();
    }

    pub(super) fn handshakes(&self) -> [(&'static str, u64); 3] {
        Handshake::ALL.map(|handshake| {
            let word = handshake.word();
            (word, self.handshakes.with_label_values(&[word]).get())
        })
    }

    pub(super) fn show(&self, ends: &BTreeMap<String, i64>) {
        self.expiry.reset();
        for (name, end) in ends {
            self.expiry.with_label_values(&[name.as_str()]).set(*end);
        }
    }
}

// === impl Handshake ===

impl Handshake {
    const ALL: [Self; 3] = [Self::Ok, Self::Failed, Self::Timeout];

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
        }
    }
}
