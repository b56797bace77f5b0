//! Which answers a policy counts that counts failures only.

use std::fmt;
use std::ops::RangeInclusive;

/// Statuses of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

// === impl Statuses ===

impl Statuses {
    /// These statuses.
    pub const fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Reads one status, `404`, or a class of them, `4xx`.
    pub fn parse(text: &str) -> Option<RangeInclusive<u16>> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Some(class * 100..=class * 100 + 99);
        }
        let status: u16 = text.parse().ok().filter(|status| (100..=599).contains(status))?;
        Some(status..=status)
    }

    /// Whether `status` is among them.
    pub fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { ", " } else { "" })?;
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}xx", range.start() / 100)?;
            }
        }
        Ok(())
    }
}
