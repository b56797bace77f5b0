//! What each section of the file says, with its defaults and bounds.

mod access;
mod client;
mod cors;
mod host_port;
mod identity;
mod meters;
mod networks;
mod policies;
mod request;
mod response;
mod rollout;
mod routes;
mod rules;
mod server;
mod store;
mod target;
mod tls;
mod upstreams;

use super::diagnostic::Span;
use super::reader::Section;
use super::value::Text;
use super::{Config, Origin, Response, StoreKind};

/// Most routes, and most rules.
const ENTRIES_MAX: usize = 10_000;

/// Reads the whole file. Where a mistake was recorded, the result is not to be used.
pub(super) fn read(mut root: Section<'_>, generation: u64) -> Config {
    let (server, listen_at) = server::server(root.table("server"), root.has("tls"));
    let admin = server::admin(root.table("admin"), &server.listen, &listen_at);
    let others: Vec<_> = server.listen.iter().copied().chain([admin]).collect();
    let (https, asks_clients) = tls::tls(root.table("tls"), &others);
    let log = server::log(root.table("log"));
    let (client, trusts_nobody) = client::client(root.table("client"));
    let request = request::request(root.table("request"));
    let spelling = request.spelling;
    let store = store::store(root.table("store"));
    let alone = store.kind == StoreKind::Local;
    let surroundings = identity::Surroundings { trusts_nobody, alone, asks_clients };
    let identity = identity::identity(root.table("identity"), surroundings);
    let upstreams = upstreams::upstreams(&mut root);
    let (routes, all_routes) = routes::routes(&mut root, &upstreams, spelling);
    let paths = || routes.iter().map(|route| route.path.as_str().to_owned()).collect();
    let response = response::response(root.table("response"), &Response::default());
    let sources = policies::Sources {
        user: identity.has_user,
        tier: identity.has_tier,
        routes: all_routes.then(paths),
        ipv4_prefix: client.ipv4_prefix,
        ipv6_prefix: client.ipv6_prefix,
        spelling,
    };
    let (policies, answers) = policies::policies(&mut root, generation, &sources, &response);
    let rules = rules::rules(
        &mut root,
        &rules::Surroundings {
            policies: &policies,
            has_user: sources.user,
            trusts_nobody,
            spelling,
        },
    );
    let known = policies.iter().filter_map(|policy| policy.meaning.as_ref());
    request::check_names(&root, &request, &identity.identity, known, &rules);
    let exempt = access::exempt(root.table("exempt"), sources.user, spelling);
    let deny = access::deny(root.table("deny"));
    let has_user = identity.has_user;
    let nearby = meters::Surroundings { alone, has_user, upstreams: &upstreams, spelling };
    let meters = meters::meters(&mut root, nearby);
    let rollout = rollout::rollout(root.table("rollout"));
    let (exempt_preflight, cors) = cors::cors(root.table("cors"));
    root.finish();
    Config {
        server,
        https,
        admin,
        log,
        request,
        client,
        identity,
        store,
        upstreams: upstreams.into_iter().filter_map(|upstream| upstream.meaning).collect(),
        routes,
        policies: policies.into_iter().filter_map(|policy| policy.meaning).collect(),
        rules,
        exempt_preflight,
        cors,
        exempt,
        deny,
        rollout,
        meters,
        response,
        answers,
        files: Vec::new(),
        origin: Origin::default(),
    }
}

/// Something that others refer to by name. It keeps its place also when it is invalid, so that
/// whoever names it is not told that it does not exist.
struct Definition<T> {
    name: String,
    /// Its header.
    span: Span,
    meaning: Option<T>,
}

/// The place of what `text` names among `definitions`, which are in order of name.
fn place<T>(definitions: &[Definition<T>], text: &Text) -> Option<usize> {
    definitions.binary_search_by(|definition| definition.name.as_str().cmp(&text.value)).ok()
}
