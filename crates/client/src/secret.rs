//! The API key: read from where secrets live, sent in one header, shown nowhere.

use std::fmt;
use std::path::Path;

/// A key that proves who is calling. `Debug` does not show it, there is no `Display`, and it is not sent to any server
/// but the one the client was built for.
///
/// ```
/// use tertium_client::ApiKey;
///
/// let key = ApiKey::new("tert_s3cret")?;
/// assert_eq!(format!("{key:?}"), "ApiKey(..)");
/// # Ok::<(), tertium_client::ApiKeyError>(())
/// ```
#[derive(Clone)]
pub struct ApiKey(Box<str>);

/// Why there is no API key. Never contains what was read.
#[derive(Debug)]
pub enum ApiKeyError {
    /// Empty, or with characters that are not visible ASCII.
    Malformed,
    /// The file cannot be read.
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
}

impl ApiKey {
    /// The key of that text, white space around it removed.
    ///
    /// # Errors
    /// [`ApiKeyError::Malformed`].
    pub fn new(text: &str) -> Result<Self, ApiKeyError> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ApiKeyError::Malformed);
        }
        Ok(Self(text.into()))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`ApiKeyError`].
    pub fn from_file(path: &Path) -> Result<Self, ApiKeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ApiKeyError::File { path: path.display().to_string(), error })?;
        Self::new(&text)
    }

    /// As the value of `Authorization`, marked so that nothing prints it.
    pub(crate) fn header(&self) -> http::HeaderValue {
        let mut value = http::HeaderValue::from_str(&format!("Bearer {}", self.0))
            .expect("the constructor let only visible ASCII through");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl fmt::Display for ApiKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("an API key is visible ASCII characters, as `tertium keys create` printed it")
            }
            Self::File { path, .. } => write!(f, "the API key file {path} cannot be read"),
        }
    }
}

impl std::error::Error for ApiKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed => None,
            Self::File { error, .. } => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let key = ApiKey::new(" tert_s3cret\n").unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
        assert_eq!(format!("{:?}", key.header()), "Sensitive");
        assert_eq!(key.header().to_str().unwrap(), "Bearer tert_s3cret");
        for bad in ["", " \n", "a b", "é", "a\nb"] {
            let error = ApiKey::new(bad).unwrap_err();
            assert!(!error.to_string().contains(bad.trim()) || bad.trim().is_empty(), "{bad:?}");
        }
    }
}
