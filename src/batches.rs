//! `sluicegate meters`: what has been counted, and the batches for a consumer that takes them.
//!
//! Nothing here runs beside a gateway: each call connects, asks and ends. A meter need not be in
//! the configuration any more for its batches to be taken.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{Config, StoreKind};
use crate::delivery::document;
use crate::limit::SystemClock;
use crate::server;
use crate::store::redis::{Batch, Fault, RedisStore};

/// Items that are shown of what is open: those with the most views.
const TOP: usize = 10;

/// What a meter has counted and nobody has taken yet.
#[derive(Debug)]
pub struct Overview {
    /// The meter.
    pub meter: String,
    /// What is open.
    pub open: Batch,
    /// The batches that wait to be acknowledged, the oldest first; `None`: Redis has dropped it.
    pub pending: Vec<(String, Option<Batch>)>,
}

/// The batches of a meter, as lines of JSON, and what is to be said besides.
#[derive(Debug, Default)]
pub struct Export {
    /// One for each pending batch, the oldest first.
    pub lines: Vec<String>,
    /// The names of batches that Redis has dropped.
    pub dropped: Vec<String>,
}

/// How the meter of that name stands, or every meter of the configuration.
pub fn overviews(config: &Config, name: Option<&str>) -> Result<Vec<Overview>, String> {
    let all = || config.meters.iter().map(|metered| metered.meter.name.clone()).collect();
    name.map_or(Ok(()), |name| known(config, name))?;
    let names: Vec<String> = name.map_or_else(all, |name| vec![name.to_owned()]);
    with_redis(config, async |redis| {
        let mut overviews = Vec::with_capacity(names.len());
        for name in names {
            let standing = redis.look_at(&name).await?;
            let mut pending = Vec::with_capacity(standing.pending.len());
            for batch in standing.pending {
                let content = redis.read(&name, Some(&batch)).await?;
                pending.push((batch, content));
            }
            let open = redis.read(&name, None).await?.unwrap_or_default();
            overviews.push(Overview { meter: name, open, pending });
        }
        Ok(overviews)
    })
}

/// The pending batches of a meter; if there are none, what is open becomes one first. Nothing is
/// acknowledged.
pub fn export(config: &Config, meter: &str) -> Result<Export, String> {
    known(config, meter)?;
    with_redis(config, async |redis| {
        let mut standing = redis.look_at(meter).await?;
        if standing.pending.is_empty() {
            redis.close(meter).await?;
            standing = redis.look_at(meter).await?;
        }
        let mut export = Export::default();
        for name in standing.pending {
            if let Some(batch) = redis.read(meter, Some(&name)).await? {
                export.lines.push(document(meter, &name, &batch));
            } else if redis.acknowledge(meter, &name).await? {
                // Nobody else has acknowledged it meanwhile.
                export.dropped.push(name);
            }
        }
        Ok(export)
    })
}

/// Forgets a batch that was applied. False if it was not pending.
pub fn acknowledge(config: &Config, meter: &str, batch: &str) -> Result<bool, String> {
    known(config, meter)?;
    with_redis(config, async |redis| redis.acknowledge(meter, batch).await)
}

/// Fails for a name that nothing has ever been counted under: it is mistyped.
fn known(config: &Config, meter: &str) -> Result<(), String> {
    if config.meters.iter().any(|metered| metered.meter.name == meter) {
        return Ok(());
    }
    let standing = with_redis(config, async |redis| redis.look_at(meter).await)?;
    if standing.is_known() {
        return Ok(());
    }
    let names = config.meters.iter().map(|metered| format!("`{}`", metered.meter.name));
    let names = names.collect::<Vec<_>>().join(", ");
    let help = if names.is_empty() { "there are no meters".to_owned() } else { names };
    Err(format!("no meter `{meter}`, and nothing counted under this name\n  = help: {help}"))
}

fn with_redis<T, F>(config: &Config, ask: impl FnOnce(Arc<RedisStore>) -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, Fault>>,
{
    if config.store.kind == StoreKind::Local {
        return Err("there are no meters without Redis: `store.kind` is `local`".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    server::choose_cryptography();
    let clock = Arc::new(SystemClock::start());
    let redis = server::redis_store(&config.store, clock).map_err(|error| error.to_string())?;
    let asking = async {
        redis.connect_once().await?;
        ask(Arc::new(redis)).await
    };
    runtime.block_on(asking).map_err(|fault| format!("Redis did not answer: {fault}"))
}

// === impl Overview ===

impl Overview {
    /// As one line of JSON.
    pub fn json(&self) -> String {
        let top: Vec<Value> =
            self.top().map(|(item, views)| json!({ "item": item, "views": views })).collect();
        let pending: Vec<Value> = self
            .pending
            .iter()
            .map(|(name, batch)| {
                let batch = batch.clone().unwrap_or_default();
                json!({
                    "batch": name,
                    "from": batch.from_ms,
                    "until": batch.until_ms,
                    "items": batch.counts.len(),
                    "views": batch.views(),
                })
            })
            .collect();
        let open = json!({
            "from": self.open.from_ms,
            "items": self.open.counts.len(),
            "views": self.open.views(),
            "top": top,
        });
        json!({ "meter": self.meter, "open": open, "pending": pending }).to_string()
    }

    /// For people.
    pub fn text(&self) -> String {
        let of = |batch: &Batch| format!("{} views of {} items", batch.views(), batch.counts.len());
        let mut lines =
            vec![format!("meter     {}", self.meter), format!("open      {}", of(&self.open))];
        lines.extend(self.top().map(|(item, views)| format!("          {views:>9}  {item}")));
        for (name, batch) in &self.pending {
            let what = batch.as_ref().map_or_else(|| "dropped by Redis".to_owned(), of);
            lines.push(format!("pending   {name}: {what}"));
        }
        lines.join("\n")
    }

    /// The open items with the most views.
    fn top(&self) -> impl Iterator<Item = (&str, u64)> {
        let mut items: Vec<(&str, u64)> =
            self.open.counts.iter().map(|(item, views)| (item.as_str(), *views)).collect();
        items.sort_by_key(|(_, views)| std::cmp::Reverse(*views));
        items.into_iter().take(TOP)
    }
}
