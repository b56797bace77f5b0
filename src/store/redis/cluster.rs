//! Keeps the map of a cluster: which master serves which slots, and a shard for each of them.
//!
//! The map is asked for at the start, when a call was sent elsewhere, when a server goes away and
//! until it is back, and once in a while. Several servers are asked at once, and the one that has
//! seen the latest election is believed: one that was cut off from the others knows an older map.
//!
//! A shard stays what it is when a replica takes its place: its slots are the same, so what the
//! gateway owes it is told to the new master.
//!
//! Slots that come from a master which is away, an operator's work, hold nothing: they are not asked
//! about at the new one before all is told that the gateways know of them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Value, cmd, pipe};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::RedisStore;
use super::address::Place;
use super::advice::said;
use super::fault::{Fault, FaultKind};
use super::link::Link;
use super::route::Shards;
use super::shard::Shard;
use super::slots::{Master, SLOTS, SlotMap, tag_in};
use crate::store::local::LocalStore;

/// How often the map is asked for where nothing seems to have changed.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// How often while a server is away or a slot is not served.
const SEARCH_EVERY: Duration = Duration::from_millis(250);
/// Pause between two questions, however much happens: a resharding moves slot after slot.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);
/// Longest wait for a map.
const MAP_TIMEOUT: Duration = Duration::from_millis(500);
/// What is done meanwhile.
const STANDS: &str = "the last map stands, and without one each gateway decides by itself";
/// Servers that are asked at once.
const ASKED_MAX: usize = 5;

/// Whether a server is in touch with the others, and how many elections it has seen.
pub(super) type Seen = (bool, u64);

/// What a server says of its cluster.
#[derive(Clone)]
pub(super) struct Said {
    seen: Seen,
    pub(super) map: SlotMap,
}

/// The shards that are kept connected, each by a task of its own. All end when this is dropped.
#[derive(Default)]
struct Supervised {
    tasks: JoinSet<()>,
    shards: Vec<(Arc<Shard>, AbortHandle)>,
}

// === impl RedisStore ===

impl RedisStore {
    /// Keeps the map, and every shard on it connected, for as long as the process runs.
    pub(super) async fn keep_map(&self, seeds: &[Place], local: &Arc<LocalStore>) {
        let (mut known, mut complained, mut seen) = (seeds.to_vec(), false, (false, 0));
        let mut supervised = Supervised::default();
        loop {
            match self.ask_for_map(&known, seen).await {
                Ok(said) => {
                    let map = said.map;
                    seen = said.seen;
                    known.clone_from(&map.servers);
                    known.extend(seeds.iter().filter(|seed| !map.servers.contains(seed)).cloned());
                    self.redraw(&map);
                    // Some may be reachable now that were not.
                    local.permits().wake();
                    complained = false;
                }
                Err(fault) => {
                    let fault = self.common.count(fault);
                    if !complained {
                        tracing::warn!(%fault, "cannot ask the cluster who serves what: {STANDS}");
                    }
                    complained = true;
                }
            }
            supervised.follow(&self.shards.load().all, local);
            self.common.mapped();
            sleep(REFRESH_PAUSE).await;
            let pause = if self.is_whole() { REFRESH_EVERY } else { SEARCH_EVERY };
            let _ = timeout(pause, self.common.remap.notified()).await;
        }
    }

    /// Asks some of `known` at once, those first to whom there is a connection, and others as long as
    /// nobody knows as much as was known before. Returns what is believed: of those that have seen
    /// the latest election, what most of them say.
    pub(super) async fn ask_for_map(&self, known: &[Place], before: Seen) -> Result<Said, Fault> {
        let mut last = Fault::new(FaultKind::Connection, "no server of the cluster answers");
        let mut said: Vec<Said> = Vec::new();
        for some in self.in_turn(known) {
            for answer in join_all(some.iter().map(|place| self.ask_at(place))).await {
                match answer {
                    Ok(answer) => said.push(answer),
                    Err(fault) => last = fault,
                }
            }
            if said.iter().any(|said| said.seen >= before && said.seen.0) {
                break;
            }
        }
        let latest = said.iter().map(|said| said.seen).max();
        said.retain(|said| Some(said.seen) == latest);
        let alike = |one: &Said| said.iter().filter(|other| other.map == one.map).count();
        let believed = said.iter().max_by_key(|said| alike(said)).cloned();
        believed.ok_or(last)
    }

    /// Whom to ask together: those with a connection first, all in a random order.
    fn in_turn(&self, known: &[Place]) -> Vec<Vec<Place>> {
        let shards = self.shards.load();
        let linked = shards.all.iter().filter(|shard| shard.link.load().is_some());
        let linked: Vec<Place> = linked.filter_map(|shard| shard.place()).collect();
        let (mut near, mut far): (Vec<Place>, Vec<Place>) =
            known.iter().cloned().partition(|place| linked.contains(place));
        fastrand::shuffle(&mut near);
        fastrand::shuffle(&mut far);
        near.chunks(ASKED_MAX).chain(far.chunks(ASKED_MAX)).map(<[Place]>::to_vec).collect()
    }

    /// What the server at `place` says, on the connection that there is or on a new one.
    async fn ask_at(&self, place: &Place) -> Result<Said, Fault> {
        let asking = async {
            let shards = self.shards.load_full();
            let mine = shards.all.iter().find(|shard| shard.place().as_ref() == Some(place));
            let link = match mine.and_then(|shard| shard.link.load_full()) {
                Some(link) => link,
                None => Arc::new(Link::open(&self.common.access.client_at(place)?).await?),
            };
            let mut both = pipe();
            both.add_command(cmd("CLUSTER").arg("INFO").clone());
            both.add_command(cmd("CLUSTER").arg("SLOTS").clone());
            let (info, slots): (String, Value) = both.query_async(&mut link.connection()).await?;
            let map = SlotMap::read(&slots, place).ok_or_else(Fault::malformed)?;
            if map.masters.is_empty() {
                return Err(Fault::new(FaultKind::Moved, "no slot of the cluster is served"));
            }
            Ok(Said { seen: seen(&info), map })
        };
        timeout(MAP_TIMEOUT, asking).await.map_err(|_| Fault::unanswered())?
    }

    /// Puts `map` in force: shards that are on it stay, wherever they are now.
    pub(super) fn redraw(&self, map: &SlotMap) {
        let before = self.shards.load_full();
        let kept = keep(&before.all, &map.masters);
        let (mut all, mut owners) = (Vec::new(), vec![None; SLOTS]);
        // As they are now: whose place is another server is parted from it below.
        let is_no_help = |shard: &&Arc<Shard>| shard.link.load().is_none() || shard.owes_all();
        let no_help: Vec<&Arc<Shard>> = before.all.iter().filter(is_no_help).collect();
        let orphaned = |slot| {
            let by = before.served_by(slot);
            by.is_none_or(|by| no_help.iter().any(|shard| Arc::ptr_eq(shard, by)))
        };
        for (master, kept) in map.masters.iter().zip(kept) {
            all.push(kept.unwrap_or_else(|| {
                let (common, place) = (Arc::clone(&self.common), master.place.clone());
                let new = Shard::mapped(common, place, master.slots.clone());
                if !master.slots.iter().any(orphaned) {
                    new.duty().heart.begin_anew();
                }
                Arc::new(new)
            }));
        }
        for (number, (shard, master)) in all.iter().zip(&map.masters).enumerate() {
            if let Some(was) = shard.assign(&master.place, &master.slots) {
                let orphans = master.slots.beyond(&was).filter(|slot| orphaned(*slot));
                shard.inherit(orphans.map(tag_in).min());
            }
            // What nobody handed over is not asked about there before all is told.
            let is_heir = shard.is_heir();
            let had = |slot| before.served_by(slot).is_some_and(|by| Arc::ptr_eq(by, shard));
            for slot in master.slots.iter().filter(|slot| !is_heir || had(*slot)) {
                owners[usize::from(slot)] = u16::try_from(number).ok();
            }
        }
        self.shards.store(Arc::new(Shards { all, owners: Some(owners) }));
    }

    /// Whether every slot is served, by somebody who answers.
    fn is_whole(&self) -> bool {
        let shards = self.shards.load();
        shards.serve_all() && shards.all.iter().all(|shard| shard.link.load().is_some())
    }
}

// === impl Supervised ===

impl Supervised {
    /// Begins with those of `shards` that are new, and ends with those that are gone.
    fn follow(&mut self, shards: &[Arc<Shard>], local: &Arc<LocalStore>) {
        let is_one = |one: &Arc<Shard>| shards.iter().any(|shard| Arc::ptr_eq(shard, one));
        // A task ends only by a fault of the program, of which the log tells.
        let is_over =
            |(shard, task): &mut (Arc<Shard>, AbortHandle)| !is_one(shard) || task.is_finished();
        for (shard, task) in self.shards.extract_if(.., is_over) {
            task.abort();
            shard.link.store(None);
        }
        for new in shards {
            if self.shards.iter().any(|(shard, _)| Arc::ptr_eq(shard, new)) {
                continue;
            }
            let (shard, local) = (Arc::clone(new), Arc::clone(local));
            let task = self.tasks.spawn(async move { shard.supervise(&local).await });
            self.shards.push((Arc::clone(new), task));
        }
        // What has ended is forgotten.
        while self.tasks.try_join_next().is_some() {}
    }
}

/// What CLUSTER INFO says of elections, and of the cluster's state.
fn seen(info: &str) -> Seen {
    let epoch = said(info, "cluster_current_epoch").parse();
    (said(info, "cluster_state") == "ok", epoch.unwrap_or(0))
}

/// The shard of each of `masters`: first those that are where they were, then those whose place
/// another server has taken.
fn keep(shards: &[Arc<Shard>], masters: &[Master]) -> Vec<Option<Arc<Shard>>> {
    let mut left = shards.to_vec();
    let mut take = |is_it: &dyn Fn(&Shard) -> bool| {
        let at = left.iter().position(|shard| is_it(shard))?;
        Some(left.swap_remove(at))
    };
    let there = |master: &Master, shard: &Shard| shard.place().as_ref() == Some(&master.place);
    let mut kept: Vec<Option<Arc<Shard>>> =
        masters.iter().map(|master| take(&|shard| there(master, shard))).collect();
    for (master, kept) in masters.iter().zip(&mut kept).filter(|(_, kept)| kept.is_none()) {
        let subject = master.slots.tag();
        *kept = take(&|shard| shard.duty().subject == subject);
    }
    kept
}
