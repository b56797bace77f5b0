//! `POST /reload`: the file is read again, as on SIGHUP, and the answer says what came of it.
//!
//! The admin listener has no password, and a page of any site can have a browser send a POST to it.
//! A browser says where the page is from, and such requests are refused.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::Page;
use crate::reload::{Outcome, Reloader, Unanswered};

/// What browsers say of the page that makes a request.
const FETCH_SITE: &str = "sec-fetch-site";
/// Seconds after which one that was sent away may come again.
const AGAIN_AFTER: &str = "1";

/// Does what a request asks for, if it may, and answers it.
pub(super) async fn page(method: &Method, headers: &HeaderMap, reloader: &Reloader) -> Page {
    if *method != Method::POST {
        return Page::not_allowed("POST");
    }
    if !is_own(headers) {
        let why = "a page of another site does not reload the gateway";
        return Page::json(StatusCode::FORBIDDEN, &json!({ "error": why }));
    }
    match reloader.ask().await {
        Ok(Outcome::Applied(report)) => Page::json(StatusCode::OK, &report.shown()),
        Ok(Outcome::Rejected(rejection)) => {
            Page::json(StatusCode::UNPROCESSABLE_ENTITY, &rejection.shown())
        }
        Err(why) => unanswered(why),
    }
}

fn unanswered(why: Unanswered) -> Page {
    let (status, error) = match why {
        Unanswered::Busy => (StatusCode::SERVICE_UNAVAILABLE, "other reloads are waiting"),
        Unanswered::Ending => (StatusCode::SERVICE_UNAVAILABLE, "the gateway is about to end"),
        Unanswered::Late => {
            (StatusCode::GATEWAY_TIMEOUT, "it takes long: `/config` says when it is in force")
        }
    };
    let mut page = Page::json(status, &json!({ "error": error }));
    page.retry_after = (why == Unanswered::Busy).then_some(AGAIN_AFTER);
    page
}

/// Whether no page of another site is behind a request. A name that leads here proves nothing: any
/// site may have one (DNS rebinding); an address, or `localhost`, does.
fn is_own(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(FETCH_SITE).iter();
    let own_site = sites.all(|site| site == "same-origin" || site == "none");
    let mut origins = headers.get_all(ORIGIN).iter();
    own_site && origins.all(|origin| is_host(origin, headers.get(HOST)))
}

fn is_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
    let host = host.and_then(|host| host.to_str().ok());
    let (Some(origin), Some(host)) = (origin, host) else { return false };
    let Ok(authority) = origin.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    let proves = name == "localhost" || name.parse::<IpAddr>().is_ok();
    proves && origin.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_the_listener_itself_may_ask() {
        let own = |host: &'static str, others: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            for (name, value) in others {
                headers.append(*name, HeaderValue::from_static(value));
            }
            is_own(&headers)
        };
        let here = "127.0.0.1:9090";
        assert!(own(here, &[]) && own("gateway:9090", &[]), "no browser");
        assert!(own(here, &[("origin", "http://127.0.0.1:9090")]));
        assert!(own("[::1]:9090", &[("origin", "http://[::1]:9090")]));
        assert!(own("localhost:9090", &[("origin", "http://localhost:9090")]));
        assert!(own(here, &[("sec-fetch-site", "same-origin")]));
        assert!(!own(here, &[("sec-fetch-site", "cross-site")]));
        assert!(!own(here, &[("sec-fetch-site", "same-site")]), "another port of this machine");
        for origin in
            ["http://127.0.0.1", "http://127.0.0.1:3000", "https://127.0.0.1:9090", "null"]
        {
            assert!(!own(here, &[("origin", origin)]), "{origin}");
        }
        let rebound = [("origin", "http://evil.example:9090")];
        assert!(!own("evil.example:9090", &rebound), "a name of somebody else's that leads here");
        let two = [("origin", "http://127.0.0.1:9090"), ("origin", "http://evil.example")];
        assert!(!own(here, &two));
    }
}
