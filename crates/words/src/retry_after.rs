//! `Retry-After`: how long a peer asks to be left alone, read alike by everyone who is told so.

use std::time::Duration;

/// The longest that it is read as: a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Reads the header's value (RFC 9110, section 10.2.3), a day at most: seconds, or a date. A date is read against `date`, the
/// answer's own `Date`, so that no two clocks are compared; without one it says nothing. `since` reads two HTTP dates and
/// gives the time from the second to the first, none if the first is earlier; calendars are for the crates that know them.
pub fn retry_after(
    asked: &str,
    date: Option<&str>,
    since: impl FnOnce(&str, &str) -> Option<Duration>,
) -> Option<Duration> {
    let asked = asked.trim();
    let after = if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than can be counted are more than a day, too.
        asked.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        since(asked, date?.trim())?
    };
    Some(after.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dates are seconds after an `@` here.
    fn since(then: &str, sent: &str) -> Option<Duration> {
        let seconds = |text: &str| text.strip_prefix('@')?.parse::<u64>().ok();
        Some(Duration::from_secs(seconds(then)?.saturating_sub(seconds(sent)?)))
    }

    #[test]
    fn seconds_or_a_date_against_the_answers_own() {
        for (asked, date, seconds) in [
            ("2", None, Some(2)),
            (" 2 ", Some("@9"), Some(2)),
            ("86401", None, Some(86_400)),
            ("99999999999999999999", None, Some(86_400)),
            ("+2", Some("@0"), None),
            ("-1", None, None),
            ("", Some("@0"), None),
            ("soon", Some("@0"), None),
            ("@12", Some(" @7 "), Some(5)),
            ("@7", Some("@12"), Some(0)),
            ("@86401", Some("@0"), Some(86_400)),
            ("@12", Some("just now"), None),
            ("@12", None, None),
        ] {
            assert_eq!(retry_after(asked, date, since), seconds.map(Duration::from_secs), "{asked:?}, {date:?}");
        }
    }
}
