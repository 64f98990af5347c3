//! Where records are written: into a reused buffer, into the digest, into the archive.
//!
//! An atomic batch writes its records ahead and hands them over when all its items have passed; until then nobody else
//! sees them, and none of them counts.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::archive::{Archive, Fault, NameHash};
use crate::codec::Corrupt;
use crate::record::{Decision, Record};

/// The machine's end of the archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// Rolls over every record and every stamp.
    pub(crate) digest: u64,
    /// The ordinal of the next record that is handed over.
    pub(crate) next_ordinal: u64,
    bytes: Vec<u8>,
    ahead: Vec<Ahead>,
    ahead_named: HashTable<(u64, u32)>,
    is_ahead: bool,
}

/// The names of a record: its operation's, its transfer's, its accounts'.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) operation: Option<NameHash>,
    pub(crate) transfer: Option<NameHash>,
    pub(crate) touched: [Option<NameHash>; 2],
}

/// A record written ahead: where its bytes end, and its names.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    end: usize,
    marks: Marks,
}

impl Books {
    /// The ordinal that the next written record will have.
    pub(crate) fn upcoming(&self) -> u64 {
        self.next_ordinal + self.ahead.len() as u64
    }

    /// Writes a record and gives its ordinal.
    #[inline]
    pub(crate) fn write<A: Archive>(&mut self, archive: &mut A, record: &Record<'_>, marks: Marks) -> u64 {
        let ordinal = self.upcoming();
        if self.is_ahead {
            record.encode(&mut self.bytes);
            if let Some(NameHash(hash)) = marks.operation {
                self.ahead_named.insert_unique(hash, (hash, self.ahead.len() as u32), |(hash, _)| *hash);
            }
            self.ahead.push(Ahead { end: self.bytes.len(), marks });
        } else {
            self.bytes.clear();
            record.encode(&mut self.bytes);
            self.digest = hand_over(archive, &self.bytes, marks, self.digest);
            self.next_ordinal += 1;
        }
        ordinal
    }

    /// From here on records are written ahead.
    pub(crate) fn begin_ahead(&mut self) {
        self.bytes.clear();
        self.ahead.clear();
        self.ahead_named.clear();
        self.is_ahead = true;
    }

    /// Hands over what was written ahead.
    pub(crate) fn keep_ahead<A: Archive>(&mut self, archive: &mut A) {
        let mut start = 0;
        for Ahead { end, marks } in self.ahead.drain(..) {
            self.digest = hand_over(archive, &self.bytes[start..end], marks, self.digest);
            self.next_ordinal += 1;
            start = end;
        }
        self.drop_ahead();
    }

    /// Forgets what was written ahead.
    pub(crate) fn drop_ahead(&mut self) {
        self.bytes.clear();
        self.ahead.clear();
        self.ahead_named.clear();
        self.is_ahead = false;
    }

    /// The newest decision under a key, and its ordinal.
    #[inline]
    pub(crate) fn find<A: Archive>(
        &self,
        archive: &A,
        name: NameHash,
        principal: &str,
        key: &str,
    ) -> Result<Option<(u64, Decision)>, Fault> {
        if self.is_ahead {
            let found = self.find_ahead(name, principal, key);
            if found.is_some() {
                return Ok(found);
            }
        }
        find_decision(archive, name, principal, key)
    }

    /// There is at most one: the second of a key is judged by the first, and never written.
    fn find_ahead(&self, name: NameHash, principal: &str, key: &str) -> Option<(u64, Decision)> {
        let mut found = None;
        self.ahead_named.find(name.0, |(hash, at)| {
            if *hash != name.0 {
                return false;
            }
            let at = *at as usize;
            let start = at.checked_sub(1).map_or(0, |before| self.ahead[before].end);
            let decision = Decision::of(&self.bytes[start..self.ahead[at].end], principal, key).ok().flatten();
            found = decision.map(|decision| (self.next_ordinal + at as u64, decision));
            found.is_some()
        });
        found
    }

    /// Rolls the digest over an entry's stamp.
    pub(crate) fn stamp(&mut self, raw: u64) {
        self.digest = xxh3_64_with_seed(&raw.to_le_bytes(), self.digest);
    }
}

/// The newest decision under a key in the archive, and its ordinal.
pub(crate) fn find_decision<A: Archive>(
    archive: &A,
    name: NameHash,
    principal: &str,
    key: &str,
) -> Result<Option<(u64, Decision)>, Fault> {
    let mut found = Ok(None);
    let ordinal = archive.find(name, &mut |_, bytes| {
        found = Decision::of(bytes, principal, key);
        !matches!(found, Ok(None))
    })?;
    let decision = found.map_err(damaged)?;
    Ok(ordinal.zip(decision))
}

/// A record in the archive that is none.
pub(crate) fn damaged(corrupt: Corrupt) -> Fault {
    Fault(format!("a record is damaged: {corrupt}"))
}

fn hand_over<A: Archive>(archive: &mut A, bytes: &[u8], marks: Marks, digest: u64) -> u64 {
    let blank = NameHash(0);
    let both = |a: Option<NameHash>, b: Option<NameHash>| match (a, b) {
        (Some(a), Some(b)) => ([a, b], 2),
        (Some(one), None) | (None, Some(one)) => ([one, blank], 1),
        (None, None) => ([blank; 2], 0),
    };
    let (named, named_len) = both(marks.operation, marks.transfer);
    let (touched, touched_len) = both(marks.touched[0], marks.touched[1]);
    archive.push(bytes, &named[..named_len], &touched[..touched_len]);
    xxh3_64_with_seed(bytes, digest)
}
