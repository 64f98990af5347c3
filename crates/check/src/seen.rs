//! The configurations that a search has been in, exactly, in an arena that knows how large it is.
//!
//! No digest stands for a configuration: two that fell together would make a legal history look illegal.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// The first chunk is small, since most searches are; later ones double up to the largest.
const CHUNK_WORDS_MIN: usize = 1 << 8;
const CHUNK_WORDS_MAX: usize = 1 << 16;

/// What a table needs for each place: the slot and a byte of control.
const PLACE_BYTES: usize = size_of::<Slot>() + 1;

/// What a table has besides, with room for rounding.
const TABLE_BYTES: usize = 64;

pub(crate) struct Seen {
    table: HashTable<Slot>,
    chunks: Vec<Vec<u64>>,
    hasher: DefaultHashBuilder,
    bytes_max: usize,
    chunks_bytes: usize,
}

/// Where a configuration's words are.
#[derive(Clone, Copy)]
struct Slot {
    chunk: u32,
    start: u32,
    words: u32,
}

/// What came of remembering one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Remembered {
    New,
    Known,
    NoRoom,
}

impl Seen {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { table: HashTable::new(), chunks: Vec::new(), hasher, bytes_max, chunks_bytes: 0 }
    }

    pub(crate) fn insert(&mut self, key: &[u64]) -> Remembered {
        let hash = self.hasher.hash_one(key);
        if self.table.find(hash, |slot| words(&self.chunks, slot) == key).is_some() {
            return Remembered::Known;
        }
        let Some(slot) = self.write(key) else { return Remembered::NoRoom };
        let Self { table, chunks, hasher, .. } = self;
        table.insert_unique(hash, slot, |slot| hasher.hash_one(words(chunks, slot)));
        Remembered::New
    }

    fn write(&mut self, key: &[u64]) -> Option<Slot> {
        // A table that is full has its old and its new places at once for a moment, and new ones are twice as many.
        let places = self.table.capacity() * 8 / 7;
        let places = if self.table.len() == self.table.capacity() { 3 * places } else { places };
        let fits = self.chunks.last().is_some_and(|chunk| chunk.capacity() - chunk.len() >= key.len());
        let last = self.chunks.last().map_or(CHUNK_WORDS_MIN / 2, Vec::capacity);
        let chunk_words = if fits { 0 } else { (2 * last).min(CHUNK_WORDS_MAX).max(key.len()) };
        if places * PLACE_BYTES + TABLE_BYTES + self.chunks_bytes + 8 * chunk_words > self.bytes_max {
            return None;
        }
        if !fits {
            self.chunks_bytes += 8 * chunk_words;
            self.chunks.push(Vec::with_capacity(chunk_words));
        }
        let chunk = u32::try_from(self.chunks.len() - 1).ok()?;
        let into = self.chunks.last_mut().expect("one was pushed if there was none");
        let start = u32::try_from(into.len()).ok()?;
        into.extend_from_slice(key);
        Some(Slot { chunk, start, words: u32::try_from(key.len()).ok()? })
    }
}

fn words<'a>(chunks: &'a [Vec<u64>], slot: &Slot) -> &'a [u64] {
    &chunks[slot.chunk as usize][slot.start as usize..][..slot.words as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once() {
        let mut seen = Seen::new(1 << 24);
        let keys: Vec<Vec<u64>> = (0..5_000u64).map(|i| vec![i % 7; (i % 9) as usize + 1]).collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        let new = keys.iter().filter(|key| seen.insert(key) == Remembered::New).count();
        assert_eq!(new, distinct.len());
        assert!(keys.iter().all(|key| seen.insert(key) == Remembered::Known));
    }

    #[test]
    fn the_bound_holds() {
        let bytes_max = 1 << 16;
        let mut seen = Seen::new(bytes_max);
        let taken = (0..1_000_000u64).take_while(|i| seen.insert(&[*i, *i]) == Remembered::New).count();
        let used = seen.chunks_bytes + seen.table.allocation_size();
        assert!(taken > 500 && used <= bytes_max, "{taken} in {used} bytes");
        assert_eq!((seen.insert(&[0, 0]), seen.insert(&[9, 9, 9, 9])), (Remembered::Known, Remembered::NoRoom));
    }
}
