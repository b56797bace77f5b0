//! How each policy refuses: status, sentence, fields and bodies.

use super::accept;
use super::fields::{Field, FieldSettings, fields};
use super::page;
use super::refusal::Refusal;
use crate::body::{Choice, Files, Values};
use crate::limit::{Policy, Verdict};

/// Longest path that is filled in, in bytes: a client chooses it.
const PATH_MAX: usize = 1024;

/// How a policy refuses.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The sentence a refused client reads.
    pub message: String,
    /// Which fields speak of the policy.
    pub fields: FieldSettings,
    /// Which body is sent.
    pub body: Choice,
    /// Bodies of the operator's own.
    pub files: Files,
}

/// How all policies refuse, and what the gateway's other answers are made of.
#[derive(Clone, Debug)]
pub struct Answers {
    policies: Vec<Answer>,
    others: Choice,
}

/// What a body needs to know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// All `Accept` lines, joined with commas; `None` without any.
    pub accept: Option<&'a str>,
    /// The request's id.
    pub request_id: &'a str,
    /// The path as it was sent, without its query.
    pub path: &'a str,
}

/// A body as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// Whether `Accept` has chosen it.
    pub by_accept: bool,
    /// The body.
    pub body: String,
    /// Why it is not the operator's own, although there is one.
    pub fault: Option<String>,
}

// === impl Answers ===

impl Answers {
    /// `policies` in the order of their ids, and the body of answers that no policy gives.
    pub const fn new(policies: Vec<Answer>, others: Choice) -> Self {
        Self { policies, others }
    }

    /// How `policy` refuses.
    pub fn of(&self, policy: &Policy) -> Option<&Answer> {
        self.policies.get(policy.id)
    }

    /// The fields of an answer with this verdict.
    pub fn fields(&self, verdict: &Verdict) -> Vec<Field> {
        fields(verdict, |policy| self.of(policy).map(|answer| answer.fields).unwrap_or_default())
    }

    /// The body of `refusal`. An operator's own that cannot be filled in gives way to ours.
    pub fn write(&self, refusal: &Refusal, asked: &Asked<'_>) -> Written {
        let answer = refusal.policy().and_then(|policy| self.of(policy));
        let choice = answer.map_or(self.others, |answer| answer.body);
        let media = match choice {
            Choice::Fixed(media) => media,
            Choice::Auto => accept::choose(asked.accept),
        };
        let template = answer.and_then(|answer| answer.files.get(media));
        let own = template.map(|template| template.render(&values(refusal, asked)));
        let (body, fault) = match own {
            Some(Ok(body)) => (body, None),
            Some(Err(fault)) => (page::write(refusal, media), Some(fault.what)),
            None => (page::write(refusal, media), None),
        };
        let by_accept = choice == Choice::Auto;
        Written { content_type: media.content_type(), by_accept, body, fault }
    }
}

fn values<'a>(refusal: &'a Refusal, asked: &Asked<'a>) -> Values<'a> {
    let standing = refusal.standing();
    Values {
        status: refusal.status,
        title: refusal.title(),
        message: &refusal.message,
        policy: refusal.policy().map_or("", |policy| &policy.name),
        retry_after: refusal.retry_after(),
        limit: standing.map(|(limit, _)| limit),
        remaining: standing.map(|(_, remaining)| remaining),
        banned: refusal.is_ban(),
        request_id: asked.request_id,
        path: cut(asked.path),
    }
}

/// As much of `path` as is filled in.
fn cut(path: &str) -> &str {
    let most = path.len().min(PATH_MAX);
    let fits = (0..=most).rev().find_map(|end| path.get(..end));
    fits.unwrap_or_default()
}
