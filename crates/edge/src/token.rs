//! Tokens: 32 random bytes that prove who is calling, and the hash that is all the server keeps of one.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every token begins with, so that secret scanners can find one that leaked.
pub const TOKEN_PREFIX: &str = "tert_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many base-62 digits 32 bytes take: 62^43 > 2^256.
const DIGITS_PER_TOKEN: usize = 43;

/// A token, shown once when it is made. Never printed by `Debug`.
pub struct Token(String);

/// SHA-256 of a token. A random token of 256 bits needs no slow hash.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{TOKEN_PREFIX}{}", base62(bytes))))
    }

    /// The text to hand to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What to keep of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl TokenHash {
    /// Of a token as it was presented.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Where to look in a table: part of the hash, which tells nothing of the token.
    pub(crate) fn bucket(&self) -> u64 {
        u64::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [0u8; DIGITS_PER_TOKEN];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).expect("rest is below 62, so value is below 62 * 256");
            rest = value % 62;
        }
        *digit = DIGITS[rest as usize];
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_counts_as_expected() {
        let check = |low: u8, expect: &str| {
            let mut number = [0; 32];
            number[31] = low;
            assert_eq!(base62(number).trim_start_matches('0'), expect);
        };
        check(0, "");
        check(1, "1");
        check(61, "z");
        check(62, "10");
        check(255, "47");
        assert_eq!(base62([255; 32]).len(), DIGITS_PER_TOKEN);
        assert_ne!(base62([255; 32]).as_bytes()[0], b'0', "no digit too many");
    }

    #[test]
    fn tokens_differ_and_are_known_by_their_hash_only() {
        let (a, b) = (Token::new().unwrap(), Token::new().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        assert!(a.hash().matches(&TokenHash::of(a.reveal())));
        assert!(!a.hash().matches(&b.hash()));
        assert!(TokenHash::parse(&a.hash().to_hex()).unwrap().matches(&a.hash()));
        assert_eq!(format!("{a:?} {:?}", a.hash()), "Token(..) TokenHash(..)");
        for bad in ["", "zz", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            let parsed = TokenHash::parse(bad);
            assert!(parsed.is_none(), "{bad:?}");
        }
    }
}
