//! Look-ups of one request: from memory, else from Redis, within the time that the request has.

use std::sync::OnceLock;

use async_trait::async_trait;

use super::Limiter;
use crate::identity::lookup::{Answer, Lookup, Question, Unanswered};
use crate::limit::{Clock, Micros, Timestamp, Verdict};

/// Whether a request is refused whoever its user turns out to be.
pub type Guard<'a> = dyn Fn() -> Option<Verdict> + Sync + 'a;

/// The look-ups of one request.
///
/// The first one starts the request's time, which its decision shares. Before Redis is asked at
/// all, the guard is: who is refused anyway costs Redis nothing, whatever credentials he makes up.
pub struct Asking<'a, C> {
    limiter: &'a Limiter<C>,
    /// How long answers are used again.
    longest: Micros,
    guard: &'a Guard<'a>,
    began: OnceLock<Timestamp>,
    refused: OnceLock<Verdict>,
}

// === impl Asking ===

impl<'a, C: Clock> Asking<'a, C> {
    pub(super) const fn new(
        limiter: &'a Limiter<C>,
        longest: Micros,
        guard: &'a Guard<'a>,
    ) -> Self {
        Self { limiter, longest, guard, began: OnceLock::new(), refused: OnceLock::new() }
    }

    /// When Redis was first asked, if it was.
    pub fn began(&self) -> Option<Timestamp> {
        self.began.get().copied()
    }

    /// The verdict, if the guard has refused the request.
    pub fn into_refusal(self) -> Option<Verdict> {
        self.refused.into_inner()
    }
}

#[async_trait]
impl<C: Clock> Lookup for Asking<'_, C> {
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        let shared = self.limiter.shared.as_ref().ok_or(Unanswered)?;
        let now = self.limiter.clock.now();
        if let Some(answer) = shared.answers.recall(&question, now, self.longest) {
            return Ok(answer);
        }
        // Asked once: it counts the denial.
        if self.refused.get().is_none()
            && self.began().is_none()
            && let Some(verdict) = (self.guard)()
        {
            let _ = self.refused.set(verdict);
        }
        if self.refused.get().is_some() {
            return Err(Unanswered);
        }
        let began = *self.began.get_or_init(|| now);
        let left = shared.left(began, now);
        if left.is_zero() {
            return Err(Unanswered);
        }
        let answer = shared.redis.look_up(&question, left).await.map_err(|_| Unanswered)?;
        shared.answers.remember(&question, &answer, now, self.longest);
        Ok(answer)
    }
}
