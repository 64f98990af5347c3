//! Where decided operations go, and where they are found again.
//!
//! Accounts and open holds live in the machine's memory. Records (one for each decision) grow without bound, so the
//! machine only pushes them to an archive and asks it by name. An archive is a pure function of the log's prefix: it
//! holds exactly what was pushed, nothing is ever changed in it, and so asking it keeps `apply` deterministic. The cell
//! has one on disk, the simulator and the tests have [`MemoryArchive`].

use std::fmt;

use hashbrown::HashMap;

/// 64 bits that stand for a name; different names may share one, so what is found is compared in full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NameHash(pub u64);

/// The archive could not be read: the state it was asked about is unknown, and the cell must stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the archive cannot be read: {}", self.0)
    }
}

impl std::error::Error for Fault {}

/// An append-only list of records, each under an ordinal (dense from 0), some under names.
pub trait Archive {
    /// The ordinal the next pushed record will have.
    fn next_ordinal(&self) -> u64;

    /// Appends a record. `named` are the names it is found by from now on, `touched` the accounts it is history of.
    fn push(&mut self, record: &[u8], named: &[NameHash], touched: &[NameHash]);

    /// The newest record under `name` that `accept` says yes to. `accept` is called newest first and gets each
    /// candidate's ordinal and bytes; candidates of other names may be among them.
    ///
    /// # Errors
    /// [`Fault`].
    fn find(&self, name: NameHash, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault>;

    /// Hands the record under `ordinal` to `visit`. Asking for one that was never pushed is a [`Fault`].
    ///
    /// # Errors
    /// [`Fault`].
    fn read(&self, ordinal: u64, visit: &mut dyn FnMut(&[u8])) -> Result<(), Fault>;
}

/// An archive in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryArchive {
    records: Vec<Box<[u8]>>,
    named: HashMap<NameHash, Vec<u64>, foldless::Build>,
}

impl MemoryArchive {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl Archive for MemoryArchive {
    fn next_ordinal(&self) -> u64 {
        self.records.len() as u64
    }

    fn push(&mut self, record: &[u8], named: &[NameHash], _touched: &[NameHash]) {
        let ordinal = self.next_ordinal();
        for name in named {
            self.named.entry(*name).or_default().push(ordinal);
        }
        self.records.push(record.into());
    }

    fn find(&self, name: NameHash, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault> {
        let candidates = self.named.get(&name).map_or(&[][..], Vec::as_slice);
        Ok(candidates.iter().rev().copied().find(|ordinal| accept(*ordinal, &self.records[*ordinal as usize])))
    }

    fn read(&self, ordinal: u64, visit: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let record = usize::try_from(ordinal).ok().and_then(|at| self.records.get(at));
        visit(record.ok_or_else(|| Fault(format!("no record {ordinal}")))?);
        Ok(())
    }
}

/// The keys of these maps are hashes already: hashing them again would buy nothing.
pub mod foldless {
    use std::hash::{BuildHasherDefault, Hasher};

    /// For `HashMap<NameHash, _, Build>`.
    pub type Build = BuildHasherDefault<Identity>;

    /// Takes the one `u64` it is given as the hash.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Identity(u64);

    impl Hasher for Identity {
        fn finish(&self) -> u64 {
            self.0
        }

        fn write(&mut self, _bytes: &[u8]) {
            unreachable!("only u64 keys are hashed here");
        }

        fn write_u64(&mut self, n: u64) {
            self.0 = n;
        }
    }
}
