//! What a client has seen: a position per cell. It buys read-your-writes, monotonic reads and causality.
//!
//! The token is opaque to clients and versioned: `1.` and then `<cell>:<epoch>:<index>` for each cell, in the order of
//! the cells' names, separated by commas. It is not protected against tampering, and needs no protection: it
//! can only ask for more freshness, and a position that does not exist yet is waited for within the deadline.

use std::fmt;

use crate::position::{CellName, Position, WirePosition};

/// How many cells one session can have seen.
pub const SESSION_CELLS_MAX: usize = 64;

/// A position per cell, in the order of the cells' names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    seen: Vec<(CellName, Position)>,
}

/// Why a text is no session token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionError {
    /// Not of the form this server gives out.
    Malformed,
    /// Of a version this server does not know.
    Version,
    /// More than [`SESSION_CELLS_MAX`] cells.
    TooManyCells,
}

impl Session {
    /// What was seen of `cell`; [`Position::START`] if nothing.
    pub fn seen(&self, cell: &CellName) -> Position {
        match self.seen.binary_search_by(|(name, _)| name.cmp(cell)) {
            Ok(at) => self.seen[at].1,
            Err(_) => Position::START,
        }
    }

    /// Takes note that `position` of `cell` was seen. A session never goes back.
    pub fn observe(&mut self, cell: &CellName, position: Position) {
        match self.seen.binary_search_by(|(name, _)| name.cmp(cell)) {
            Ok(at) => self.seen[at].1 = self.seen[at].1.max(position),
            Err(at) if self.seen.len() < SESSION_CELLS_MAX => self.seen.insert(at, (cell.clone(), position)),
            Err(_) => {}
        }
    }

    /// Takes note of all that another session has seen.
    pub fn merge(&mut self, other: &Self) {
        for (cell, position) in &other.seen {
            self.observe(cell, *position);
        }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn parse(token: &str) -> Result<Self, SessionError> {
        let (version, rest) = token.split_once('.').ok_or(SessionError::Malformed)?;
        if version != "1" {
            let is_number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
            return Err(if is_number { SessionError::Version } else { SessionError::Malformed });
        }
        let mut session = Self::default();
        for part in rest.split(',').filter(|_| !rest.is_empty()) {
            let WirePosition { cell, position } = WirePosition::parse(part).map_err(|_| SessionError::Malformed)?;
            if session.seen.last().is_some_and(|(last, _)| *last >= cell) {
                return Err(SessionError::Malformed);
            }
            if session.seen.len() == SESSION_CELLS_MAX {
                return Err(SessionError::TooManyCells);
            }
            session.seen.push((cell, position));
        }
        Ok(session)
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1.")?;
        for (i, (cell, position)) in self.seen.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{cell}:{position}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                write!(f, "not a session token: echo the last `Tertium-Session` header as it was received")
            }
            Self::Version => write!(f, "a session token of another version: drop it and start a new session"),
            Self::TooManyCells => {
                write!(f, "a session token names at most {SESSION_CELLS_MAX} cells")
            }
        }
    }
}

impl std::error::Error for SessionError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn never_goes_back() {
        let (a, b) = (CellName::new("a").unwrap(), CellName::new("b").unwrap());
        let mut session = Session::default();
        session.observe(&b, Position { epoch: 1, index: 9 });
        session.observe(&a, Position { epoch: 1, index: 5 });
        session.observe(&a, Position { epoch: 1, index: 4 });
        assert_eq!(session.to_string(), "1.a:1:5,b:1:9");
        assert_eq!(Session::parse("1.a:1:5,b:1:9"), Ok(session));
        assert_eq!(Session::parse("1."), Ok(Session::default()));
    }

    #[test]
    fn garbage() {
        assert_eq!(Session::parse("2.a:1:5"), Err(SessionError::Version));
        for bad in ["", "1", "x.a:1:1", "1.a", "1.b:1:1,a:1:1", "1.a:1:1,a:1:1", "1.a:1:1,", ".a:1:1"] {
            assert_eq!(Session::parse(bad), Err(SessionError::Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(token in "\\PC{0,80}") {
            if let Ok(session) = Session::parse(&token) {
                prop_assert_eq!(session.to_string(), token);
            }
        }
    }
}
