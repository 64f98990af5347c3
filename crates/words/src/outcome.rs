//! The three outcomes. There is never a fourth, and never a guess.

use std::fmt;

/// What became of an operation, as far as anyone can know.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It happened, once.
    Committed,
    /// It did not happen and, under this key and request, will not by itself.
    Refused,
    /// Nobody knows yet; asking or settling makes it definite.
    Uncertain,
}

impl Outcome {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::Uncertain => "uncertain",
        }
    }

    /// The outcome of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Committed, Self::Refused, Self::Uncertain].into_iter().find(|o| o.as_str() == word)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
