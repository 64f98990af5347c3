//! The machine for a host that offers nothing: entries go in byte by byte, digests come out.
//!
//! Bytes one at a time need neither pointers nor memory that both sides know, and so no unsafe block.

use std::cell::RefCell;

use machine::{Applied, Machine, MemoryArchive};
use words::{CellName, Position};

/// A machine over an archive in memory.
pub struct Replica {
    machine: Machine,
    archive: MemoryArchive,
    applied: Applied,
    position: Position,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            machine: Machine::new(&CellName::new("main").expect("it is a name"), 1),
            archive: MemoryArchive::default(),
            applied: Applied::default(),
            position: Position::START,
        }
    }
}

impl Replica {
    /// Applies the next entry. The digest after it; 0 if it is refused.
    pub fn apply(&mut self, entry: &[u8]) -> u64 {
        self.position.index += 1;
        match self.machine.apply(self.position, entry, &mut self.archive, &mut self.applied) {
            Ok(()) => self.machine.digest(),
            Err(_) => 0,
        }
    }
}

thread_local! {
    static REPLICA: RefCell<Replica> = RefCell::default();
    static ENTRY: RefCell<Vec<u8>> = RefCell::default();
}

/// Adds a byte to the next entry.
#[unsafe(no_mangle)]
pub extern "C" fn push(byte: u32) {
    ENTRY.with_borrow_mut(|entry| entry.push(byte as u8));
}

/// Applies the bytes pushed since the last call as one entry. The digest after it; 0 if it is refused.
#[unsafe(no_mangle)]
pub extern "C" fn apply() -> u64 {
    let entry = ENTRY.take();
    REPLICA.with_borrow_mut(|replica| replica.apply(&entry))
}
