//! From the head of a request to its verdict: who asks, which limits apply, what they say.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;

use super::tab::Tab;
use super::{Context, NO_ROUTE, Proxy, forward};
use crate::client::Client;
use crate::identity::Connection;
use crate::limit::{Clock, SystemClock, Timestamp, Verdict};
use crate::request::{RequestView, content_length};
use crate::response::Refusal;
use crate::rules::{Asked, Demand, Enforcement};

/// Said of a body that is larger than it may be.
pub(super) const TOO_LARGE: &str = "The body of the request is too large.";
/// Said of every credential that is not valid, whatever is wrong with it.
const NOT_VALID: &str = "The credential is not valid.";

/// What is answered instead of the application; nothing if the request may pass. Everything that
/// was found out on the way stands in `ctx`.
pub(super) async fn admit(
    proxy: &Proxy,
    peer: IpAddr,
    head: &Parts,
    ctx: &mut Context,
) -> Option<Refusal> {
    let view = RequestView::spelled(head, ctx.state.reading.spelling);
    let (client, unreadable) = ctx.state.clients.find(peer, view.headers());
    if unreadable {
        proxy.metrics.forwarded_unreadable();
    }
    ctx.request_id = forward::request_id(&client, view.headers());
    if ctx.state.deny_list.contain(client.address) {
        ctx.client = Some(client);
        proxy.metrics.turned_away();
        return Some(Refusal::plain(StatusCode::FORBIDDEN, "This address is not let in."));
    }
    ctx.route = ctx.state.routes.find(&view).cloned();
    if content_length(view.headers()).is_some_and(|length| length > ctx.body_most()) {
        ctx.client = Some(client);
        return Some(Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE));
    }
    let verdict = match identify(proxy, ctx, &view, client).await {
        Ok(began) => {
            let demand = ctx.client.as_ref().map(|client| demand(proxy, &view, client, ctx));
            let mut demand = demand.unwrap_or_default();
            // Kept in `ctx` before anybody is asked: whatever ends the request gives them back.
            ctx.permits = proxy.limiter.offer(&mut demand.checks);
            let verdict = proxy.limiter.decide(&demand.checks, began).await;
            ctx.tab = Tab::open(demand);
            verdict
        }
        Err(refused) => refused,
    };
    ctx.permits.keep_charged(&verdict);
    ctx.decided = Some(proxy.clock.now());
    proxy.metrics.decided(&verdict);
    let refusal = Refusal::of(&verdict, &ctx.state.answers)
        .or_else(|| ctx.forgery.then(|| Refusal::plain(StatusCode::UNAUTHORIZED, NOT_VALID)))
        .or_else(|| ctx.route.is_none().then(|| Refusal::plain(StatusCode::NOT_FOUND, "no route")));
    ctx.verdict = Some(verdict);
    refusal
}

/// Finds out who the user of `client` is, and when Redis was first asked for it, if it was; or else
/// the verdict, which is the same whoever it is.
async fn identify(
    proxy: &Proxy,
    ctx: &mut Context,
    view: &RequestView<'_>,
    client: Client,
) -> Result<Option<Timestamp>, Verdict> {
    let (state, cache) = (Arc::clone(&ctx.state), ctx.state.identity_cache);
    let identity = &state.clients.identity;
    let enforcement = proxy.switch.applied(state.enforcement);
    let exempt = state.exemptions.of(view, &client).is_some();
    let counts = state.meters.ask_for_user(view);
    if (exempt || enforcement == Enforcement::Off) && !identity.is_told() && !counts {
        // Nobody wants to know: made-up sessions are not looked up for nothing.
        ctx.client = Some(client);
        return Ok(None);
    }
    let guard = || refused_anyway(proxy, view, &client, ctx);
    let asking = proxy.limiter.asking(cache, &guard);
    let now = SystemClock::wall();
    let connection = Connection {
        via_trusted_proxy: client.via_trusted_proxy,
        certificate: ctx.certificate.as_deref(),
    };
    let found = identity.identify(view, connection, now, &asking).await;
    let began = asking.began();
    if let Some(verdict) = asking.into_refusal() {
        ctx.client = Some(client);
        return Err(verdict);
    }
    proxy.metrics.identified(&found);
    let refuses = identity.rejects_invalid && enforcement == Enforcement::Full && !exempt;
    ctx.forgery = refuses && found.is_forgery();
    ctx.client = Some(client.with(found.person));
    Ok(began)
}

/// The verdict, if a denial is remembered that holds whoever the user is. Who floods the gateway
/// with made-up credentials is then refused without a look-up.
fn refused_anyway(
    proxy: &Proxy,
    view: &RequestView<'_>,
    client: &Client,
    ctx: &Context,
) -> Option<Verdict> {
    let exemptions = &ctx.state.exemptions;
    if exemptions.by_user() || exemptions.of(view, client).is_some() {
        return None;
    }
    let checks = ctx.state.rules.whoever(&asked(proxy, view, client, ctx));
    proxy.limiter.remembered(&checks)
}

/// What the request has to pass: nothing where it is exempt or limits are off.
fn demand(proxy: &Proxy, view: &RequestView<'_>, client: &Client, ctx: &Context) -> Demand {
    if let Some(exemption) = ctx.state.exemptions.of(view, client) {
        proxy.metrics.exempted(exemption.name());
        return Demand::default();
    }
    ctx.state.rules.evaluate(&asked(proxy, view, client, ctx))
}

fn asked<'a>(
    proxy: &Proxy,
    view: &'a RequestView<'a>,
    client: &'a Client,
    ctx: &'a Context,
) -> Asked<'a> {
    Asked {
        view,
        client,
        route: ctx.route.as_ref().map_or(NO_ROUTE, |route| route.path.as_str()),
        enforcement: proxy.switch.applied(ctx.state.enforcement),
        now: proxy.limiter.now(),
    }
}
