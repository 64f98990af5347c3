//! Instants as strangers see them: RFC 3339, UTC, exactly six decimals.

use words::Stamp;

use crate::codes::Code;
use crate::problem::Problem;

/// How long a written instant is, up to the year 9999; stamps end in 2112.
const INSTANT_BYTES: usize = "1970-01-01T00:00:00.000000Z".len();

/// Appends the instant as a JSON string.
pub(crate) fn put_instant(out: &mut Vec<u8>, stamp: Stamp) {
    out.push(b'"');
    out.extend_from_slice(&instant(stamp));
    out.push(b'"');
}

/// The instant as ASCII.
pub(crate) fn instant(stamp: Stamp) -> [u8; INSTANT_BYTES] {
    let micros = stamp.micros();
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_digits(&mut text[11..13], seconds / 3_600);
    put_digits(&mut text[14..16], seconds / 60 % 60);
    put_digits(&mut text[17..19], seconds % 60);
    put_digits(&mut text[20..26], micros);
    text
}

/// The instant as a text.
pub fn format_instant(stamp: Stamp) -> String {
    instant(stamp).iter().map(|byte| char::from(*byte)).collect()
}

/// Reads an RFC 3339 instant; what lies before 1970 is read as 1970, what lies after 2112 as 2112.
///
/// # Errors
/// A problem that names `parameter`.
pub fn parse_instant(parameter: &str, text: &str) -> Result<Stamp, Problem> {
    match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Ok(Stamp::from_micros(u64::try_from(instant.as_microsecond()).unwrap_or(0))),
        Err(_) => Err(Problem::field(
            Code::InvalidRequest,
            parameter,
            "an instant is written like 2026-01-31T12:00:00.000000Z (RFC 3339)",
        )),
    }
}

/// Year, month and day of a count of days since 1970-01-01, after Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`, for days that are not negative.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

fn put_digits(out: &mut [u8], mut n: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same instant that jiff writes, over the whole range of stamps.
        #[test]
        fn as_jiff_writes_it(micros in 0u64..1 << 52) {
            let jiff = jiff::Timestamp::from_microsecond(micros as i64).unwrap();
            prop_assert_eq!(format_instant(Stamp::from_micros(micros)), format!("{jiff:.6}"));
            prop_assert_eq!(parse_instant("from", &format!("{jiff:.6}")), Ok(Stamp::from_micros(micros)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = parse_instant("from", &text);
        }
    }

    #[test]
    fn edges() {
        assert_eq!(format_instant(Stamp::ZERO), "1970-01-01T00:00:00.000000Z");
        assert_eq!(format_instant(Stamp::from_micros(951_782_400_000_001)), "2000-02-29T00:00:00.000001Z");
        assert_eq!(format_instant(Stamp::MAX), "2112-09-17T23:53:47.370495Z");
        assert_eq!(parse_instant("from", "1969-12-31T23:59:59Z"), Ok(Stamp::ZERO));
        assert_eq!(parse_instant("from", "1970-01-01T01:00:00.000001+01:00"), Ok(Stamp::from_micros(1)));
        for bad in ["", "now", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T12:00:00"] {
            assert!(parse_instant("from", bad).is_err(), "{bad:?}");
        }
    }
}
