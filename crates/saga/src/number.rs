//! Integers of 128 bits in JSON, exactly: a number up to 2^53 - 1, above that a decimal string, and never a double.

use serde_json::Value;

/// The largest integer that stands as a JSON number: 2^53 - 1 (RFC 8259, section 6).
const JSON_INTEGER_MAX: u128 = (1 << 53) - 1;

/// The integer that `value` is: a whole JSON number, or a plain decimal string.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => {
            number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from)).filter(|_| !number.is_f64())
        }
        Value::String(text) => decimal(text),
        _ => None,
    }
}

/// The JSON of an integer.
pub(crate) fn json(integer: i128) -> Value {
    match i64::try_from(integer) {
        Ok(small) if u128::from(small.unsigned_abs()) <= JSON_INTEGER_MAX => Value::from(small),
        _ => Value::from(integer.to_string()),
    }
}

/// Plain decimal: no sign but `-`, no leading zeros, no `-0`.
fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && text != "-0";
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn forms() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(-7), Some(-7)),
            (json!(u64::MAX), Some(u64::MAX.into())),
            (json!("9007199254740993"), Some(9_007_199_254_740_993)),
            (json!("170141183460469231731687303715884105727"), Some(i128::MAX)),
            (json!("170141183460469231731687303715884105728"), None),
            (json!(1.0), None),
            (json!(1e30), None),
            (json!("1.5"), None),
            (json!("01"), None),
            (json!("-0"), None),
            (json!("+1"), None),
            (json!(" 1"), None),
            (json!(""), None),
            (json!("-"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(integer(&value), expected, "{value}");
        }
        assert_eq!(json(9_007_199_254_740_991), json!(9_007_199_254_740_991_i64));
        assert_eq!(json(9_007_199_254_740_992), json!("9007199254740992"));
    }

    proptest! {
        #[test]
        fn there_and_back(integer_in: i128) {
            prop_assert_eq!(integer(&json(integer_in)), Some(integer_in));
        }
    }
}
