//! Money is an integer in the unit's smallest part, checked, never wrapped and never a float.

use std::fmt;

/// The largest amount: 2^127 - 1, so that every balance fits a signed 128-bit integer.
pub const AMOUNT_MAX: u128 = i128::MAX as u128;

/// A positive quantity of some unit's smallest part: 1 to 2^127 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Amount(i128);

/// Why a number is no amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountError {
    /// Zero moves nothing.
    Zero,
    /// Above 2^127 - 1.
    TooLarge,
}

impl Amount {
    /// The amount of `units`.
    ///
    /// # Errors
    /// [`AmountError::Zero`] and [`AmountError::TooLarge`].
    pub const fn new(units: u128) -> Result<Self, AmountError> {
        match units {
            0 => Err(AmountError::Zero),
            units if units > AMOUNT_MAX => Err(AmountError::TooLarge),
            units => Ok(Self(units as i128)),
        }
    }

    /// The number of smallest parts: 1 to 2^127 - 1.
    pub const fn units(self) -> u128 {
        self.0 as u128
    }

    /// The same number, signed, to be added to a balance or taken from one.
    pub const fn signed(self) -> i128 {
        self.0
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "an amount is at least 1",
            Self::TooLarge => "an amount is at most 2^127 - 1",
        })
    }
}

impl std::error::Error for AmountError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Amount::new(0), Err(AmountError::Zero));
        assert_eq!(Amount::new(1).map(Amount::units), Ok(1));
        assert_eq!(Amount::new(AMOUNT_MAX).map(Amount::signed), Ok(i128::MAX));
        assert_eq!(Amount::new(AMOUNT_MAX + 1), Err(AmountError::TooLarge));
        assert_eq!(Amount::new(u128::MAX), Err(AmountError::TooLarge));
    }
}
