//! Partition keys: two requests share one exactly if all their values are the same, and nobody
//! writes a brace into one.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request};
use sluicegate::client::Client;
use sluicegate::limit::token_bucket::TokenBucket;
use sluicegate::limit::{Key, Limit, Micros, Mode, OnStoreError, Policy, Quota};
use sluicegate::request::RequestView;
use sluicegate::rules::partition::{Facts, Partition, Word};

use crate::ITERATIONS;
use crate::text::text;

const WORDS: [&str; 20] = [
    "\n",
    "\n\n",
    "a",
    "b",
    ":",
    ",",
    ", ",
    "{",
    "}",
    "{x}",
    "*",
    "%7B",
    "&",
    "203.0.113.7",
    "\u{0}",
    "\u{1}",
    "\u{e9}",
    "x-a",
    "\t",
    "aaaaaaaaaaaaaaaa",
];
/// Values of a request: two headers, a cookie, a parameter of the query, the user.
const VALUES: usize = 5;

#[test]
fn keys_are_shared_by_the_same_alone() {
    let names = ["header:x-a", "header:x-b", "cookie:c", "query:q", "user", "ip"];
    let words = names.map(|name| Word::parse(name).expect("a word"));
    let partition = Partition::new(words.to_vec());
    bolero::check!(name = "keys").with_iterations(ITERATIONS).with_max_len(64).for_each(|input| {
        let said = text(input, &WORDS);
        let mut one: Vec<String> = said.split('\n').map(str::to_owned).collect();
        let mut other = if one.len() > VALUES { one.split_off(VALUES) } else { moved(&one) };
        let [one, other] = [&mut one, &mut other].map(|values| {
            values.resize(VALUES, String::new());
            let (head, client) = (head(values), client(&values[4]));
            let view = RequestView::of(&head);
            let facts = Facts { view: &view, client: &client, route: "/**", rule: "/**" };
            let values = partition.values(&facts);
            let values: Vec<Option<Vec<u8>>> = values.into_iter().map(|(_, value)| value).collect();
            (values, partition.subject(&facts))
        });
        assert_eq!(one.0 == other.0, one.1 == other.1, "{one:?} and {other:?}");
        for (_, subject) in [&one, &other] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            assert!(subject.len() == 22 && subject.bytes().all(plain), "{subject:?}");
        }
        let keys = [&one.1, &other.1].map(|subject| Key::new("sg", subject, &policy()));
        assert_eq!(keys[0] == keys[1], one.1 == other.1);
    });
}

/// The same signs in a row, with one in the value before: what is joined carelessly is the same.
fn moved(values: &[String]) -> Vec<String> {
    let mut moved = values.to_vec();
    if let [first, second, ..] = &mut moved[..]
        && !second.is_empty()
    {
        first.push(second.remove(0));
    }
    moved
}

fn head(values: &[String]) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    let lines = [("x-a", values[0].clone()), ("x-b", values[1].clone())];
    let cookie = ("cookie", format!("c={}", values[2]));
    for (name, value) in lines.into_iter().chain([cookie]) {
        // What is no value of a header comes as none: HTTP does not let it through.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            parts.headers.insert(name, value);
        }
    }
    let query: String =
        form_urlencoded::Serializer::new(String::new()).append_pair("q", &values[3]).finish();
    parts.uri = format!("/?{query}").parse().unwrap();
    parts
}

fn client(user: &str) -> Client {
    let address = "203.0.113.7".parse().unwrap();
    Client {
        address,
        network: address,
        user: (!user.is_empty()).then(|| user.as_bytes().to_vec()),
        tier: None,
        via_trusted_proxy: false,
    }
}

fn policy() -> Arc<Policy> {
    let quota = Quota::new(5, Micros::new(60_000_000)).unwrap();
    Arc::new(Policy {
        id: 0,
        generation: 0,
        variant: 0,
        name: "p".to_owned(),
        limit: Limit::TokenBucket(TokenBucket::new(quota, 5).unwrap()),
        mode: Mode::Enforce,
        on_store_error: OnStoreError::Local,
    })
}
