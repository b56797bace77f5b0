//! The breaker around the shared store: a pure state machine, handed the time.
//!
//! Closed: decisions go to Redis. Open: they are made without it, at no wait at all. Half open:
//! the supervisor is trying the real script on a new connection; only its success closes the
//! breaker.

use crate::limit::{Micros, Timestamp};

/// So many calls without an answer, more than had one, over at least [`SILENCE_MIN`], are a fault.
/// Fewer, or many at once, are a hiccup.
const TIMEOUTS_MAX: u32 = 5;
const SILENCE_MIN: Micros = Micros::new(250_000);
/// Calls are counted for so long from the first without an answer; then the count begins anew.
const SPAN: Micros = Micros::new(1_000_000);
/// The longest pause before the first retry; it doubles with every failure.
const PAUSE_MIN: Micros = Micros::new(50_000);
/// The longest pause: what a returned Redis waits to be noticed, at most.
const PAUSE_MAX: Micros = Micros::new(1_000_000);

/// Where the breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Decisions go to the store.
    Closed,
    /// They do not, until a probe is due.
    Open,
    /// A probe is under way.
    HalfOpen,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Breaker {
    position: Position,
    /// Calls without an answer, and with one, since the first of the former.
    unanswered: u32,
    answered: u32,
    since: Option<Timestamp>,
    failures: u32,
    probe_at: Timestamp,
}

// === impl Position ===

impl Position {
    /// Its number in the metric: 0 closed, 1 open, 2 half open.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The position of that number; none other is ever shown.
    pub(super) const fn numbered(number: u8) -> Self {
        match number {
            0 => Self::Closed,
            2 => Self::HalfOpen,
            _ => Self::Open,
        }
    }

    /// Its name in the readiness report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

// === impl Breaker ===

impl Breaker {
    /// A breaker that is open and due for its first probe: a gateway starts without Redis.
    pub const fn new(now: Timestamp) -> Self {
        let position = Position::Open;
        Self { position, unanswered: 0, answered: 0, since: None, failures: 0, probe_at: now }
    }

    /// Where it stands.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// A call was answered.
    pub const fn answered(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    /// A call got no answer that counts. Returns whether that opened the breaker.
    pub fn unanswered(&mut self, now: Timestamp, jitter: f64) -> bool {
        if self.since.is_none_or(|since| now.since(since) > SPAN) {
            (self.unanswered, self.answered, self.since) = (0, 0, Some(now));
        }
        self.unanswered = self.unanswered.saturating_add(1);
        let lasts = self.since.is_some_and(|since| now.since(since) >= SILENCE_MIN);
        let most = self.unanswered >= TIMEOUTS_MAX && self.unanswered > self.answered;
        lasts && most && self.failed(now, jitter)
    }

    /// A call or a probe failed. Returns whether that opened the breaker. `jitter` in 0 to 1
    /// spreads the probes of many gateways over the whole pause.
    pub fn failed(&mut self, now: Timestamp, jitter: f64) -> bool {
        let opened = self.position == Position::Closed;
        let doubled = PAUSE_MIN.get().saturating_mul(1 << self.failures.min(10));
        let pause = doubled.min(PAUSE_MAX.get()) as f64 * jitter.clamp(0.0, 1.0);
        self.position = Position::Open;
        self.probe_at = now.after(Micros::new(pause as u64));
        self.failures = self.failures.saturating_add(1);
        opened
    }

    /// How long until a probe is due.
    pub const fn probe_in(&self, now: Timestamp) -> Micros {
        self.probe_at.since(now)
    }

    /// There is another place to try: a probe is due at `now`.
    pub const fn hurry(&mut self, now: Timestamp) {
        self.position = Position::Open;
        self.probe_at = now;
    }

    /// A probe begins.
    pub const fn probe(&mut self) {
        self.position = Position::HalfOpen;
    }

    /// The probe succeeded. The next pause is short again only once the store has settled.
    pub const fn close(&mut self) {
        self.position = Position::Closed;
        self.since = None;
    }

    /// The store has answered for a while: what failed before no longer counts.
    pub const fn settle(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_000_000_000_000);

    #[test]
    fn starts_open_and_closes_only_after_a_probe() {
        let mut breaker = Breaker::new(NOW);
        assert_eq!((breaker.position(), breaker.probe_in(NOW)), (Position::Open, Micros::ZERO));
        breaker.probe();
        assert_eq!(breaker.position(), Position::HalfOpen);
        breaker.close();
        assert_eq!(breaker.position(), Position::Closed);
    }

    #[test]
    fn opens_at_once_on_a_failure() {
        let mut breaker = Breaker::new(NOW);
        breaker.close();
        assert!(breaker.failed(NOW, 1.0));
        assert!(!breaker.failed(NOW, 1.0), "it opens once");
    }

    #[test]
    fn opens_on_silence_and_not_on_a_hiccup() {
        let mut breaker = Breaker::new(NOW);
        breaker.close();
        for _ in 0..100 {
            assert!(!breaker.unanswered(NOW, 1.0), "many at once are one hiccup");
        }
        assert!(breaker.unanswered(NOW.after(SILENCE_MIN), 1.0), "they go on");
        breaker.close();
        for call in 0..20 {
            let now = NOW.after(Micros::new(call * SPAN.get()));
            assert!(!breaker.unanswered(now, 1.0), "few are left to the probe");
        }
    }

    #[test]
    fn opens_when_most_calls_get_no_answer() {
        let opens = |answers: u32| {
            let mut breaker = Breaker::new(NOW);
            breaker.close();
            (0..100).any(|turn| {
                (0..answers).for_each(|_| breaker.answered());
                breaker.unanswered(NOW.after(Micros::new(turn * 20_000)), 1.0)
            })
        };
        assert!(opens(0));
        assert!(!opens(2), "most of them are answered");
        let mut breaker = Breaker::new(NOW);
        breaker.close();
        let one_in_five = (0..100).any(|turn| {
            let now = NOW.after(Micros::new(turn * 20_000));
            if turn % 5 == 0 {
                breaker.answered();
                return false;
            }
            breaker.unanswered(now, 1.0)
        });
        assert!(one_in_five);
    }

    #[test]
    fn pauses_shrink_only_when_the_store_has_settled() {
        let mut breaker = Breaker::new(NOW);
        for _ in 0..3 {
            breaker.failed(NOW, 1.0);
            breaker.close();
        }
        breaker.failed(NOW, 1.0);
        assert_eq!(breaker.probe_in(NOW).get(), 400_000);
        breaker.close();
        breaker.settle();
        breaker.failed(NOW, 1.0);
        assert_eq!(breaker.probe_in(NOW), PAUSE_MIN);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        let mut breaker = Breaker::new(NOW);
        let pauses: Vec<u64> = (0..8)
            .map(|_| {
                breaker.failed(NOW, 1.0);
                breaker.probe_in(NOW).get()
            })
            .collect();
        assert_eq!(pauses[..3], [50_000, 100_000, 200_000]);
        assert_eq!(pauses[7], PAUSE_MAX.get());
        breaker.failed(NOW, 0.25);
        assert_eq!(breaker.probe_in(NOW).get(), PAUSE_MAX.get() / 4);
    }
}
