//! Where checkpoints are kept for other nodes: one that has fallen behind what was trimmed fetches the newest and goes on from it.

use crate::LogError;
use std::io::{Read, Write};
use words::Position;

/// A checkpoint that is kept whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The entry that it stands behind.
    pub position: Position,
    /// The chain's digest there, so that it is known to belong to this log.
    pub digest: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Keeps checkpoints for other nodes. What is not whole is not listed.
pub trait Checkpoints: Send {
    /// Keeps one, read to its end. Where there is one at this position already, that one stays.
    ///
    /// # Errors
    /// [`LogError::Io`], also where reading fails; [`LogError::Full`].
    fn put(&mut self, position: Position, digest: u64, from: &mut dyn Read) -> Result<(), LogError>;

    /// All of them, the newest first.
    ///
    /// # Errors
    /// [`LogError::Io`].
    fn list(&mut self) -> Result<Vec<Checkpoint>, LogError>;

    /// Writes one out, and verifies it. What was written before an error is not to be used.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] where it is there no more, [`LogError::Corrupt`], [`LogError::Io`], also where writing fails.
    fn get(&mut self, checkpoint: &Checkpoint, into: &mut dyn Write) -> Result<(), LogError>;

    /// Removes those that stand behind an entry before this index.
    ///
    /// # Errors
    /// [`LogError::Io`].
    fn delete_before(&mut self, index: u64) -> Result<(), LogError>;
}
