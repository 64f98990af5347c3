//! When nobody waits any longer, carried as remaining time so that skewed clocks cannot lie about it.

use std::fmt;
use std::time::Duration;

/// The deadline of a request that names none.
pub const DEADLINE_DEFAULT_MS: u64 = 10_000;

/// The longest deadline a request may name: one hour. What takes longer is asked for later, not waited for.
pub const DEADLINE_MS_MAX: u64 = 3_600_000;

/// Time that remains, counted from the moment the first byte of the request came in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Duration);

/// Why a text is no remaining time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadlineError {
    /// Not a whole number followed by `ms` or `s`.
    Malformed,
    /// Above [`DEADLINE_MS_MAX`].
    TooLong,
}

impl Deadline {
    /// `ms` from now.
    ///
    /// # Errors
    /// [`DeadlineError::TooLong`].
    pub const fn from_ms(ms: u64) -> Result<Self, DeadlineError> {
        if ms > DEADLINE_MS_MAX {
            return Err(DeadlineError::TooLong);
        }
        Ok(Self(Duration::from_millis(ms)))
    }

    /// Reads `250ms` or `2s`.
    ///
    /// # Errors
    /// [`DeadlineError`].
    pub fn parse(text: &str) -> Result<Self, DeadlineError> {
        let (digits, unit_ms) = match text.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix('s').ok_or(DeadlineError::Malformed)?, 1_000),
        };
        if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DeadlineError::Malformed);
        }
        let count: u64 = digits.parse().map_err(|_| DeadlineError::Malformed)?;
        Self::from_ms(count * unit_ms)
    }

    /// What remains.
    pub const fn remaining(self) -> Duration {
        self.0
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self(Duration::from_millis(DEADLINE_DEFAULT_MS))
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

impl fmt::Display for DeadlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "a deadline is a whole number of `ms` or `s`, like `250ms` or `2s`"),
            Self::TooLong => write!(f, "a deadline is at most {DEADLINE_MS_MAX}ms"),
        }
    }
}

impl std::error::Error for DeadlineError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(Deadline::parse("250ms").map(|d| d.remaining().as_millis()), Ok(250));
        assert_eq!(Deadline::parse("2s").map(|d| d.remaining().as_millis()), Ok(2_000));
        assert_eq!(Deadline::parse("0ms").map(|d| d.remaining().as_millis()), Ok(0));
        assert_eq!(Deadline::parse("3600s").map(|d| d.remaining().as_secs()), Ok(3_600));
        assert_eq!(Deadline::parse("3601s"), Err(DeadlineError::TooLong));
        for bad in ["", "5", "ms", "s", "-1ms", "+1ms", "1.5s", "1e3ms", " 1s", "1 s", "1m", "9999999999ms"] {
            assert_eq!(Deadline::parse(bad), Err(DeadlineError::Malformed), "{bad:?}");
        }
    }
}
