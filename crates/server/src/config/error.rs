//! What is wrong with a configuration, all of it.

use std::fmt;

use super::Source;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Which setting, or which file.
    pub name: String,
    /// What it was set to, and where; `None` if it is not set and should be.
    pub value: Option<(String, Source)>,
    /// What would be right.
    pub right: String,
}

/// Everything that is wrong; at least one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigError {
    pub(super) fn missing(name: &str, right: &str) -> Self {
        Self { name: name.to_owned(), value: None, right: right.to_owned() }
    }

    pub(super) fn wrong(name: &str, value: &str, source: &Source, right: impl Into<String>) -> Self {
        // A database's URL may hold the password that should not be in it.
        let value = if value.starts_with("postgres") { "postgres..." } else { value };
        Self { name: name.to_owned(), value: Some((value.to_owned(), source.clone())), right: right.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some((value, source)) => write!(f, "{} = `{value}` ({source}): {}", self.name, self.right),
            None => write!(f, "{}: {}", self.name, self.right),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}
