//! The accounts: a slab in the order of their opening, and an index by id.
//!
//! The slab grows in chunks, so that no opening ever moves all the others. Only four numbers of an account ever change
//! (its tally); every change goes through [`Accounts::set`], which saves what a running snapshot or an atomic batch still
//! needs of the old one.

use hashbrown::HashTable;
use words::Stamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::archive::NameHash;
use crate::record::{After, Opened};

const CHUNK_BITS: u32 = 12;
const CHUNK: usize = 1 << CHUNK_BITS;

/// How long an id may be to be kept in place. Two cache lines hold the whole account.
const SHORT: usize = 23;

/// What changes of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) balance: i128,
    pub(crate) held: i128,
    pub(crate) version: u64,
    /// The newest record of its chain.
    pub(crate) head: u64,
}

/// Two cache lines, and the first holds what a transfer changes.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Account {
    tally: Tally,
    floor: i128,
    id: Id,
    created: Stamp,
    unit: u32,
    has_floor: bool,
    metadata: Box<str>,
}

const _: () = assert!(size_of::<Account>() == 128, "an account fills two cache lines");

#[derive(Clone, Debug)]
enum Id {
    Short { len: u8, bytes: [u8; SHORT - 1] },
    Long(Box<str>),
}

/// What does not change of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fixed<'a> {
    pub(crate) opened: Opened<'a>,
    pub(crate) created: Stamp,
}

#[derive(Clone, Copy, Debug)]
struct Indexed {
    hash: u64,
    slot: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    chunks: Vec<Vec<Account>>,
    count: u32,
    index: HashTable<Indexed>,
    units: Vec<Box<str>>,
    units_index: HashTable<u32>,
    /// Old tallies of an atomic batch that may have to be undone, oldest first.
    undo: Vec<(u32, Tally)>,
    is_recording: bool,
    freeze: Option<Freeze>,
}

/// What a running snapshot has not written yet, as it was at its begin. No part of it is ever moved as it grows: that would
/// stop the cell.
#[derive(Clone, Debug)]
struct Freeze {
    next: u32,
    end: u32,
    /// For each slot one more than the place of its old tally; 0 if it has not changed.
    places: Vec<u32>,
    saved: Vec<Vec<Tally>>,
    saved_len: u32,
}

impl Accounts {
    pub(crate) const fn len(&self) -> u32 {
        self.count
    }

    /// The slot of the account `id`; `name` is its hash.
    #[inline]
    pub(crate) fn find(&self, name: NameHash, id: &str) -> Option<u32> {
        self.index
            .find(name.0, |at| at.hash == name.0 && self.at(at.slot).id.as_bytes() == id.as_bytes())
            .map(|at| at.slot)
    }

    #[inline]
    pub(crate) fn tally(&self, slot: u32) -> Tally {
        self.at(slot).tally
    }

    pub(crate) fn id(&self, slot: u32) -> &str {
        self.at(slot).id.as_str()
    }

    #[inline]
    pub(crate) fn unit(&self, slot: u32) -> u32 {
        self.at(slot).unit
    }

    pub(crate) fn unit_name(&self, unit: u32) -> &str {
        &self.units[unit as usize]
    }

    /// The unit of that name, if an account counts it.
    pub(crate) fn find_unit(&self, name: &str) -> Option<u32> {
        let hash = xxh3_64_with_seed(name.as_bytes(), 0);
        self.units_index.find(hash, |unit| &*self.units[*unit as usize] == name).copied()
    }

    #[inline]
    pub(crate) fn floor(&self, slot: u32) -> Option<i128> {
        let account = self.at(slot);
        account.has_floor.then_some(account.floor)
    }

    pub(crate) fn fixed(&self, slot: u32) -> Fixed<'_> {
        let account = self.at(slot);
        Fixed {
            opened: Opened {
                id: account.id.as_str(),
                unit: self.unit_name(account.unit),
                floor: account.has_floor.then_some(account.floor),
                metadata: &account.metadata,
            },
            created: account.created,
        }
    }

    /// Adds an account that [`Accounts::find`] does not find.
    pub(crate) fn add(&mut self, name: NameHash, fixed: Fixed<'_>, tally: Tally) -> u32 {
        let slot = self.count;
        let Opened { id, unit, floor, metadata } = fixed.opened;
        let account = Account {
            tally,
            floor: floor.unwrap_or_default(),
            id: Id::new(id),
            created: fixed.created,
            unit: self.intern_unit(unit),
            has_floor: floor.is_some(),
            metadata: metadata.into(),
        };
        if slot as usize % CHUNK == 0 {
            self.chunks.push(Vec::with_capacity(if slot == 0 { 0 } else { CHUNK }));
        }
        self.chunks[slot as usize >> CHUNK_BITS].push(account);
        self.count = slot.checked_add(1).expect("2^32 accounts would need 512 GiB of memory");
        self.index.insert_unique(name.0, Indexed { hash: name.0, slot }, |at| at.hash);
        slot
    }

    /// Changes an account.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, tally: Tally) {
        let account = &mut self.chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK];
        let old = std::mem::replace(&mut account.tally, tally);
        if self.is_recording {
            self.undo.push((slot, old));
        }
        if let Some(freeze) = &mut self.freeze {
            if (freeze.next..freeze.end).contains(&slot) {
                freeze.save(slot, old);
            }
        }
    }

    /// From here on [`Accounts::undo`] can take changes back.
    pub(crate) fn record_undo(&mut self) {
        self.undo.clear();
        self.is_recording = true;
    }

    /// What was changed stays.
    pub(crate) fn forget_undo(&mut self) {
        self.is_recording = false;
    }

    /// Takes back everything since [`Accounts::record_undo`].
    pub(crate) fn undo(&mut self) {
        self.is_recording = false;
        while let Some((slot, old)) = self.undo.pop() {
            self.set(slot, old);
        }
    }

    /// A snapshot begins: from here on [`Accounts::take_frozen`] gives the accounts as they are now.
    pub(crate) fn freeze(&mut self) {
        let places = vec![0; self.count as usize];
        self.freeze = Some(Freeze { next: 0, end: self.count, places, saved: Vec::new(), saved_len: 0 });
    }

    /// The snapshot is over.
    pub(crate) fn thaw(&mut self) {
        self.freeze = None;
    }

    /// The next account of the snapshot, as it was when the snapshot began.
    pub(crate) fn take_frozen(&mut self) -> Option<(u32, Tally)> {
        let freeze = self.freeze.as_mut()?;
        if freeze.next == freeze.end {
            return None;
        }
        let slot = freeze.next;
        freeze.next += 1;
        let saved = freeze.saved(slot);
        Some((slot, saved.unwrap_or_else(|| self.tally(slot))))
    }

    fn intern_unit(&mut self, name: &str) -> u32 {
        if let Some(unit) = self.find_unit(name) {
            return unit;
        }
        let unit = u32::try_from(self.units.len()).expect("there are no more units than accounts");
        self.units.push(name.into());
        let hash_of = |name: &str| xxh3_64_with_seed(name.as_bytes(), 0);
        let units = &self.units;
        self.units_index.insert_unique(hash_of(name), unit, |unit| hash_of(&units[*unit as usize]));
        unit
    }

    #[inline]
    fn at(&self, slot: u32) -> &Account {
        &self.chunks[slot as usize >> CHUNK_BITS][slot as usize % CHUNK]
    }
}

impl Freeze {
    /// Keeps the tally of a slot that changes for the first time.
    fn save(&mut self, slot: u32, old: Tally) {
        let place = &mut self.places[slot as usize];
        if *place > 0 {
            return;
        }
        if self.saved_len as usize % CHUNK == 0 {
            self.saved.push(Vec::with_capacity(CHUNK));
        }
        self.saved[self.saved_len as usize >> CHUNK_BITS].push(old);
        self.saved_len += 1;
        *place = self.saved_len;
    }

    fn saved(&self, slot: u32) -> Option<Tally> {
        let place = self.places[slot as usize].checked_sub(1)? as usize;
        Some(self.saved[place >> CHUNK_BITS][place % CHUNK])
    }
}

impl Tally {
    /// Just opened by the record `head`.
    pub(crate) const fn opened(head: u64) -> Self {
        Self { balance: 0, held: 0, version: 1, head }
    }

    /// What may be taken. It fits: whatever would make it leave the range is refused as an overflow.
    pub(crate) const fn available(&self) -> i128 {
        self.balance.saturating_sub(self.held)
    }

    /// With new numbers, changed by the record `head`.
    pub(crate) const fn changed(&self, balance: i128, held: i128, head: u64) -> Self {
        Self { balance, held, version: self.version.saturating_add(1), head }
    }

    /// As a record says it; `previous` is the head before the record.
    pub(crate) const fn after(&self, previous: u64) -> After {
        After { balance: self.balance, held: self.held, version: self.version, previous }
    }
}

impl Id {
    fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT - 1];
        match bytes.get_mut(..text.len()) {
            Some(head) => {
                head.copy_from_slice(text.as_bytes());
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(text.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(text) => text.as_bytes(),
        }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("it was made of a text")
    }
}
