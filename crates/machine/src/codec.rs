//! The bytes of entries, records and snapshots: LEB128 numbers and length-prefixed texts.
//!
//! Every number has exactly one encoding here (the shortest), so that equal values have equal bytes and a fingerprint
//! over the bytes is a fingerprint of the meaning.

/// Bytes that no encoder here has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt(pub &'static str);

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a valid encoding: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

/// Appends `n` in LEB128: 1 byte below 128, 10 at most.
pub fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends `n` in LEB128: 1 byte below 128, 19 at most.
pub fn put_u128(out: &mut Vec<u8>, mut n: u128) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends `n`, small magnitudes short (zigzag).
pub fn put_i128(out: &mut Vec<u8>, n: i128) {
    put_u128(out, (n << 1 ^ n >> 127) as u128);
}

/// Appends the length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a flag and, if there is one, the number.
pub fn put_option_u64(out: &mut Vec<u8>, n: Option<u64>) {
    out.push(u8::from(n.is_some()));
    if let Some(n) = n {
        put_u64(out, n);
    }
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Corrupt`] at the end, as everywhere here.
    pub fn u8(&mut self) -> Result<u8, Corrupt> {
        let (&first, rest) = self.rest.split_first().ok_or(Corrupt("ends too early"))?;
        self.rest = rest;
        Ok(first)
    }

    /// A flag: 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Corrupt> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Corrupt("a flag is 0 or 1")),
        }
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Corrupt("ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    /// Eight bytes, little-endian.
    pub fn u64_fixed(&mut self) -> Result<u64, Corrupt> {
        self.array().map(u64::from_le_bytes)
    }

    /// A LEB128 number in its shortest form.
    pub fn u64(&mut self) -> Result<u64, Corrupt> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => u64::try_from(self.u128()?).map_err(|_| Corrupt("a number does not fit 64 bits")),
        }
    }

    /// The same, of 32 bits.
    pub fn u32(&mut self) -> Result<u32, Corrupt> {
        u32::try_from(self.u64()?).map_err(|_| Corrupt("a number does not fit 32 bits"))
    }

    /// The same, of 16 bits.
    pub fn u16(&mut self) -> Result<u16, Corrupt> {
        u16::try_from(self.u64()?).map_err(|_| Corrupt("a number does not fit 16 bits"))
    }

    /// A LEB128 number in its shortest form.
    pub fn u128(&mut self) -> Result<u128, Corrupt> {
        let mut n = 0u128;
        for shift in (0..).step_by(7).take(19) {
            let byte = self.u8()?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                return Err(Corrupt("a number does not fit 128 bits"));
            }
            n |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err(Corrupt("a number is not in its shortest form"));
                }
                return Ok(n);
            }
        }
        Err(Corrupt("a number has too many bytes"))
    }

    /// A zigzag number.
    pub fn i128(&mut self) -> Result<i128, Corrupt> {
        let n = self.u128()?;
        Ok((n >> 1) as i128 ^ -((n & 1) as i128))
    }

    /// Length and bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = usize::try_from(self.u64()?).map_err(|_| Corrupt("a length does not fit"))?;
        if len > self.rest.len() {
            return Err(Corrupt("a length reaches past the end"));
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// Length and UTF-8.
    pub fn str(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Corrupt("a text is not UTF-8"))
    }

    /// A flag and, if it is set, a number.
    pub fn option_u64(&mut self) -> Result<Option<u64>, Corrupt> {
        if self.flag()? { self.u64().map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_round_trip(a: u64, b: u128, c: i128, d: Option<u64>) {
            let mut out = Vec::new();
            put_u64(&mut out, a);
            put_u128(&mut out, b);
            put_i128(&mut out, c);
            put_option_u64(&mut out, d);
            let mut r = Reader::new(&out);
            prop_assert_eq!((r.u64(), r.u128(), r.i128(), r.option_u64()), (Ok(a), Ok(b), Ok(c), Ok(d)));
            prop_assert!(r.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut r = Reader::new(&bytes);
            if let Ok(n) = r.u128() {
                let mut again = Vec::new();
                put_u128(&mut again, n);
                prop_assert_eq!(&bytes[..bytes.len() - r.rest().len()], again.as_slice());
            }
        }
    }

    #[test]
    fn small_is_short() {
        let mut out = Vec::new();
        put_i128(&mut out, -1);
        put_i128(&mut out, 63);
        assert_eq!(out, [1, 126]);
    }
}
