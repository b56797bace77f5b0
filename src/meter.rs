//! What a request counts for: which meters take it, as a view of which item, by which subject.
//!
//! Nothing is counted here: a [`View`] is handed to `metering`, which does.

use std::sync::Arc;

use http::Method;
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::request::RequestView;
use crate::rules::matcher::PathPattern;
use crate::rules::partition::{Facts, Partition, Word};
use crate::rules::paths::PathSet;

/// Longest item, in bytes of its one spelling: what is longer does not count.
pub const ITEM_MAX: usize = 512;
/// Bytes of the hash by which Redis remembers an item: nobody who does not choose the application's
/// paths finds two that share it.
const MARK_BYTES: usize = 12;

/// Counts the views of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Its name.
    pub name: String,
    /// The paths that it counts; an item is a path in its one spelling.
    pub paths: Vec<PathPattern>,
    /// The methods that it counts, as they are: GET does not include HEAD, which shows nothing.
    pub methods: Vec<String>,
    /// Which of the views count.
    pub unique: Unique,
    /// Most items that are counted until the counts are handed over.
    pub items_max: u64,
}

/// Which of the views of an item count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unique {
    /// Every one.
    None,
    /// The first of a subject in so long.
    By {
        /// What tells subjects apart: user or address.
        partition: Partition,
        /// Seconds in which one counts.
        span_s: u64,
    },
}

/// A request that a meter counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The meter.
    pub meter: Arc<Meter>,
    /// What was seen.
    pub item: String,
    /// By whom, as it stands in a key; `None` where every view counts.
    pub subject: Option<String>,
}

/// All meters.
#[derive(Debug)]
pub struct Meters {
    paths: PathSet,
    /// For each pattern, the place of the meter it belongs to.
    owners: Vec<usize>,
    all: Vec<Arc<Meter>>,
}

// === impl Meter ===

impl Meter {
    fn counts_method(&self, method: &Method) -> bool {
        // `get` is GET: to many applications it is.
        self.methods.iter().any(|name| method.as_str().eq_ignore_ascii_case(name))
    }

    fn view(self: &Arc<Self>, view: &RequestView<'_>, client: &Client) -> View {
        let facts = Facts { view, client, route: "", rule: "" };
        let subject = match &self.unique {
            Unique::None => None,
            Unique::By { partition, .. } => Some(partition.subject(&facts)),
        };
        View { meter: Arc::clone(self), item: view.path.to_string(), subject }
    }
}

// === impl Unique ===

impl Unique {
    /// Once for each user in `span_s` seconds; who is none counts by the address.
    pub fn by_user(span_s: u64) -> Self {
        Self::By { partition: Partition::new(vec![Word::User]), span_s }
    }

    /// Once for each address in `span_s` seconds.
    pub fn by_address(span_s: u64) -> Self {
        Self::By { partition: Partition::new(vec![Word::Ip]), span_s }
    }

    fn asks_for_user(&self) -> bool {
        matches!(self, Self::By { partition, .. } if partition.words().contains(&Word::User))
    }
}

// === impl Meters ===

impl Meters {
    /// The meters. Fails when their patterns are too many for one automaton.
    pub fn new(meters: Vec<Meter>) -> Result<Self, globset::Error> {
        let paths = PathSet::new(meters.iter().flat_map(|meter| &meter.paths))?;
        let owners = meters.iter().enumerate();
        let owners = owners.flat_map(|(at, meter)| meter.paths.iter().map(move |_| at)).collect();
        Ok(Self { paths, owners, all: meters.into_iter().map(Arc::new).collect() })
    }

    /// All of them, in order of name.
    pub fn all(&self) -> &[Arc<Meter>] {
        &self.all
    }

    /// What a request counts for, if the application answers it well.
    pub fn views(&self, view: &RequestView<'_>, client: &Client) -> Vec<View> {
        self.matching(view).map(|meter| meter.view(view, client)).collect()
    }

    /// Whether it matters to a meter who the user of a request is.
    pub fn ask_for_user(&self, view: &RequestView<'_>) -> bool {
        self.matching(view).any(|meter| meter.unique.asks_for_user())
    }

    fn matching(&self, view: &RequestView<'_>) -> impl Iterator<Item = &Arc<Meter>> {
        let mut places = if self.all.is_empty() {
            Vec::new()
        } else {
            self.paths.matching(&view.path).into_iter().map(|at| self.owners[at]).collect()
        };
        places.dedup();
        let method = view.method.clone();
        let meters = places.into_iter().map(|at| &self.all[at]);
        meters.filter(move |meter| meter.counts_method(&method))
    }
}

/// The hash by which Redis remembers an item.
pub fn mark(item: &str) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&Sha256::digest(item.as_bytes())[..MARK_BYTES]);
    mark
}

/// Whether an answer of this status is a view: the application gave what was asked for, or said
/// that the client has it. What the gateway refuses is none.
pub const fn is_view(status: u16) -> bool {
    matches!(status, 200..=299 | 304)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::request::Spelling;

    fn client(user: Option<&str>) -> Client {
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        Client {
            address,
            network: address,
            user: user.map(|user| user.as_bytes().to_vec()),
            tier: None,
            via_trusted_proxy: false,
        }
    }

    fn meter(name: &str, paths: &[&str], unique: Unique) -> Meter {
        let paths = paths
            .iter()
            .map(|path| PathPattern::parse(path, Spelling::default()).unwrap())
            .collect();
        let (name, methods) = (name.to_owned(), vec!["GET".to_owned()]);
        Meter { name, paths, methods, unique, items_max: 10 }
    }

    fn views(meters: &Meters, method: &str, path: &str, user: Option<&str>) -> Vec<View> {
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        let head = request.into_parts().0;
        meters.views(&RequestView::of(&head), &client(user))
    }

    #[test]
    fn a_request_is_a_view_of_its_path_for_each_meter_that_takes_it_once() {
        let meters = Meters::new(vec![
            meter("all", &["/**"], Unique::None),
            meter("stories", &["/stories/*", "/stories/{1,2}"], Unique::by_user(60)),
        ])
        .unwrap();
        let names = |method: &str, path: &str| {
            let views = views(&meters, method, path, None);
            views.iter().map(|view| view.meter.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("GET", "/stories/1?page=2"), ["all", "stories"]);
        assert_eq!(names("get", "/about"), ["all"]);
        assert_eq!(names("HEAD", "/stories/1"), [""; 0]);
        let items = ["/stories/1", "/stories//1", "/stories/%31", "/x/../stories/1?a=b"];
        for path in items {
            assert_eq!(views(&meters, "GET", path, None)[1].item, "/stories/1", "{path}");
        }
    }

    #[test]
    fn a_user_an_address_and_nobody_are_different_subjects() {
        let meters = Meters::new(vec![
            meter("a", &["/**"], Unique::None),
            meter("b", &["/**"], Unique::by_address(60)),
            meter("c", &["/**"], Unique::by_user(60)),
        ])
        .unwrap();
        let subjects = |user| {
            let views = views(&meters, "GET", "/", user);
            views.into_iter().map(|view| view.subject).collect::<Vec<_>>()
        };
        let (ann, nobody, forged) =
            (subjects(Some("ann")), subjects(None), subjects(Some("192.0.2.7")));
        assert_eq!((&ann[0], ann[1].as_deref()), (&None, Some("192.0.2.7")));
        assert_eq!(ann[1], nobody[1]);
        assert!(ann[2] != nobody[2] && forged[2] != nobody[2] && ann[2].is_some());
        let asks = |meters: &Meters| {
            let request = http::Request::builder().uri("/").body(()).unwrap();
            meters.ask_for_user(&RequestView::of(&request.into_parts().0))
        };
        assert!(asks(&meters));
        assert!(!asks(&Meters::new(vec![meter("b", &["/**"], Unique::by_address(60))]).unwrap()));
    }

    #[test]
    fn only_what_the_application_gave_is_a_view() {
        let views = [200, 204, 206, 304].map(is_view);
        assert_eq!(views, [true; 4]);
        assert_eq!([0, 101, 301, 302, 404, 429, 500, 503].map(is_view), [false; 8]);
    }
}
