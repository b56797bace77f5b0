//! What an answered request counts for.

use pingora_proxy::Session;

use super::{Context, Proxy};
use crate::meter::is_view;
use crate::request::RequestView;

/// Leaves the views of a request to be counted, if its answer was one. The client has its answer.
pub(super) fn count(proxy: &Proxy, session: &Session, ctx: &Context, status: u16) {
    let Some(client) = ctx.client.as_ref().filter(|_| is_view(status)) else { return };
    if ctx.state.meters.all().is_empty() {
        return;
    }
    let view = RequestView::spelled(session.req_header(), ctx.state.reading.spelling);
    for view in ctx.state.meters.views(&view, client) {
        proxy.metering.take(view);
    }
}
