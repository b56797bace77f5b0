//! A quota: so many units a window.

use std::fmt;

use super::time::{Micros, Timestamp};

/// The shortest window.
pub const WINDOW_MIN: Micros = Micros::new(1_000);
/// The longest window: 366 days.
pub const WINDOW_MAX: Micros = Micros::new(366 * 86_400 * 1_000_000);
/// The largest quota, burst and cost: with it every sum stays exact in a Lua number.
pub const UNITS_MAX: u64 = 1_000_000_000_000;

/// `units` per `window`, both within the bounds above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    units: u64,
    window: Micros,
}

/// Why a limit cannot be built. Each names the value at fault and its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// The quota is zero or above [`UNITS_MAX`].
    Units(u64),
    /// The window is outside [`WINDOW_MIN`] to [`WINDOW_MAX`].
    Window(Micros),
    /// The burst is zero or above [`UNITS_MAX`].
    Burst(u64),
    /// Burst times window is too large for exact arithmetic; the burst may be at most this.
    Inexact {
        /// The largest burst that this quota and window allow.
        burst_max: u64,
    },
    /// The resolution is outside 1 to [`super::sliding_window::RESOLUTION_MAX`].
    Resolution(u64),
    /// The permits are none or more than [`super::concurrency::QUOTA_MAX`].
    Permits(u64),
    /// The period is empty, longer than [`WINDOW_MAX`], or its ends are no whole seconds.
    Period {
        /// Its first moment.
        start: Timestamp,
        /// The first moment after it.
        end: Timestamp,
    },
}

// === impl Quota ===

impl Quota {
    /// `units` per `window`.
    pub fn new(units: u64, window: Micros) -> Result<Self, LimitError> {
        if units == 0 || units > UNITS_MAX {
            return Err(LimitError::Units(units));
        }
        if window < WINDOW_MIN || window > WINDOW_MAX {
            return Err(LimitError::Window(window));
        }
        Ok(Self { units, window })
    }

    /// Units per window.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// The window.
    pub const fn window(&self) -> Micros {
        self.window
    }
}

// === impl LimitError ===

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units(units) => write!(f, "a quota is 1 to {UNITS_MAX}: {units}"),
            Self::Window(window) => write!(f, "a window is 1ms to 366d: {window}"),
            Self::Burst(burst) => write!(f, "a burst is 1 to {UNITS_MAX}: {burst}"),
            Self::Inexact { burst_max } => write!(
                f,
                "burst times window is too large to count exactly: the burst may be at most \
                 {burst_max}"
            ),
            Self::Resolution(ticks) => write!(
                f,
                "a resolution is 1 to {} ticks a window: {ticks}",
                super::sliding_window::RESOLUTION_MAX
            ),
            Self::Permits(units) => {
                write!(f, "permits are 1 to {}: {units}", super::concurrency::QUOTA_MAX)
            }
            Self::Period { start, end } => write!(
                f,
                "a period is whole seconds and at most 366d: {} to {} us",
                start.as_micros(),
                end.as_micros()
            ),
        }
    }
}

impl std::error::Error for LimitError {}
