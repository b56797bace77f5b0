//! Questions about keys of the application, on the connection that decisions use.
//!
//! Each question travels between two ECHOs of its own. On a connection where replies and calls have
//! fallen out of step one client would get the session of another; there the echoes are not where
//! they belong, and the connection is given up.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::time::timeout;

use super::RedisStore;
use super::fault::{Fault, FaultKind};
use super::link::{Link, Turn};
use super::route::{Blame, Errand};
use crate::identity::lookup::{ANSWER_MAX, Answer, Question};

/// Replies to a question: it, and an echo on each side.
const REPLIES: usize = 3;

// === impl RedisStore ===

impl RedisStore {
    /// Asks `question`, which may take `longest`. An error reply concerns the key or the right to
    /// look at it, and says nothing about the store.
    pub async fn look_up(&self, question: &Question, longest: Duration) -> Result<Answer, Fault> {
        let asked = self.follow(question.key(), longest, question).await;
        let (way, answer) = asked.map_err(|fault| match fault.kind() {
            FaultKind::Away => self.common.count(fault),
            _ => fault,
        })?;
        let answer = self.conclude(&way, answer, Blame::Call);
        if let Err(fault) = &answer
            && fault.kind() == FaultKind::ErrorReply
        {
            self.complain(fault);
        }
        answer
    }

    /// Says once in a while why the application's keys cannot be read.
    fn complain(&self, fault: &Fault) {
        if self.lookups_refused.is_due(self.common.clock.now()) {
            tracing::warn!(
                %fault,
                "cannot look up a session or a revocation: the key holds another type than \
                 `[identity]` says, or the user of Redis lacks a right that docs/operating.md lists"
            );
        }
    }
}

// === impl Errand ===

impl Errand for Question {
    type Answer = Answer;

    async fn run(&self, link: &Link, turn: Turn, longest: Duration) -> Result<Answer, Fault> {
        ask(link.connection(), self, turn, longest).await
    }
}

async fn ask(
    mut connection: MultiplexedConnection,
    question: &Question,
    turn: Turn,
    longest: Duration,
) -> Result<Answer, Fault> {
    let number = fastrand::u64(..).to_string();
    let calls = calls(question, &number, turn);
    let asking = connection.send_packed_commands(&calls, 0, calls.cmd_iter().count());
    let mut replies = timeout(longest, asking).await.map_err(|_| Fault::unanswered())??;
    if turn == Turn::Guest && replies.len() > REPLIES {
        // That of ASKING.
        let asking = replies.remove(1).extract_error();
        asking.map_err(|error| Fault::new(FaultKind::Moved, error.to_string()))?;
    }
    let Ok([before, reply, after]) = <[Value; REPLIES]>::try_from(replies) else {
        return Err(foreign());
    };
    // A right to ECHO that is missing says nothing about the connection.
    let (before, after) = (before.extract_error()?, after.extract_error()?);
    if !is_echo(&before, &number) || !is_echo(&after, &number) {
        return Err(foreign());
    }
    answer(question, reply.extract_error()?).ok_or_else(Fault::malformed)
}

fn calls(question: &Question, number: &str, turn: Turn) -> Pipeline {
    let mut calls = redis::pipe();
    calls.cmd("ECHO").arg(number);
    if turn == Turn::Guest {
        calls.cmd("ASKING");
    }
    match question {
        Question::Exists(key) => calls.cmd("EXISTS").arg(key),
        // One byte more than is taken tells what is too large.
        Question::Value(key) => calls.cmd("GETRANGE").arg(key).arg(0).arg(ANSWER_MAX),
        Question::Fields(key, fields) => calls.cmd("HMGET").arg(key).arg(fields),
    };
    calls.cmd("ECHO").arg(number);
    calls
}

fn foreign() -> Fault {
    // Every reply to come is suspect.
    Fault::new(FaultKind::Connection, "a reply to another call")
}

fn is_echo(reply: &Value, number: &str) -> bool {
    matches!(reply, Value::BulkString(bytes) if bytes == number.as_bytes())
}

fn answer(question: &Question, reply: Value) -> Option<Answer> {
    match (question, reply) {
        (Question::Exists(_), Value::Int(count @ (0 | 1))) => Some(Answer::Exists(count == 1)),
        (Question::Value(_), Value::BulkString(bytes)) => {
            // A key that is not there reads as an empty string.
            let fits = (1..=ANSWER_MAX).contains(&bytes.len());
            Some(Answer::Value(fits.then_some(bytes)))
        }
        (Question::Fields(_, fields), Value::Array(values)) if values.len() == fields.len() => {
            values.into_iter().map(field).collect::<Option<_>>().map(Answer::Fields)
        }
        _ => None,
    }
}

/// The value of a field; the outer `None`: it is none that Redis would give.
#[expect(clippy::option_option, reason = "an absent field is one thing, and a wrong one another")]
fn field(value: Value) -> Option<Option<Vec<u8>>> {
    match value {
        Value::Nil => Some(None),
        Value::BulkString(bytes) => Some((bytes.len() <= ANSWER_MAX).then_some(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_reply_of_another_kind_is_no_answer() {
        let exists = Question::Exists("k".to_owned());
        assert_eq!(answer(&exists, Value::Int(1)), Some(Answer::Exists(true)));
        let value = Question::Value("k".to_owned());
        assert_eq!(answer(&value, bulk("")), Some(Answer::Value(None)));
        let large = "x".repeat(ANSWER_MAX + 1);
        assert_eq!(answer(&value, bulk(&large)), Some(Answer::Value(None)));
        let fields = Question::Fields("k".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        let reply = Value::Array(vec![bulk("1"), Value::Nil]);
        let read = Answer::Fields(vec![Some(b"1".to_vec()), None]);
        assert_eq!(answer(&fields, reply), Some(read));
        for (question, reply) in [
            (&exists, Value::Int(2)),
            (&exists, bulk("1")),
            (&value, Value::Nil),
            (&value, Value::Int(1)),
            (&fields, Value::Array(vec![bulk("1")])),
            (&fields, Value::Array(vec![bulk("1"), Value::Int(1)])),
            (&fields, bulk("1")),
        ] {
            assert_eq!(answer(question, reply.clone()), None, "{question:?} {reply:?}");
        }
    }
}
