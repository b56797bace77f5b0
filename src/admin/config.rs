//! `GET /config`: what is in force, without its secrets.

use http::{Method, StatusCode};

use super::{Page, READ_ONLY};
use crate::reload::Reloader;

/// The page for a request with this method.
pub(super) fn page(method: &Method, reloader: &Reloader) -> Page {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Page::not_allowed(READ_ONLY);
    }
    Page::json(StatusCode::OK, &reloader.shown())
}
