//! Amounts in JSON: an integer up to 2^53 - 1, a decimal string above, so that no reader's float can round money.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

const INTEGER_MAX: u128 = (1 << 53) - 1;

pub(crate) mod unsigned {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(units: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(*units) {
            Ok(small) if *units <= INTEGER_MAX => serializer.serialize_u64(small),
            _ => serializer.collect_str(units),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let signed = deserializer.deserialize_any(Number)?;
        u128::try_from(signed).map_err(|_| D::Error::custom("an amount is not negative"))
    }
}

pub(crate) mod signed {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        deserializer.deserialize_any(Number)
    }

    pub(crate) fn serialize<S: Serializer>(units: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(*units) {
            Ok(small) if units.unsigned_abs() <= INTEGER_MAX => serializer.serialize_i64(small),
            _ => serializer.collect_str(units),
        }
    }
}

pub(crate) mod signed_option {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i128>, D::Error> {
        #[derive(serde::Deserialize)]
        struct Some_(#[serde(with = "super::signed")] i128);
        let number: Option<Some_> = serde::Deserialize::deserialize(deserializer)?;
        Ok(number.map(|Some_(number)| number))
    }

    pub(crate) fn serialize<S: Serializer>(units: &Option<i128>, serializer: S) -> Result<S::Ok, S::Error> {
        match units {
            Some(units) => super::signed::serialize(units, serializer),
            None => serializer.serialize_none(),
        }
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or a decimal string of one")
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<i128, E> {
        Ok(i128::from(n))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<i128, E> {
        Ok(i128::from(n))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i128, E> {
        text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Both {
        #[serde(with = "super::unsigned")]
        amount: u128,
        #[serde(with = "super::signed_option")]
        floor: Option<i128>,
    }

    fn check(amount: u128, floor: Option<i128>, json: &str) {
        let both = Both { amount, floor };
        assert_eq!(serde_json::to_string(&both).unwrap(), json);
        assert_eq!(serde_json::from_str::<Both>(json).unwrap(), both);
    }

    #[test]
    fn strings_above_the_integers_that_floats_can_hold() {
        check(1, None, r#"{"amount":1,"floor":null}"#);
        check((1 << 53) - 1, Some(-((1 << 53) - 1)), r#"{"amount":9007199254740991,"floor":-9007199254740991}"#);
        check(1 << 53, Some(-(1 << 53)), r#"{"amount":"9007199254740992","floor":"-9007199254740992"}"#);
        check(
            i128::MAX as u128,
            Some(i128::MIN),
            r#"{"amount":"170141183460469231731687303715884105727","floor":"-170141183460469231731687303715884105728"}"#,
        );
        for bad in [r#"{"amount":-1,"floor":0}"#, r#"{"amount":1.5,"floor":0}"#, r#"{"amount":"x","floor":0}"#] {
            assert!(serde_json::from_str::<Both>(bad).is_err(), "{bad}");
        }
    }
}
