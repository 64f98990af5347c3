//! The first answer of a call, kept so that a repeated call gets it byte for byte.

use std::fmt;

/// What was answered: a status, the headers that belong to the content, and the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Why a header cannot be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// Its name is empty or not a token of RFC 9110, section 5.6.2.
    Name,
    /// Its value holds a control character.
    Value,
}

impl Answer {
    /// An answer without headers. `status` is an HTTP status (RFC 9110, section 15): a 2xx says committed, any 4xx but 425
    /// refused.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// With this header, which is kept and replayed with it.
    ///
    /// # Errors
    /// [`HeaderError`], where it could not be read back as it is.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(HeaderError::Name);
        }
        if value.chars().any(char::is_control) {
            return Err(HeaderError::Value);
        }
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        Ok(self)
    }

    /// Its HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Its headers, names in lower case, in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the call had its effect: any 2xx.
    pub fn is_committed(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The column `headers`: one `name: value` each, separated by line feeds.
    pub(crate) fn headers_as_stored(&self) -> String {
        let lines: Vec<_> = self.headers().map(|(name, value)| format!("{name}: {value}")).collect();
        lines.join("\n")
    }

    /// Back from the columns; `None` where they hold what was never stored.
    pub(crate) fn from_stored(status: i64, headers: &str, body: Vec<u8>) -> Option<Self> {
        let mut answer = Self::new(u16::try_from(status).ok()?, body);
        for line in headers.split('\n').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ")?;
            answer = answer.with_header(name, value).ok()?;
        }
        Some(answer)
    }
}

/// A `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "a header's name is a token, like `content-type`"),
            Self::Value => write!(f, "a header's value has no control characters"),
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stored_comes_back(
            status in 100_u16..600,
            headers in prop::collection::vec(("[!#-'*+.^_`|~0-9a-zA-Z-]{1,9}", "[^\\p{Cc}]{0,9}"), 0..4),
            body in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut answer = Answer::new(status, body.clone());
            for (name, value) in &headers {
                answer = answer.with_header(name, value).unwrap();
            }
            let back = Answer::from_stored(i64::from(status), &answer.headers_as_stored(), body);
            prop_assert_eq!(back, Some(answer));
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_refused() {
        let answer = Answer::new(200, "");
        assert_eq!(answer.clone().with_header("", "v"), Err(HeaderError::Name));
        assert_eq!(answer.clone().with_header("a: b", "v"), Err(HeaderError::Name));
        assert_eq!(answer.clone().with_header("a", "v\nb: w"), Err(HeaderError::Value));
    }

    #[test]
    fn what_was_never_stored_is_found() {
        for (status, headers) in [(-1, ""), (70_000, ""), (200, "no colon"), (200, ": v"), (200, "a: \r")] {
            assert_eq!(Answer::from_stored(status, headers, Vec::new()), None, "{status} {headers:?}");
        }
    }
}
