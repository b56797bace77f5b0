//! Reloads that the admin listener asks for. They are made where all others are, one after the
//! other, so two never meet.

use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::Outcome;

/// Reloads that may wait for their turn; who comes when there are as many is sent away.
const WAITING_MAX: usize = 4;
/// Longest that one who has asked waits for what comes of it. The reload itself goes on.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One that somebody waits for.
pub type Asked = oneshot::Sender<Outcome>;

/// Why somebody who asks for a reload does not hear what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// There are as many waiting as may: nothing is done.
    Busy,
    /// It takes longer than one waits, and may still come in force.
    Late,
    /// The process ends, and reads nothing any more.
    Ending,
}

/// Who asks, and who is asked.
#[derive(Debug)]
pub(super) struct Asking {
    ask: mpsc::Sender<Asked>,
    /// Locked by the one place that reloads.
    asked: Mutex<mpsc::Receiver<Asked>>,
}

// === impl Asking ===

impl Asking {
    pub(super) fn new() -> Self {
        let (ask, asked) = mpsc::channel(WAITING_MAX);
        Self { ask, asked: Mutex::new(asked) }
    }

    /// Has a reload made, and waits for what comes of it.
    pub(super) async fn ask(&self) -> Result<Outcome, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.ask.try_send(answer).map_err(|_| Unanswered::Busy)?;
        match timeout(ANSWER_MAX, answered).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(Unanswered::Ending),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// The next who asks. May be given up at any moment without losing one.
    pub(super) async fn next(&self) -> Asked {
        match self.asked.lock().await.recv().await {
            Some(asked) => asked,
            // Never: this one sends as well.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Report;

    fn alone(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn who_asks_hears_what_came_of_it() {
        alone(async {
            let asking = Asking::new();
            let serve = async {
                let report = Report { generation: 7, ..Report::default() };
                asking.next().await.send(Outcome::Applied(report)).unwrap();
            };
            let (outcome, ()) = tokio::join!(asking.ask(), serve);
            assert!(matches!(outcome, Ok(Outcome::Applied(Report { generation: 7, .. }))));
        });
    }

    #[test]
    fn so_many_wait_and_the_next_is_sent_away() {
        alone(async {
            let asking = Asking::new();
            for _ in 0..WAITING_MAX {
                asking.ask.try_send(oneshot::channel().0).unwrap();
            }
            assert_eq!(asking.ask().await.unwrap_err(), Unanswered::Busy);
        });
    }
}
