//! What one hop tells the next about its retries, so that nested hops do not multiply: the header `Tertium-Attempt`.
//!
//! A structured-field item (RFC 9651, section 3.3): the attempt's number, and with the parameter `budget` whether this
//! hop has any retry left: `2;budget=ok`, `1;budget=empty`.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Its name.
pub const ATTEMPT: HeaderName = HeaderName::from_static("tertium-attempt");

/// What the header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// From 1.
    pub attempt: u32,
    /// No retry is left in the budget.
    pub budget_empty: bool,
}

impl Hop {
    /// A first attempt with retries left: also what no header means.
    pub const FIRST: Self = Self { attempt: 1, budget_empty: false };

    /// What an outer hop said; what cannot be read is taken as nothing said.
    pub fn of(headers: &HeaderMap) -> Self {
        headers.get(ATTEMPT).and_then(|value| Self::parse(value.to_str().ok()?)).unwrap_or(Self::FIRST)
    }

    /// Reads the header's value.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(|part| part.trim_matches([' ', '\t']));
        let attempt = parts.next()?.parse().ok().filter(|attempt| (1..=999).contains(attempt))?;
        let budget_empty = match parts.find_map(|part| part.strip_prefix("budget=")) {
            None | Some("ok") => false,
            Some("empty") => true,
            Some(_) => return None,
        };
        Some(Self { attempt, budget_empty })
    }

    /// Whether somebody above is retrying already, or must not: then this hop does not.
    pub const fn forbids_retries(self) -> bool {
        self.attempt > 1 || self.budget_empty
    }

    /// What this hop says on its own attempt `number`, given what the outer one said.
    pub fn inward(self, number: u32, budget_empty: bool) -> Self {
        Self { attempt: self.attempt.max(number).min(999), budget_empty: self.budget_empty || budget_empty }
    }

    /// As a header's value.
    pub fn value(self) -> HeaderValue {
        match self {
            Self { attempt: 1, budget_empty: false } => HeaderValue::from_static("1;budget=ok"),
            Self { attempt: 1, budget_empty: true } => HeaderValue::from_static("1;budget=empty"),
            hop => HeaderValue::from_str(&hop.to_string()).expect("digits and ASCII letters are a header value"),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};budget={}", self.attempt, if self.budget_empty { "empty" } else { "ok" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        let hop = |attempt, budget_empty| Some(Hop { attempt, budget_empty });
        for (text, expected) in [
            ("1;budget=ok", hop(1, false)),
            ("2; budget=empty", hop(2, true)),
            ("3", hop(3, false)),
            ("1;new=1;budget=empty", hop(1, true)),
            ("0;budget=ok", None),
            ("1000", None),
            ("1;budget=some", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(Hop::parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn comes_back(attempt in 1u32..1000, budget_empty: bool) {
            let hop = Hop { attempt, budget_empty };
            prop_assert_eq!(Hop::parse(hop.value().to_str().unwrap()), Some(hop));
        }
    }

    #[test]
    fn an_inner_hop_says_no_less_than_the_outer_one() {
        let outer = Hop { attempt: 2, budget_empty: true };
        assert!(outer.forbids_retries());
        assert_eq!(outer.inward(1, false), outer);
        assert!(!Hop::FIRST.forbids_retries());
        assert_eq!(Hop::FIRST.inward(3, false), Hop { attempt: 3, budget_empty: false });
    }
}
