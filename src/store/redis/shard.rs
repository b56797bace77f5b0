//! One server of the store: its connection, its breaker, what it is owed, and its clock.
//!
//! A single Redis and one behind Sentinel are one shard, which serves every key. A cluster has a
//! shard for each master. Each is by itself: one that is away takes nothing from the others.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;

use super::address::Place;
use super::advice::Found;
use super::common::Common;
use super::fault::{Fault, FaultKind};
use super::heartbeat::Heart;
use super::link::Link;
use super::lock;
use super::restore::Debts;
use super::sentinel::Sentinels;
use super::slots::{Slots, slot_of};
use super::status::Reading;
use crate::limit::{Check, Key, Micros, Timestamp};
use crate::store::breaker::{Breaker, Position};

/// Keys that a server of a cluster is probed with, one after the other.
const PROBES: usize = 3;
/// The subject of the gateway's own keys where one server has them all.
const SUBJECT: &str = "gateway";

/// How far ahead a clock is that has not been met.
const UNMET: i64 = i64::MIN;

/// A server of the store.
pub(super) struct Shard {
    pub(super) common: Arc<Common>,
    server: Server,
    /// What is served here, and the keys of the gateway's own; they change when slots move.
    duty: ArcSwap<Duty>,
    pub(super) link: ArcSwapOption<Link>,
    breaker: Mutex<Breaker>,
    /// The fault of a call that opened the breaker, for the supervisor.
    pub(super) cause: Mutex<Option<Fault>>,
    pub(super) broken: Notify,
    /// Slots have come here of which nobody has told the server: no pause before that. The other
    /// gateways are as quick, and wait for one another.
    pub(super) bequeathed: Notify,
    /// There is a better place to connect to: no pause.
    pub(super) hurried: Notify,
    /// How often the server has turned out to be elsewhere.
    left: AtomicU64,
    /// Whether the first attempt to connect has ended, well or not.
    tried: AtomicBool,
    position: AtomicU8,
    latency_us: AtomicU64,
    pub(super) debts: Mutex<Debts>,
    /// Microseconds by which the server's clock is ahead of this process'.
    ahead_us: AtomicI64,
}

/// How the server is found.
pub(super) enum Server {
    /// The configuration says where it is.
    Configured,
    /// Sentinel does, afresh at every attempt; the last answer.
    Watched(Box<Sentinels>, Mutex<Option<Place>>),
    /// The map of the cluster does.
    Mapped(Mutex<Place>),
}

/// What a shard is there for.
pub(super) struct Duty {
    /// That of the gateway's own keys there.
    pub(super) subject: String,
    /// The slots that it serves; `None`: all there are.
    pub(super) slots: Option<Slots>,
    /// One, or a few in different slots: one of them may be moving.
    pub(super) probes: Vec<Check>,
    pub(super) heart: Arc<Heart>,
}

// === impl Shard ===

impl Shard {
    /// The shard that serves every key.
    pub(super) fn only(common: Arc<Common>, server: Server) -> Self {
        let duty = Duty::new(&common, SUBJECT.to_owned(), None);
        Self::new(common, server, duty)
    }

    /// The shard of a cluster at `place`.
    pub(super) fn mapped(common: Arc<Common>, place: Place, slots: Slots) -> Self {
        let duty = Duty::new(&common, slots.tag(), Some(slots));
        Self::new(common, Server::Mapped(Mutex::new(place)), duty)
    }

    fn new(common: Arc<Common>, server: Server, duty: Duty) -> Self {
        Self {
            breaker: Mutex::new(Breaker::new(common.clock.now())),
            common,
            server,
            duty: ArcSwap::from_pointee(duty),
            link: ArcSwapOption::empty(),
            cause: Mutex::new(None),
            broken: Notify::new(),
            bequeathed: Notify::new(),
            hurried: Notify::new(),
            left: AtomicU64::new(0),
            tried: AtomicBool::new(false),
            position: AtomicU8::new(Position::Open.number()),
            latency_us: AtomicU64::new(0),
            debts: Mutex::default(),
            ahead_us: AtomicI64::new(UNMET),
        }
    }

    /// A new connection to where the server is now.
    pub(super) async fn open(&self) -> Result<Link, Fault> {
        let access = &self.common.access;
        let client = match &self.server {
            Server::Configured => access.client(),
            Server::Watched(sentinels, last) => {
                let place = sentinels.master().await?;
                let client = access.client_at(&place);
                *lock(last) = Some(place);
                client
            }
            Server::Mapped(place) => access.client_at(&lock(place)),
        };
        Link::open(&client?).await
    }

    /// Where the server is, as far as somebody else than the configuration says so.
    pub(super) fn place(&self) -> Option<Place> {
        match &self.server {
            Server::Configured => None,
            Server::Watched(_, last) => lock(last).clone(),
            Server::Mapped(place) => Some(lock(place).clone()),
        }
    }

    /// The same for people.
    pub(super) fn name(&self) -> Option<String> {
        self.place().map(|(host, port)| format!("{host}:{port}"))
    }

    /// How it was found.
    pub(super) const fn found(&self) -> Found {
        match &self.server {
            Server::Configured => Found::Named,
            Server::Watched(..) => Found::Watched,
            Server::Mapped(_) => Found::Mapped,
        }
    }

    /// Follows what Sentinel says of the master, for ever, if it is asked at all.
    pub(super) async fn follow(&self) {
        let Server::Watched(sentinels, last) = &self.server else { return };
        let told = |place: Place| {
            let elsewhere = lock(last).as_ref().is_some_and(|last| *last != place);
            if elsewhere {
                self.leave(&format!("the master is at {}:{} now", place.0, place.1));
            }
        };
        sentinels.watch(told).await;
    }

    /// The map of the cluster says where the shard is, and what it serves. Returns what it served
    /// before, if that was something else.
    pub(super) fn assign(&self, at: &Place, slots: &Slots) -> Option<Slots> {
        let duty = self.duty.load_full();
        let before = duty.slots.clone().filter(|before| before != slots);
        if before.is_some() {
            let mut new = Duty::new(&self.common, slots.tag(), Some(slots.clone()));
            if new.subject == duty.subject {
                new.heart = Arc::clone(&duty.heart);
            } else if self.link.load().is_some() {
                // Under its new name it has not beaten yet, and nothing was forgotten.
                new.heart.begin_anew();
            }
            self.duty.store(Arc::new(new));
        }
        if let Server::Mapped(place) = &self.server {
            let was = std::mem::replace(&mut *lock(place), at.clone());
            if was != *at {
                self.leave(&format!("its slots are served by {}:{} now", at.0, at.1));
            }
        }
        before
    }

    /// Gives the connection up, and makes a new one at once.
    fn leave(&self, why: &str) {
        self.left.fetch_add(1, Ordering::AcqRel);
        *lock(&self.cause) = Some(Fault::new(FaultKind::Away, why));
        self.link.store(None);
        self.breaker().hurry(self.common.clock.now());
        self.show_position();
        self.broken.notify_one();
        self.hurried.notify_one();
    }

    pub(super) fn times_left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    pub(super) fn duty(&self) -> Arc<Duty> {
        self.duty.load_full()
    }

    /// Whether `key` belongs here.
    pub(super) fn serves(&self, key: &str) -> bool {
        let duty = self.duty.load();
        duty.slots.as_ref().is_none_or(|slots| slots.contain(slot_of(key.as_bytes())))
    }

    /// Microseconds by which the server's clock is ahead of this process', as it was last met.
    pub(super) fn ahead_us(&self) -> Option<i64> {
        Some(self.ahead_us.load(Ordering::Relaxed)).filter(|ahead| *ahead != UNMET)
    }

    /// The present moment by the server's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.common.clock.now().moved(self.ahead_us().unwrap_or(0))
    }

    /// Sets this gateway's idea of the server's clock by an answer that has just come.
    pub(super) fn meet(&self, theirs: Timestamp) {
        let ahead = theirs.ahead_of(self.common.clock.now());
        self.ahead_us.store(ahead, Ordering::Relaxed);
    }

    /// Tells the breaker of an answer; false if `link` is no longer the present one.
    pub(super) fn answered_on(&self, link: &Arc<Link>) -> bool {
        let present = self.is_present(link);
        if present {
            self.breaker().answered();
        }
        present
    }

    /// Counts the fault of a call on `link` and tells the breaker; if that opens it, the link is
    /// given up. Late faults of a link given up earlier say nothing about the present one.
    pub(super) fn note(&self, link: &Arc<Link>, fault: Fault) -> Fault {
        if self.is_present(link) {
            let now = self.common.clock.now();
            let opened = match fault.kind() {
                // One key with a foreign value is no reason to give the whole store up.
                FaultKind::Timeout | FaultKind::MalformedReply => {
                    self.breaker().unanswered(now, fastrand::f64())
                }
                // It says where to go: it is well.
                FaultKind::Moved => false,
                _ => self.breaker().failed(now, fastrand::f64()),
            };
            if opened {
                *lock(&self.cause) = Some(fault.clone());
                self.link.store(None);
                self.show_position();
                self.broken.notify_one();
                self.common.remap.notify_one();
            }
        }
        self.common.count(fault)
    }

    /// Its first attempt to connect has ended.
    pub(super) fn has_tried(&self) {
        if !self.tried.swap(true, Ordering::AcqRel) {
            self.common.tried.notify_one();
        }
    }

    pub(super) fn is_tried(&self) -> bool {
        self.tried.load(Ordering::Acquire)
    }

    pub(super) fn took(&self, latency: Micros) {
        self.latency_us.store(latency.get(), Ordering::Relaxed);
    }

    pub(super) fn show_position(&self) {
        self.position.store(self.breaker().position().number(), Ordering::Relaxed);
    }

    /// What the operator sees of it.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            name: self.name(),
            position: Position::numbered(self.position.load(Ordering::Relaxed)),
            latency: Micros::new(self.latency_us.load(Ordering::Relaxed)),
        }
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        lock(&self.breaker)
    }

    fn is_present(&self, link: &Arc<Link>) -> bool {
        self.link.load().as_ref().is_some_and(|present| Arc::ptr_eq(present, link))
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("reading", &self.reading()).finish_non_exhaustive()
    }
}

// === impl Duty ===

impl Duty {
    fn new(common: &Common, subject: String, slots: Option<Slots>) -> Self {
        let probe = |subject: &String| {
            let policy = Arc::clone(&common.probe);
            let key = Key::new(&common.key_prefix, subject, &policy);
            Check::new(policy, key, 1)
        };
        let probes = match &slots {
            Some(slots) => slots.tags(PROBES).iter().map(probe).collect(),
            None => vec![probe(&subject)],
        };
        let heart = Arc::new(Heart::new(&common.key_prefix, &subject, &common.name));
        Self { subject, slots, probes, heart }
    }
}
