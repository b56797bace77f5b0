//! The times that logs are written with.

use crate::limit::Timestamp;

/// Later moments are not exact everywhere, and no log is from the year 2255.
const MICROS_END: u64 = 1 << 53;
/// Seconds of a day.
const DAY_S: i64 = 86_400;
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
/// Numbers below these bounds are seconds, milliseconds and so on since the epoch, with so many
/// microseconds (or of nanoseconds, so many a microsecond).
const SECONDS_END: u64 = 100_000_000_000;
const MILLIS_END: u64 = SECONDS_END * 1_000;
const MICROSECONDS_END: u64 = MILLIS_END * 1_000;

/// `10/Oct/2000:13:55:36 -0700`, as common and combined lines have it.
pub(super) fn common(text: &[u8]) -> Option<Timestamp> {
    let signs = [(2, b'/'), (6, b'/'), (11, b':'), (14, b':'), (17, b':'), (20, b' ')];
    if text.len() != 26 || signs.iter().any(|(at, sign)| text[*at] != *sign) {
        return None;
    }
    let month = MONTHS.iter().position(|name| text[3..6].eq_ignore_ascii_case(&name[..]))?;
    let number = |from: usize, to: usize| digits(&text[from..to]);
    let (day, year) = (number(0, 2)?, number(7, 11)?);
    let (hour, minute, second) = (number(12, 14)?, number(15, 17)?, number(18, 20)?);
    let offset = number(22, 24)? * 3_600 + number(24, 26)? * 60;
    let offset = match text[21] {
        b'+' => offset,
        b'-' => -offset,
        _ => return None,
    };
    // A leap second is the first moment of the next minute.
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_epoch(year, i64::try_from(month).ok()? + 1, day);
    from_seconds(days * DAY_S + hour * 3_600 + minute * 60 + second - offset)
}

/// A time in whatever spelling: RFC 3339, that of common lines, or a number since the epoch.
pub(super) fn spelled(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']');
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return decimal(text);
    }
    common(text.as_bytes()).or_else(|| {
        let at: jiff::Timestamp = text.parse().ok()?;
        within(u64::try_from(at.as_microsecond()).ok()?)
    })
}

/// A number of seconds, milliseconds, microseconds or nanoseconds since the epoch: its size tells.
pub(super) fn whole(number: u64) -> Option<Timestamp> {
    within(match number {
        0..SECONDS_END => number * 1_000_000,
        SECONDS_END..MILLIS_END => number * 1_000,
        MILLIS_END..MICROSECONDS_END => number,
        _ => number / 1_000,
    })
}

/// The same with a fraction.
pub(super) fn fractional(number: f64) -> Option<Timestamp> {
    if !(0.0..1e19).contains(&number) {
        return None;
    }
    let micros = match number as u64 {
        0..SECONDS_END => number * 1e6,
        SECONDS_END..MILLIS_END => number * 1e3,
        MILLIS_END..MICROSECONDS_END => number,
        _ => number / 1e3,
    };
    within(micros.round() as u64)
}

/// `at` as RFC 3339.
pub(super) fn written(at: Timestamp) -> String {
    let micros = at.as_micros().min(MICROS_END).cast_signed();
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |at| at.to_string())
}

/// Digits with at most one point, exact to the microsecond.
fn decimal(text: &str) -> Option<Timestamp> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number: u64 = integer.parse().ok()?;
    let places: usize = match number {
        0..SECONDS_END => 6,
        SECONDS_END..MILLIS_END => 3,
        _ => 0,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kept = &fraction[..fraction.len().min(places)];
    let part: u64 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    let scale = 10_u64.pow((places - kept.len()) as u32);
    within(whole(number)?.as_micros() + part * scale)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
    })
}

/// Days from 1970 to a date of the Gregorian calendar; eras of 400 years begin in March.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn from_seconds(seconds: i64) -> Option<Timestamp> {
    within(u64::try_from(seconds).ok()?.checked_mul(1_000_000)?)
}

fn within(micros: u64) -> Option<Timestamp> {
    (micros < MICROS_END).then(|| Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 971_211_336_000_000;

    #[test]
    fn all_spellings_of_a_moment_are_that_moment() {
        for text in [
            "10/Oct/2000:13:55:36 -0700",
            "[10/Oct/2000:20:55:36 +0000]",
            "11/oct/2000:02:40:36 +0545",
            "2000-10-10T20:55:36Z",
            "2000-10-10T13:55:36-07:00",
            "2000-10-10 20:55:36.000+00:00",
            "971211336",
            "971211336.000",
            "971211336000",
            "971211336000000",
            "971211336000000000",
        ] {
            assert_eq!(spelled(text), Some(Timestamp::from_micros(AT)), "{text}");
        }
        for (text, more) in [
            ("971211336.25", 250_000),
            ("971211336.1234567", 123_456),
            ("971211336001.5", 1_500),
            ("2000-10-10T20:55:36.000007Z", 7),
        ] {
            assert_eq!(spelled(text), Some(Timestamp::from_micros(AT + more)), "{text}");
        }
        assert_eq!(fractional(971_211_336.25), Some(Timestamp::from_micros(AT + 250_000)));
        assert_eq!(whole(AT), Some(Timestamp::from_micros(AT)));
        assert_eq!(written(Timestamp::from_micros(AT)), "2000-10-10T20:55:36Z");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let zone = jiff::tz::TimeZone::UTC;
        for day in (0..40_000).step_by(7) {
            let at = jiff::Timestamp::from_second(day * DAY_S).unwrap();
            let text = at.to_zoned(zone.clone()).strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
            assert_eq!(common(text.as_bytes()), from_seconds(day * DAY_S), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            ".",
            "-",
            "yesterday",
            "1.2.3",
            "-5",
            "32/Oct/2000:13:55:36 -0700",
            "10/Okt/2000:13:55:36 -0700",
            "10/Oct/2000:24:55:36 -0700",
            "10/Oct/2000:13:55:36 0700 ",
            "01/Jan/1969:00:00:00 +0000",
            "99999999999999999999999",
            "2300-01-01T00:00:00Z",
        ] {
            assert_eq!(spelled(text), None, "{text}");
        }
        assert_eq!((fractional(f64::NAN), fractional(-1.0), fractional(1e300)), (None, None, None));
    }
}
