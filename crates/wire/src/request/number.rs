//! Amounts, floors and durations in JSON. A number that came as a fraction or with an exponent is refused even where it
//! would be whole: whoever sends money as a double will sooner or later send one that is not.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use words::{AMOUNT_MAX, Amount};

use crate::codes::Code;
use crate::json::JSON_INTEGER_MAX;
use crate::problem::Problem;

/// The longest hold: 366 days.
pub const HOLD_MS_MAX: u64 = *machine::HOLD_MS_BOUNDS.end();

/// A number as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NumberIn {
    Integer { negative: bool, units: u128 },
    Decimal { negative: bool, units: u128 },
    Double,
    Text,
}

/// An amount, not checked yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct AmountIn(NumberIn);

/// A hold's duration, not checked yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldIn(NumberIn);

/// A floor, not checked yet: `null` is none, absent is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloorIn(Option<NumberIn>);

impl AmountIn {
    pub(super) fn check(self, field: &str) -> Result<Amount, Problem> {
        let units = match self.0 {
            NumberIn::Integer { negative: false, units } if units <= JSON_INTEGER_MAX.into() => units,
            NumberIn::Decimal { negative: false, units } if units > JSON_INTEGER_MAX.into() => units,
            wrong => return Err(wrong.problem(field, "an amount")),
        };
        check_amount(field, units)
    }
}

impl HoldIn {
    pub(super) fn check(self) -> Result<u64, Problem> {
        match self.0 {
            NumberIn::Integer { negative: false, units } => check_hold(u64::try_from(units).unwrap_or(u64::MAX)),
            wrong => Err(wrong.problem("hold_ms", "a duration")),
        }
    }
}

impl FloorIn {
    pub(super) fn check(self, field: &str) -> Result<Option<i128>, Problem> {
        let Some(number) = self.0 else { return Ok(None) };
        let (negative, units) = match number {
            NumberIn::Integer { negative, units } if units <= JSON_INTEGER_MAX.into() => (negative, units),
            NumberIn::Decimal { negative, units } if units > JSON_INTEGER_MAX.into() => (negative, units),
            wrong => return Err(wrong.problem(field, "a floor")),
        };
        signed(field, negative, units).map(Some)
    }
}

impl Default for FloorIn {
    fn default() -> Self {
        Self(Some(NumberIn::Integer { negative: false, units: 0 }))
    }
}

/// Checks that an amount can be one.
pub(crate) fn check_amount(field: &str, units: u128) -> Result<Amount, Problem> {
    Amount::new(units).map_err(|error| Problem::field(Code::AmountInvalid, field, error))
}

/// Checks that a hold lasts 1 ms to 366 days.
pub(crate) fn check_hold(hold_ms: u64) -> Result<u64, Problem> {
    if (1..=HOLD_MS_MAX).contains(&hold_ms) {
        return Ok(hold_ms);
    }
    Err(Problem::field(Code::AmountInvalid, "hold_ms", format_args!("a hold lasts 1 to {HOLD_MS_MAX} ms (366 days)")))
}

/// An amount that is always a text, whatever its size: gRPC's form.
pub(crate) fn amount_of_text(field: &str, text: &str) -> Result<Amount, Problem> {
    match NumberIn::of_text(text) {
        NumberIn::Decimal { negative: false, units } => check_amount(field, units),
        _ => Err(NumberIn::Text.problem(field, "an amount")),
    }
}

/// A floor that is always a text.
pub(crate) fn floor_of_text(field: &str, text: &str) -> Result<i128, Problem> {
    match NumberIn::of_text(text) {
        NumberIn::Decimal { negative, units } => signed(field, negative, units),
        _ => Err(NumberIn::Text.problem(field, "a floor")),
    }
}

fn signed(field: &str, negative: bool, units: u128) -> Result<i128, Problem> {
    match i128::try_from(units) {
        Ok(units) => Ok(if negative { -units } else { units }),
        Err(_) => Err(Problem::field(Code::AmountInvalid, field, "a floor is between -(2^127 - 1) and 2^127 - 1")),
    }
}

impl NumberIn {
    #[cold]
    fn problem(self, field: &str, noun: &str) -> Problem {
        let what = match self {
            Self::Integer { negative: true, .. } | Self::Decimal { negative: true, .. } => {
                format!("{noun} is not negative here")
            }
            Self::Integer { .. } => format!("{noun} above {JSON_INTEGER_MAX} (2^53 - 1) is sent as a decimal string"),
            Self::Decimal { .. } => format!("{noun} up to {JSON_INTEGER_MAX} (2^53 - 1) is sent as a JSON integer"),
            Self::Double => format!(
                "{noun} is a whole number without fraction and exponent, and above {JSON_INTEGER_MAX} (2^53 - 1) a \
                    decimal string"
            ),
            Self::Text => format!("{noun} in a string is plain decimal, without leading zeros, and at most 2^127 - 1"),
        };
        Problem::field(Code::AmountInvalid, field, what)
    }

    fn of_text(text: &str) -> Self {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        match digits.parse::<u128>() {
            Ok(units) if is_plain && units <= AMOUNT_MAX && !(negative && units == 0) => {
                Self::Decimal { negative, units }
            }
            _ => Self::Text,
        }
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = NumberIn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a decimal string above 2^53 - 1")
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<NumberIn, E> {
        Ok(NumberIn::Integer { negative: false, units: n.into() })
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<NumberIn, E> {
        Ok(NumberIn::Integer { negative: n < 0, units: n.unsigned_abs().into() })
    }

    /// Fractions, exponents, -0, and integers beyond 64 bits.
    fn visit_f64<E: Error>(self, _: f64) -> Result<NumberIn, E> {
        Ok(NumberIn::Double)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NumberIn, E> {
        Ok(NumberIn::of_text(text))
    }
}

struct FloorVisitor;

impl<'de> Visitor<'de> for FloorVisitor {
    type Value = FloorIn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, a decimal string beyond 2^53 - 1, or null")
    }

    fn visit_none<E: Error>(self) -> Result<FloorIn, E> {
        Ok(FloorIn(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<FloorIn, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(|number| FloorIn(Some(number)))
    }
}

impl<'de> Deserialize<'de> for AmountIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for HoldIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for FloorIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(FloorVisitor)
    }
}
