//! What is said of a request that the gateway answers by itself.

use std::sync::Arc;

use http::StatusCode;

use super::answer::Answers;
use super::fields::retry_after_secs;
use crate::limit::decision::{Outcome, Ruling};
use crate::limit::{Policy, Verdict};

/// Problem types of the `RateLimit` draft.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
const ABNORMAL_USAGE: &str =
    "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";
/// The status of a refusal that says nothing of it.
const TOO_MANY: u16 = 429;
/// The status of a refusal because limits cannot be checked.
const UNAVAILABLE: u16 = 503;
/// Its sentence.
const UNAVAILABLE_MESSAGE: &str = "Limits cannot be checked at present; try again later.";

/// An answer that the gateway gives instead of the application. What its body looks like is for
/// [`Answers`] to say.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The sentence for people, also the `grpc-message`.
    pub message: String,
    title: &'static str,
    denied: Option<Denied>,
    /// Of an answer that no verdict stands behind.
    retry_after: Option<u64>,
}

/// What a verdict says of a request that it refuses.
#[derive(Clone, Debug)]
struct Denied {
    kind: &'static str,
    /// The policy with the longest wait.
    policy: Arc<Policy>,
    /// Its limit and what is left of it, if a state stands behind its decision.
    standing: Option<(u64, u64)>,
    retry_after: Option<u64>,
    violated: Vec<String>,
}

// === impl Refusal ===

impl Refusal {
    /// Whether a policy denied the request, which is none of the gateway's troubles.
    pub fn exceeds_quota(&self) -> bool {
        self.denied.as_ref().is_some_and(|denied| denied.kind != REDUCED_CAPACITY)
    }

    /// Whether a ban refused the request.
    pub fn is_ban(&self) -> bool {
        self.denied.as_ref().is_some_and(|denied| denied.kind == ABNORMAL_USAGE)
    }

    /// The refusal that `verdict` calls for; nothing if the request passes.
    pub fn of(verdict: &Verdict, answers: &Answers) -> Option<Self> {
        let (kind, title) = match verdict.ruling {
            Ruling::Pass => return None,
            Ruling::Deny if verdict.denials().any(Outcome::is_of_ban) => {
                (ABNORMAL_USAGE, "Abnormal usage detected")
            }
            Ruling::Deny => (QUOTA_EXCEEDED, "Quota exceeded"),
            Ruling::Unavailable => (REDUCED_CAPACITY, "Temporarily reduced capacity"),
        };
        let longest = verdict.longest_denial()?;
        // There always is one; a request would not pass for lack of it.
        let answer = answers.of(&longest.policy);
        let (status, message) = match verdict.ruling {
            Ruling::Unavailable => (UNAVAILABLE, UNAVAILABLE_MESSAGE),
            Ruling::Deny | Ruling::Pass => {
                answer.map_or((TOO_MANY, title), |answer| (answer.status, &answer.message))
            }
        };
        let mut violated: Vec<String> = Vec::new();
        for outcome in verdict.denials() {
            if !violated.contains(&outcome.policy.name) {
                violated.push(outcome.policy.name.clone());
            }
        }
        let standing = (longest.policy.limit.cost_max(), longest.decision.remaining);
        let denied = Denied {
            kind,
            policy: Arc::clone(&longest.policy),
            standing: (longest.has_state() && !longest.is_of_ban()).then_some(standing),
            retry_after: retry_after_secs(verdict)
                .filter(|_| answer.is_none_or(|answer| answer.fields.retry_after)),
            violated,
        };
        Some(Self {
            status,
            message: message.to_owned(),
            title,
            denied: Some(denied),
            retry_after: None,
        })
    }

    /// An answer about a request that no verdict refused: no such route, the application away.
    pub fn plain(status: StatusCode, message: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            status: status.as_u16(),
            message: message.to_owned(),
            title,
            denied: None,
            retry_after: None,
        }
    }

    /// The same, with the seconds after which the request may come again.
    #[must_use]
    pub const fn retrying_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A few words for the kind of refusal.
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// The policy that the request has to wait for longest.
    pub fn policy(&self) -> Option<&Policy> {
        self.denied.as_ref().map(|denied| &*denied.policy)
    }

    /// That policy's limit and what is left of it, if that is known.
    pub fn standing(&self) -> Option<(u64, u64)> {
        self.denied.as_ref()?.standing
    }

    /// Whole seconds until the request would be allowed, if that is known and to be told.
    pub fn retry_after(&self) -> Option<u64> {
        self.denied.as_ref().map_or(self.retry_after, |denied| denied.retry_after)
    }

    /// The same where no verdict refused: then no field of the verdict says it.
    pub const fn own_wait(&self) -> Option<u64> {
        self.retry_after
    }

    /// The type of the problem, and the policies that deny; nothing if no verdict refused.
    pub fn problem(&self) -> Option<(&'static str, &[String])> {
        self.denied.as_ref().map(|denied| (denied.kind, denied.violated.as_slice()))
    }
}
