//! What a request meets, of a configuration.

use std::sync::Arc;

use super::{listeners, upstreams};
use crate::client::{ADDRESS_CLAIMS, Clients};
use crate::config::{Config, Metered, PolicyAnswer};
use crate::delivery::Push;
use crate::meter::Meters;
use crate::proxy::{Cors, Delays, State};
use crate::request::Reading;
use crate::response::{Answer, Answers, FieldSettings};
use crate::rules::access::Exemptions;
use crate::rules::{Routes, RuleSet};
use crate::upstream::Upstream;

/// The state of a configuration: everything a request meets.
pub(crate) fn build(config: &Config) -> Result<State, String> {
    let unbuildable =
        |error: globset::Error| format!("the patterns are too many to match: {error}");
    let client = &config.client;
    let rules = RuleSet::new(
        config.rules.clone(),
        config.policies.clone(),
        config.store.key_prefix.clone(),
        config.exempt_preflight,
    );
    let rules = rules.map_err(unbuildable)?;
    let upstreams = upstreams::upstreams(config)?;
    let meters = config.meters.iter().map(|metered| metered.meter.clone()).collect();
    Ok(State {
        reading: reading(config, &rules),
        clients: Clients {
            trusted_proxies: client.trusted_proxies.clone(),
            forwarded_header: client.forwarded_header.clone(),
            ipv4_prefix: client.ipv4_prefix,
            ipv6_prefix: client.ipv6_prefix,
            identity: config.identity.identity.clone(),
        },
        identity_cache: config.identity.cache.into(),
        routes: Routes::new(config.routes.clone()).map_err(unbuildable)?,
        rules,
        pushes: config.meters.iter().filter_map(|metered| push(metered, &upstreams)).collect(),
        meters: Meters::new(meters).map_err(unbuildable)?,
        upstreams,
        exemptions: Exemptions::new(config.exempt.clone()).map_err(unbuildable)?,
        deny_list: config.deny.clone(),
        enforcement: config.rollout.mode,
        switch_file: config.rollout.switch_file.clone(),
        answers: Answers::new(config.answers.iter().map(answer).collect(), config.response.body),
        cors: Cors { origins: config.cors.origins.clone(), credentials: config.cors.credentials },
        hsts: config.https.hsts.map(|span| format!("max-age={}", span.as_secs())),
        redirect: config.https.redirected_to(),
        access_log: config.log.access,
        guard: listeners::settings(&config.server),
        bounds: listeners::bounds(&config.server),
        delays: Delays {
            lame_duck: config.server.lame_duck,
            drain: config.server.drain_timeout,
            handover: config.server.handover_timeout,
        },
    })
}

/// How requests are read, with the headers that decide something.
fn reading(config: &Config, rules: &RuleSet) -> Reading {
    let identity = &config.identity.identity;
    let who = || identity.header_names().chain(rules.partition_headers()).chain(["authorization"]);
    let claims = ADDRESS_CLAIMS.into_iter().chain([config.client.forwarded_header.as_str()]);
    let deciding = who().chain(rules.rule_headers()).chain(claims);
    Reading {
        deciding: deciding.map(str::to_owned).collect(),
        // Cookies may come in several lines.
        once: who().filter(|name| *name != "cookie").map(str::to_owned).collect(),
        ..config.request.clone()
    }
}

fn push(metered: &Metered, upstreams: &[Arc<Upstream>]) -> Option<Push> {
    let push = metered.push.as_ref()?;
    Some(Push {
        meter: metered.meter.name.clone(),
        upstream: Arc::clone(upstreams.get(push.upstream)?),
        path: push.path.clone(),
        host: push.host.clone(),
        headers: push.headers.clone(),
        every: push.every,
    })
}

fn answer(answer: &PolicyAnswer) -> Answer {
    let response = &answer.response;
    Answer {
        status: answer.status,
        message: answer.message.clone(),
        fields: FieldSettings {
            ratelimit: response.ratelimit,
            x_ratelimit: response.x_ratelimit,
            retry_after: response.retry_after,
        },
        body: response.body,
        files: response.files.clone(),
    }
}
