//! Where an entry stands in its cell's log.

use std::fmt;

/// The longest name of a cell, in bytes.
pub const CELL_BYTES_MAX: usize = 32;

/// The name of a cell: 1 to 32 characters of `a-z 0-9 -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CellName(Box<str>);

/// A place in one log. Indexes are dense from 1; 0 is before the first entry. Ordered by index: within one log a higher
/// index never carries a lower epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position {
    /// The reign of the leader who appended it.
    pub epoch: u64,
    /// How many entries precede it, plus one.
    pub index: u64,
}

/// A position as strangers see it: `<cell>:<epoch>:<index>`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WirePosition {
    /// The cell whose log it is in.
    pub cell: CellName,
    /// The place in it.
    pub position: Position,
}

/// Why a text is no position, or no cell name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionError;

impl CellName {
    /// The cell of that name.
    ///
    /// # Errors
    /// [`PositionError`] where the text is no cell name.
    pub fn new(text: &str) -> Result<Self, PositionError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > CELL_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(PositionError);
        }
        Ok(Self(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Position {
    /// Before the first entry.
    pub const START: Self = Self { epoch: 0, index: 0 };
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.index, self.epoch).cmp(&(other.index, other.epoch))
    }
}

impl WirePosition {
    /// Reads `<cell>:<epoch>:<index>`.
    ///
    /// # Errors
    /// [`PositionError`].
    pub fn parse(text: &str) -> Result<Self, PositionError> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(PositionError);
        let (cell, epoch, index) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(PositionError);
        }
        Ok(Self {
            cell: CellName::new(cell)?,
            position: Position { epoch: parse_number(epoch)?, index: parse_number(index)? },
        })
    }
}

/// Plain decimal without sign or leading zeros, so that each position has one spelling.
pub(crate) fn parse_number(text: &str) -> Result<u64, PositionError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(PositionError);
    }
    text.parse().map_err(|_| PositionError)
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.index)
    }
}

impl fmt::Display for WirePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cell, self.position)
    }
}

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is `<cell>:<epoch>:<index>`, the cell 1 to 32 characters of a-z 0-9 -, both numbers plain decimal")
    }
}

impl std::error::Error for PositionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_garbage() {
        let text = "main:3:18446744073709551615";
        assert_eq!(WirePosition::parse(text).map(|p| p.to_string()), Ok(text.to_owned()));
        for bad in [
            "",
            "main",
            "main:1",
            "main:1:2:3",
            "Main:1:2",
            ":1:2",
            "main:01:2",
            "main:+1:2",
            "main:1:",
            "main:1:18446744073709551616",
        ] {
            assert_eq!(WirePosition::parse(bad), Err(PositionError), "{bad:?}");
        }
    }
}
