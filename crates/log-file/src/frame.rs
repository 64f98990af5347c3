//! One frame: what a single durable write carries.
//!
//! A header of 64 bytes, little-endian, then the entry, then zeros up to a whole block:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | checksum of bytes 8 to 64, seeded by the segment |
//! | 8 | 4 | magic |
//! | 12 | 4 | kind |
//! | 16 | 8 | length of the entry in bytes |
//! | 24 | 8 | the chain's digest after this frame |
//! | 32 | 8 | the chain's digest before this frame |
//! | 40 | 8 | epoch before this frame |
//! | 48 | 8 | epoch |
//! | 56 | 8 | index |
//!
//! A frame says what it follows, so that the first one of a segment is enough to go on from, and an append that begins a
//! segment is like any other. The seed makes what an earlier life of a recycled segment left behind, and bytes that a client put into an entry,
//! invalid wherever they lie.

use crate::BLOCK_BYTES;
use words::Position;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The bytes of a frame before its entry.
pub(crate) const FRAME_HEADER_BYTES: usize = 64;
const MAGIC: u32 = 0x7a3f_91c5;
/// Where the part of a frame begins that the chain's digest covers: epoch, index, entry.
const CHAINED_AT: usize = 48;

/// What a frame means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An entry: the next index.
    Entry,
    /// The entry before it was acknowledged. Carries the tail's position, no bytes.
    Mark,
    /// Nothing follows, for ever. Carries the tail's position, no bytes.
    Seal,
}

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) len: u64,
    pub(crate) digest: u64,
    pub(crate) position: Position,
    /// The position and the chain's digest that it follows.
    pub(crate) before: Position,
    pub(crate) digest_before: u64,
}

impl FrameHeader {
    /// The header at the start of these bytes, where there is one of the segment with that seed.
    pub(crate) fn decode(bytes: &[u8], seed: u64) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        // The magic first: a scan for frames meets many blocks that have none.
        if word(8) as u32 != MAGIC || word(0) != xxh3_64_with_seed(&bytes[8..], seed) {
            return None;
        }
        let kind = match (word(8) >> 32) as u32 {
            1 => Kind::Entry,
            2 => Kind::Mark,
            3 => Kind::Seal,
            _ => return None,
        };
        let position = Position { epoch: word(48), index: word(56) };
        let index_before = match kind {
            Kind::Entry => position.index.checked_sub(1)?,
            Kind::Mark | Kind::Seal => position.index,
        };
        let before = Position { epoch: word(40), index: index_before };
        Some(Self { kind, len: word(16), digest: word(24), position, before, digest_before: word(32) })
    }

    fn encode(&self, out: &mut [u8], seed: u64) {
        let kind: u64 = match self.kind {
            Kind::Entry => 1,
            Kind::Mark => 2,
            Kind::Seal => 3,
        };
        let words = [
            u64::from(MAGIC) | kind << 32,
            self.len,
            self.digest,
            self.digest_before,
            self.before.epoch,
            self.position.epoch,
            self.position.index,
        ];
        for (place, word) in out[8..FRAME_HEADER_BYTES].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = xxh3_64_with_seed(&out[8..FRAME_HEADER_BYTES], seed);
        out[..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The bytes the whole frame takes in the file.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.len)
    }
}

/// The bytes a frame with an entry of that length takes in the file.
pub(crate) fn frame_bytes(entry_bytes: u64) -> u64 {
    entry_bytes
        .saturating_add(FRAME_HEADER_BYTES as u64)
        .checked_next_multiple_of(BLOCK_BYTES as u64)
        .unwrap_or(u64::MAX)
}

/// The chain's digest after a frame, from its bytes (header and entry, without the padding) and the digest before it.
pub(crate) fn chain(frame: &[u8], before: u64) -> u64 {
    xxh3_64_with_seed(&frame[CHAINED_AT..], before)
}

/// The one buffer that appends are built in: it starts at a whole block in memory, as direct writes ask for.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    memory: Vec<u8>,
    start: usize,
    frame_bytes: usize,
    entry_bytes: usize,
    header: Option<FrameHeader>,
}

impl FrameBuffer {
    /// Copies the entry and computes the digest after it, from the position and the digest before it.
    pub(crate) fn fill(&mut self, kind: Kind, position: Position, entry: &[u8], before: (Position, u64)) -> u64 {
        let padded = (FRAME_HEADER_BYTES + entry.len()).next_multiple_of(BLOCK_BYTES);
        let needed = padded + BLOCK_BYTES;
        if self.memory.len() < needed {
            self.memory = vec![0; needed.next_power_of_two()];
            self.start = self.memory.as_ptr().align_offset(BLOCK_BYTES);
        }
        (self.frame_bytes, self.entry_bytes) = (padded, entry.len());
        let frame = self.frame_mut();
        let (head, rest) = frame.split_at_mut(FRAME_HEADER_BYTES);
        let (body, padding) = rest.split_at_mut(entry.len());
        head[CHAINED_AT..CHAINED_AT + 8].copy_from_slice(&position.epoch.to_le_bytes());
        head[CHAINED_AT + 8..].copy_from_slice(&position.index.to_le_bytes());
        body.copy_from_slice(entry);
        padding.fill(0);
        let digest = match kind {
            Kind::Entry => chain(&frame[..FRAME_HEADER_BYTES + entry.len()], before.1),
            Kind::Mark | Kind::Seal => before.1,
        };
        let (before, digest_before) = before;
        self.header = Some(FrameHeader { kind, len: entry.len() as u64, digest, position, before, digest_before });
        digest
    }

    /// The bytes of the frame in the file.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.frame_bytes as u64
    }

    /// The frame as it goes into a segment with that seed.
    pub(crate) fn frame(&mut self, seed: u64) -> &[u8] {
        if let Some(header) = self.header {
            header.encode(self.frame_mut(), seed);
        }
        self.frame_mut()
    }

    fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.frame_bytes]
    }
}

/// One block that starts at a whole block in memory, as direct reads and writes ask for.
#[derive(Debug)]
pub(crate) struct AlignedBlock {
    memory: Vec<u8>,
    start: usize,
}

impl Default for AlignedBlock {
    fn default() -> Self {
        let memory = vec![0; 2 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start }
    }
}

impl AlignedBlock {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BLOCK_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_round_trip_and_no_flipped_bit_passes(
            entry in proptest::collection::vec(any::<u8>(), 0..9000),
            (epoch, index, seed) in (any::<u64>(), 1u64.., any::<u64>()),
            (epoch_before, digest_before) in any::<(u64, u64)>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let position = Position { epoch, index };
            let mut buffer = FrameBuffer::default();
            let before = Position { epoch: epoch_before, index: index - 1 };
            let digest = buffer.fill(Kind::Entry, position, &entry, (before, digest_before));
            let mut bytes = buffer.frame(seed).to_vec();
            let header = FrameHeader::decode(&bytes, seed).expect("valid");
            let len = entry.len() as u64;
            prop_assert_eq!(header, FrameHeader { kind: Kind::Entry, len, digest, position, before, digest_before });
            prop_assert_eq!(bytes.len() as u64, header.frame_bytes());
            let used = FRAME_HEADER_BYTES + entry.len();
            prop_assert_eq!(&bytes[FRAME_HEADER_BYTES..used], &entry[..]);
            prop_assert_eq!(chain(&bytes[..used], digest_before), digest);
            prop_assert!(FrameHeader::decode(&bytes, !seed).is_none(), "another segment's frames are invalid");

            let bit = flip.index(used * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let passes = FrameHeader::decode(&bytes, seed).is_some() && chain(&bytes[..used], digest_before) == digest;
            prop_assert!(!passes, "bit {}", bit);
        }

        #[test]
        fn garbage_is_no_frame(bytes in proptest::collection::vec(any::<u8>(), 0..200), seed: u64) {
            prop_assert!(FrameHeader::decode(&bytes, seed).is_none());
        }
    }

    #[test]
    fn the_buffer_is_aligned_and_leaks_nothing_of_older_entries() {
        let mut buffer = FrameBuffer::default();
        for bytes in [100_000, 10, 5000, 0] {
            buffer.fill(Kind::Entry, Position { epoch: 1, index: 1 }, &vec![0xee; bytes], (Position::START, 0));
            let frame = buffer.frame(7);
            assert_eq!((frame.as_ptr().align_offset(BLOCK_BYTES), frame.len() % BLOCK_BYTES), (0, 0));
            assert!(frame[FRAME_HEADER_BYTES + bytes..].iter().all(|byte| *byte == 0));
        }
    }
}
