//! How the fields of messages are written as the members of JSON bodies, where the two differ.

/// Whether a field has the value that protobuf does not send: it is then absent over HTTP as well.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field that is itself a JSON text: it stands in the body as it is. Empty is null, and back.
pub(crate) mod text {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Error as _, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(text).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(raw.map_or_else(String::new, |raw| raw.get().to_owned()))
    }
}

/// A field that is a word or a number: the digits stand as a number in JSON.
pub(crate) mod word_or_number {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        match text.parse::<u64>() {
            Ok(number) => serializer.serialize_u64(number),
            Err(_) => serializer.serialize_str(text),
        }
    }

    /// Nobody answers with one.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// An outcome: a word in JSON.
pub(crate) mod outcome {
    use std::borrow::Cow;

    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::{Error as _, Serializer};
    use words::Outcome;

    use crate::proto;

    pub(crate) fn serialize<S: Serializer>(outcome: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        let outcome = proto::Outcome::try_from(*outcome).ok().and_then(super::super::outcome_of);
        let outcome = outcome.ok_or_else(|| S::Error::custom("is committed, refused or uncertain"))?;
        serializer.serialize_str(outcome.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        let word = Cow::<'de, str>::deserialize(deserializer)?;
        let all = [Outcome::Committed, Outcome::Refused, Outcome::Uncertain];
        let outcome = all.into_iter().find(|outcome| outcome.as_str() == word);
        let outcome = outcome.ok_or_else(|| D::Error::custom("no outcome"))?;
        Ok(super::super::outcome(outcome).into())
    }
}
