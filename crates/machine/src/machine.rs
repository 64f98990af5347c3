//! The machine's state, and what may be asked of it between two entries.

use words::{CellName, Position, Stamp, TransferId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::archive::{Archive, Fault, NameHash};
use crate::books::{Books, find_decision};
use crate::call::Calls;
use crate::inbox::Retention;
use crate::lease::Leases;
use crate::ledger::accounts::Accounts;
use crate::ledger::holds::Holds;
use crate::ledger::original;
use crate::names::Names;
use crate::saga::{Sagas, encode_escalated, encode_run};
use crate::snapshot::{self, Running};
use crate::topic::Topics;
use crate::turn::Scratch;

/// All of a cell's state that is in memory: accounts, open holds, open calls, topics and subscriptions, sagas and their
/// open runs, leases in use, and where in the log it stands.
///
/// Two machines that applied the same entries with equal archives are equal, whatever hardware or build they ran on; only
/// the seed of the archive's names may differ.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) cell_tag: u64,
    pub(crate) names: Names,
    pub(crate) position: Position,
    pub(crate) stamp: Stamp,
    pub(crate) epoch: u64,
    pub(crate) retention: Retention,
    pub(crate) books: Books,
    pub(crate) accounts: Accounts,
    pub(crate) holds: Holds,
    pub(crate) calls: Calls,
    pub(crate) topics: Topics,
    pub(crate) sagas: Sagas,
    pub(crate) leases: Leases,
    pub(crate) snapshot: Option<Running>,
    pub(crate) scratch: Scratch,
}

/// An account as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccountView<'m> {
    /// Its id.
    pub id: &'m str,
    /// What it counts.
    pub unit: &'m str,
    /// The lowest `available` a transfer may leave; `None` = no floor.
    pub floor: Option<i128>,
    /// What was moved to it less what was moved from it.
    pub balance: i128,
    /// The sum of open holds from it.
    pub held: i128,
    /// Canonical JSON, or empty.
    pub metadata: &'m str,
    /// When it was opened.
    pub created: Stamp,
    /// How many records changed it, its opening included.
    pub version: u64,
    /// The newest of those records: the begin of its history.
    pub head: u64,
    /// How many accounts were opened before it.
    pub slot: u64,
}

/// Some accounts, in the order of their opening.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountPage<'m> {
    /// The accounts.
    pub items: Vec<AccountView<'m>>,
    /// The slot to go on from; `None` at the end.
    pub next: Option<u64>,
}

/// A transfer as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferState {
    /// The record that made it.
    pub made: u64,
    /// The newest record of its own: the one that made it, or the one that closed its hold.
    pub newest: u64,
    /// The newest record that moved its money back.
    pub reversal: Option<u64>,
    /// How much was moved back in all.
    pub reversed_total: u128,
}

/// A page of anything ends with the item that reaches so many bytes: 2 MiB, so that with what is put around them it stays below the
/// 4 MiB that clients of gRPC take in one message unless they are told otherwise.
pub const PAGE_BYTES_MAX: usize = 2 << 20;

/// The most accounts one page looks at: a filter that matches few must not stop the cell.
const PAGE_SLOTS_MAX: u64 = 65_536;

impl Machine {
    /// The empty machine of a cell. `hash_seed` is the archive's.
    pub fn new(cell: &CellName, hash_seed: u64) -> Self {
        Self {
            cell_tag: TransferId::cell_tag(cell),
            names: Names::new(hash_seed),
            position: Position::START,
            stamp: Stamp::ZERO,
            epoch: 0,
            retention: Retention::default(),
            books: Books::default(),
            accounts: Accounts::default(),
            holds: Holds::default(),
            calls: Calls::default(),
            topics: Topics::default(),
            sagas: Sagas::default(),
            leases: Leases::default(),
            snapshot: None,
            scratch: Scratch::default(),
        }
    }

    /// The last entry applied.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Its stamp.
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The epoch of the newest claim.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long decided keys are kept, in milliseconds.
    pub const fn key_retention_ms(&self) -> u64 {
        self.retention.ms
    }

    /// What was decided before this instant is no longer found by its key at `at`, and never will be again: the archive
    /// may forget its name.
    pub fn key_horizon(&self, at: Stamp) -> Stamp {
        self.retention.horizon(at)
    }

    /// The ordinal of the next record: how many the archive must hold for the next entry.
    pub const fn next_ordinal(&self) -> u64 {
        self.books.next_ordinal
    }

    /// Rolls over every record and every stamp: equal digests at equal positions mean equal pasts. Cheap.
    pub const fn digest(&self) -> u64 {
        self.books.digest
    }

    /// Of all state, account by account and hold by hold: takes as long as there are many.
    pub fn full_digest(&self) -> u64 {
        let mut bytes = Vec::with_capacity(512);
        let mut digest = 0;
        let mut roll = |bytes: &mut Vec<u8>| {
            digest = xxh3_64_with_seed(bytes, digest);
            bytes.clear();
        };
        for slot in 0..self.accounts.len() {
            snapshot::encode_account(&mut bytes, self.accounts.fixed(slot), self.accounts.tally(slot));
            roll(&mut bytes);
        }
        for (ordinal, hold) in self.holds.iter() {
            snapshot::encode_hold(&mut bytes, ordinal, hold);
            roll(&mut bytes);
        }
        for (call, open) in self.calls.iter() {
            snapshot::encode_call(&mut bytes, call, &open);
            roll(&mut bytes);
        }
        self.topics.visit(&mut roll);
        for (number, definition) in self.sagas.definitions() {
            definition.encode(number, &mut bytes);
            roll(&mut bytes);
        }
        for (number, run) in self.sagas.runs() {
            encode_run(number, run, &mut bytes);
            roll(&mut bytes);
        }
        for (number, saga) in self.sagas.escalated() {
            encode_escalated(number, saga, &mut bytes);
            roll(&mut bytes);
        }
        self.leases.visit(&mut roll);
        snapshot::Head::of(self).encode(&mut bytes);
        roll(&mut bytes);
        digest
    }

    /// How many accounts there are.
    pub const fn accounts_len(&self) -> u64 {
        self.accounts.len() as u64
    }

    /// How many holds are open.
    pub fn holds_len(&self) -> u64 {
        self.holds.len() as u64
    }

    /// The account of that id.
    pub fn account(&self, id: &str) -> Option<AccountView<'_>> {
        self.accounts.find(self.names.account(id), id).map(|slot| self.view(slot))
    }

    /// Up to `limit` accounts from `from_slot` on, only those that count `unit` if one is given. A page may be short, or
    /// empty, and still have a next one.
    pub fn accounts(&self, from_slot: u64, limit: usize, unit: Option<&str>) -> AccountPage<'_> {
        let mut items = Vec::new();
        let end = u64::from(self.accounts.len());
        let wanted = unit.map(|unit| self.accounts.find_unit(unit));
        if wanted == Some(None) {
            return AccountPage { items, next: None };
        }
        let (mut at, mut bytes) = (from_slot, 0);
        while at < end && items.len() < limit && at - from_slot < PAGE_SLOTS_MAX && bytes < PAGE_BYTES_MAX {
            let slot = at as u32;
            if wanted.flatten().is_none_or(|unit| self.accounts.unit(slot) == unit) {
                let item = self.view(slot);
                bytes += item.metadata.len();
                items.push(item);
            }
            at += 1;
        }
        AccountPage { items, next: (at < end).then_some(at) }
    }

    fn view(&self, slot: u32) -> AccountView<'_> {
        let (fixed, tally) = (self.accounts.fixed(slot), self.accounts.tally(slot));
        AccountView {
            id: fixed.opened.id,
            unit: fixed.opened.unit,
            floor: fixed.opened.floor,
            balance: tally.balance,
            held: tally.held,
            metadata: fixed.opened.metadata,
            created: fixed.created,
            version: tally.version,
            head: tally.head,
            slot: slot.into(),
        }
    }

    /// The record of what was decided under a key and still counts at `at`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn find_operation<A: Archive>(
        &self,
        principal: &str,
        key: &str,
        at: Stamp,
        archive: &A,
    ) -> Result<Option<u64>, Fault> {
        let horizon = self.retention.horizon(at);
        let found = find_decision(archive, self.names.operation(principal, key), principal, key)?;
        let found = found.filter(|(_, decision)| decision.is_pending || decision.stamp >= horizon);
        Ok(found.map(|(ordinal, _)| ordinal))
    }

    /// The newest record of a transfer, which says how it stands; `None` if there is no such transfer.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn transfer_now<A: Archive>(&self, id: TransferId, archive: &A) -> Result<Option<u64>, Fault> {
        Ok(self.transfer_state(id, archive)?.map(|state| state.newest))
    }

    /// How a transfer stands, reversals included; `None` if there is no such transfer.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn transfer_state<A: Archive>(&self, id: TransferId, archive: &A) -> Result<Option<TransferState>, Fault> {
        let mut bytes = Vec::new();
        let Some(made) = original::read(archive, self.cell_tag, id, &mut bytes)? else { return Ok(None) };
        let is_hold = original::decode(&bytes)?.hold_until.is_some();
        let closing = if is_hold { original::closing(archive, &self.names, id, made)? } else { None };
        let reversal = original::reversal(archive, &self.names, id, made)?;
        Ok(Some(TransferState {
            made,
            newest: closing.map_or(made, |(ordinal, ..)| ordinal),
            reversal: reversal.map(|(ordinal, _)| ordinal),
            reversed_total: reversal.map_or(0, |(_, total)| total),
        }))
    }

    /// How names are hashed, for readers of the archive.
    pub const fn names(&self) -> Names {
        self.names
    }

    /// What the archive calls the operation under this key.
    pub fn hash_operation(&self, principal: &str, key: &str) -> NameHash {
        self.names.operation(principal, key)
    }

    /// What the archive calls this account's history.
    pub fn hash_account(&self, id: &str) -> NameHash {
        self.names.account(id)
    }

    /// What the archive calls the closing of the hold that is record `ordinal`.
    pub fn hash_transfer(&self, ordinal: u64) -> NameHash {
        self.names.transfer(ordinal)
    }
}
