//! What a request asked for, in 16 bytes: two requests under one key are the same if their fingerprints are.
//!
//! The hash is XXH3-128 of the request in its canonical encoding. It is no defence against someone who wants two of
//! their own requests to collide, and needs to be none: keys are scoped to a principal, who could only fool themselves.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The identity of a request's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of a request in canonical encoding.
    pub fn of(canonical: &[u8]) -> Self {
        Self(xxh3_128(canonical).to_le_bytes())
    }

    /// As stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
