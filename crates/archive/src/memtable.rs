//! What was pushed and is not sealed yet.
//!
//! A push is on the thread that applies, so it does as little as there is to do: one copy into a chunk, one entry in a
//! table for each name, one push for each account touched. Sorting is left to the job that seals.

use hashbrown::HashTable;
use machine::NameHash;

/// Records are copied into chunks of this many bytes; a larger one gets a chunk of its own.
const CHUNK_BYTES: usize = 1024 * 1024;

const NONE: u32 = u32::MAX;

/// Records from `first` on, not sorted yet.
#[derive(Debug)]
pub(crate) struct Memtable {
    first: u64,
    chunks: Vec<Vec<u8>>,
    chunk: usize,
    slots: Vec<Slot>,
    record_bytes: usize,
    names: Vec<Name>,
    /// For each hash the newest of `names`: four bytes to an entry, which stays in the cache where full keys would not.
    newest: HashTable<u32>,
    touched: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    chunk: u32,
    offset: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    hash: u64,
    at: u32,
    /// The one of the same hash before it, as a place in `names`.
    previous: u32,
}

impl Memtable {
    /// Empty, with room for so many records in its table.
    pub(crate) fn new(first: u64, records: usize) -> Self {
        Self {
            first,
            chunks: Vec::new(),
            chunk: 0,
            slots: Vec::new(),
            record_bytes: 0,
            names: Vec::new(),
            newest: HashTable::with_capacity(records),
            touched: Vec::new(),
        }
    }

    /// Empties it and keeps its memory, which saves the pushing thread the page faults of new memory.
    pub(crate) fn recycle(mut self, first: u64) -> Self {
        self.chunks.retain(|chunk| chunk.capacity() == CHUNK_BYTES);
        self.chunks.iter_mut().for_each(Vec::clear);
        self.slots.clear();
        self.names.clear();
        self.newest.clear();
        self.touched.clear();
        Self { first, chunk: 0, record_bytes: 0, ..self }
    }

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) const fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// What it takes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum::<usize>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.names.capacity() * size_of::<Name>()
            + self.newest.capacity() * 5
            + self.touched.capacity() * size_of::<(u64, u32)>()
    }

    #[inline]
    pub(crate) fn push(&mut self, record: &[u8], named: &[NameHash], touched: &[NameHash]) {
        let at = self.slots.len() as u32;
        let chunk = match self.chunks.get_mut(self.chunk) {
            Some(chunk) if chunk.capacity() - chunk.len() >= record.len() => chunk,
            _ => self.next_chunk(record.len()),
        };
        let offset = chunk.len() as u32;
        chunk.extend_from_slice(record);
        self.slots.push(Slot { chunk: self.chunk as u32, offset, len: record.len() as u32 });
        self.record_bytes += record.len();
        for name in named {
            self.name(name.0, at);
        }
        self.touched.extend(touched.iter().map(|name| (name.0, at)));
    }

    #[inline]
    fn name(&mut self, hash: u64, at: u32) {
        let place = self.names.len() as u32;
        let names = &mut self.names;
        let previous = match self.newest.entry(
            hash,
            |place| names[*place as usize].hash == hash,
            |place| names[*place as usize].hash,
        ) {
            hashbrown::hash_table::Entry::Occupied(mut newest) => std::mem::replace(newest.get_mut(), place),
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(place);
                NONE
            }
        };
        names.push(Name { hash, at, previous });
    }

    #[cold]
    fn next_chunk(&mut self, len: usize) -> &mut Vec<u8> {
        if !self.chunks.is_empty() && self.chunks.get(self.chunk).is_some_and(|chunk| !chunk.is_empty()) {
            self.chunk += 1;
        }
        if self.chunks.get(self.chunk).is_none_or(|chunk| chunk.capacity() < len) {
            self.chunks.insert(self.chunk, Vec::with_capacity(CHUNK_BYTES.max(len)));
        }
        &mut self.chunks[self.chunk]
    }

    /// The record of an ordinal, if it is here.
    pub(crate) fn read(&self, ordinal: u64) -> Option<&[u8]> {
        let at = usize::try_from(ordinal.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| self.bytes_of(*slot))
    }

    /// All records in the order of their ordinals.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().map(|slot| self.bytes_of(*slot))
    }

    fn bytes_of(&self, slot: Slot) -> &[u8] {
        &self.chunks[slot.chunk as usize][slot.offset as usize..][..slot.len as usize]
    }

    /// The newest record of that hash that `accept` says yes to.
    #[inline]
    pub(crate) fn find(&self, hash: u64, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Option<u64> {
        let mut place = *self.newest.find(hash, |place| self.names[*place as usize].hash == hash)?;
        while place != NONE {
            let name = self.names[place as usize];
            if accept(self.first + u64::from(name.at), self.bytes_of(self.slots[name.at as usize])) {
                return Some(self.first + u64::from(name.at));
            }
            place = name.previous;
        }
        None
    }

    /// The newest record at or before an ordinal that touched an account. Looks at each touch before it.
    pub(crate) fn newest_touched(&self, hash: u64, ordinal: u64) -> Option<u64> {
        let at = u32::try_from(ordinal.checked_sub(self.first)?).unwrap_or(u32::MAX);
        let end = self.touched.partition_point(|touch| touch.1 <= at);
        let touch = self.touched[..end].iter().rev().find(|touch| touch.0 == hash)?;
        Some(self.first + u64::from(touch.1))
    }

    /// Hash and place of each name, sorted.
    pub(crate) fn sorted_names(&self) -> Vec<(u64, u32)> {
        sorted(self.names.len(), || self.names.iter().map(|name| (name.hash, name.at)))
    }

    /// Hash and place of each touch, sorted, each once.
    pub(crate) fn sorted_touches(&self) -> Vec<(u64, u32)> {
        let mut touches = sorted(self.touched.len(), || self.touched.iter().copied());
        touches.dedup();
        touches
    }
}

/// Sorts what is spread evenly by its high bits, as hashes are: one pass that puts everything near its place, then small
/// sorts. Anything else only costs it time.
fn sorted<I: Iterator<Item = (u64, u32)>>(len: usize, items: impl Fn() -> I) -> Vec<(u64, u32)> {
    let bits = (len / 64).checked_ilog2().unwrap_or(0).min(12);
    let bucket = |hash: u64| (hash >> 32 >> (32 - bits)) as usize;
    let mut ends = vec![0_usize; 1 << bits];
    for (hash, _) in items() {
        ends[bucket(hash)] += 1;
    }
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut out = vec![(0, 0); len];
    for item in items() {
        let end = &mut ends[bucket(item.0)];
        out[*end] = item;
        *end += 1;
    }
    let mut start = 0;
    for end in ends {
        out[start..end].sort_unstable();
        start = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_sorts() {
        let mut random = fastrand::Rng::with_seed(3);
        for (len, mask) in [(0, !0), (1, !0), (63, !0), (5_000, !0), (5_000, 7), (50_000, !0), (300_000, 0xff << 56)] {
            let items: Vec<(u64, u32)> = (0..len).map(|at| (random.u64(..) & mask, at)).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            assert_eq!(sorted(items.len(), || items.iter().copied()), expected, "{len} items under {mask:x}");
        }
    }

    #[test]
    fn records_larger_than_a_chunk_stay_whole_after_recycling() {
        let mut memtable = Memtable::new(5, 0);
        for round in 0..3_u8 {
            let sizes = [0, 10, CHUNK_BYTES - 5, CHUNK_BYTES + 1, 7, 3 * CHUNK_BYTES, CHUNK_BYTES, 1];
            for (at, size) in sizes.into_iter().enumerate() {
                memtable.push(&vec![round + at as u8; size], &[], &[]);
            }
            for (at, size) in sizes.into_iter().enumerate() {
                assert_eq!(memtable.read(5 + at as u64), Some(&vec![round + at as u8; size][..]));
            }
            assert_eq!(memtable.read(4), None);
            assert_eq!(memtable.read(5 + sizes.len() as u64), None);
            memtable = memtable.recycle(5);
        }
    }
}
