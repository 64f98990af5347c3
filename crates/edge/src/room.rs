//! How many bytes of request bodies all clients together may make the server hold: each body has a limit of its own, but
//! that many clients at once would still fill the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Room for bodies, shared by all connections. A clone is the same room.
#[derive(Clone, Debug)]
pub struct BodyRoom {
    bytes_held: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// What one body takes of it, until this is dropped.
#[derive(Debug)]
pub struct Held {
    room: BodyRoom,
    bytes: usize,
}

impl BodyRoom {
    /// Room for that many bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_held: Arc::default(), bytes_max }
    }

    /// How many bytes are held now.
    pub fn bytes_held(&self) -> usize {
        self.bytes_held.load(Relaxed)
    }

    /// For a body of which nothing has come yet.
    pub fn begin(&self) -> Held {
        Held { room: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes room for more bytes that have come, or nothing where there is not enough. Says whether it did.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let taken = self
            .room
            .bytes_held
            .try_update(Relaxed, Relaxed, |held| held.checked_add(bytes).filter(|held| *held <= self.room.bytes_max));
        if taken.is_ok() {
            self.bytes += bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.bytes_held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_dropped_comes_back() {
        let room = BodyRoom::new(10);
        let (mut one, mut other) = (room.begin(), room.begin());
        let steps = [(true, 4, true), (false, 6, true), (true, 1, false), (false, usize::MAX, false), (true, 0, true)];
        for (at, (first, bytes, expected)) in steps.into_iter().enumerate() {
            let held = if first { &mut one } else { &mut other };
            assert_eq!(held.grow(bytes), expected, "step {at}");
        }
        drop(other);
        assert!(one.grow(6) && !one.grow(1));
        drop(one);
        assert!(room.begin().grow(10));
    }
}
