//! A Redis Cluster behind the gateway: every subject is on one of its servers, and is limited there
//! as by a single one.

mod bans;
pub(crate) mod costs;
mod encrypted;
mod exact;
pub(crate) mod explained;
mod hearts;
mod moving;
mod pairs;
pub(crate) mod people;
mod permits;
mod refunds;
mod returns;
mod rights;
pub(crate) mod scene;
mod spread;
pub(crate) mod views;

use crate::support::app::App;
use crate::support::cluster::Cluster;
use crate::support::gateway::{Gateway, app_at};

/// A gateway in front of `app` whose counts are in `cluster`. It waits long for its servers: on a
/// busy machine a slow answer would be a decision of its own.
fn gateway(cluster: &Cluster, app: &App, store: &str, rest: &str) -> Gateway {
    let store = cluster.store(&format!("timeout = \"1s\"\n{store}"));
    let gateway = Gateway::start(&format!("{store}{}{rest}", app_at(app.address())));
    gateway.wait_for_store("up");
    gateway
}
