//! How much of a request's body is taken, and how slowly.

use pingora_error::{Error, ErrorType, Result};

use crate::limit::Micros;

/// How long a body may be slow: connections begin slowly, and applications stop reading for a
/// moment.
const GRACE: Micros = Micros::new(10_000_000);

/// The body of one request as it comes.
#[derive(Debug, Default)]
pub(super) struct Intake {
    read: u64,
}

// === impl Intake ===

impl Intake {
    /// Takes the next bytes of a body of at most `most`, so long after its head. Of a slow one the
    /// average counts, so that it may rest for a while.
    pub(super) fn take(&mut self, bytes: usize, after: Micros, most: u64, rate: u64) -> Result<()> {
        self.read = self.read.saturating_add(bytes as u64);
        if self.read > most {
            return refuse(413, "the body of a request is too large");
        }
        let slow = after.get().saturating_sub(GRACE.get());
        if self.read.saturating_mul(Micros::SECOND.get()) < slow.saturating_mul(rate) {
            return refuse(408, "the body of a request comes too slowly");
        }
        Ok(())
    }
}

fn refuse(status: u16, why: &'static str) -> Result<()> {
    Err(Error::explain(ErrorType::HTTPStatus(status), why).into_down())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = Micros::SECOND.get();

    #[test]
    fn a_body_is_slow_by_its_average_after_a_while() {
        let take = |seconds: u64, bytes| {
            let mut intake = Intake { read: 0 };
            intake.take(bytes, Micros::new(seconds * SECOND), 1_000_000, 240).is_ok()
        };
        assert!(take(10, 1), "at first it may be");
        assert!(take(20, 2400) && !take(20, 2399));
        let mut intake = Intake { read: 0 };
        assert!(intake.take(1, Micros::new(1_000 * SECOND), 1_000_000, 0).is_ok(), "no bound");
    }

    #[test]
    fn a_body_is_too_large_with_its_first_byte_too_many() {
        let mut intake = Intake { read: 0 };
        assert!(intake.take(10, Micros::ZERO, 10, 240).is_ok());
        assert!(intake.take(0, Micros::ZERO, 10, 240).is_ok());
        assert!(intake.take(1, Micros::ZERO, 10, 240).is_err());
    }
}
