//! Where requests go.

use std::sync::Arc;

use super::matcher::{HostPattern, PathPattern, host_matches};
use super::paths::PathSet;
use crate::request::RequestView;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The paths it takes.
    pub path: PathPattern,
    /// The host it takes; `None`: any.
    pub host: Option<HostPattern>,
    /// The place of its upstream among all upstreams.
    pub upstream: usize,
    /// Whether the application sees the client's `Host`.
    pub preserve_host: bool,
    /// Most bytes of a body, if it is not the server's.
    pub max_body: Option<u64>,
}

/// All routes, the most specific first.
#[derive(Debug)]
pub struct Routes {
    paths: PathSet,
    routes: Vec<Arc<Route>>,
}

// === impl Route ===

impl Route {
    /// Sorts routes so that the first that matches is the most specific: a literal host before a
    /// wildcard before none, then by path.
    pub fn sort(routes: &mut [Self]) {
        routes.sort_by(|a, b| {
            let by_host = a.host.is_none().cmp(&b.host.is_none()).then_with(|| a.host.cmp(&b.host));
            by_host.then_with(|| a.path.cmp(&b.path))
        });
    }
}

// === impl Routes ===

impl Routes {
    /// The routes in the order of [`Route::sort`].
    pub fn new(mut routes: Vec<Route>) -> Result<Self, globset::Error> {
        Route::sort(&mut routes);
        let paths = PathSet::new(routes.iter().map(|route| &route.path))?;
        Ok(Self { paths, routes: routes.into_iter().map(Arc::new).collect() })
    }

    /// The most specific route that takes the request.
    pub fn find(&self, view: &RequestView<'_>) -> Option<&Arc<Route>> {
        let mut matching = self.paths.matching(&view.path).into_iter();
        matching.find_map(|at| {
            let route = &self.routes[at];
            host_matches(route.host.as_ref(), view).then_some(route)
        })
    }
}
