//! The machine's state in chunks, so that a checkpoint never stops the cell.
//!
//! ```text
//! snapshot = { section }*                    each chunk is a whole number of sections
//! section  = 1:u8 head | 2:u8 count { account }*count | 3:u8 count { hold }*count | 5:u8 count { call }*count
//!          | 16:u8 count { topic }*count | 17:u8 count { chunk }*count
//!          | 18:u8 count { subscription }*count | 20:u8 count { definition }*count
//!          | 21:u8 count { run }*count | 22:u8 count { escalated }*count | 24:u8 count { lease }*count
//!          | 25:u8 1:u8 token:leb128 | 4:u8 digest:u64le
//! ```
//!
//! The state is that of the moment the snapshot began. Entries go on being applied between the chunks: whoever changes
//! what has not been written yet saves it first as it was. The last section holds [`Machine::full_digest`] of that moment,
//! and what is restored must have it again.

use words::{CellName, Position, Stamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::call::OpenCall;
use crate::codec::{Corrupt, Reader, put_bytes, put_i128, put_u64};
use crate::inbox::Retention;
use crate::ledger::accounts::{Fixed, Tally};
use crate::ledger::holds::Hold;
use crate::machine::Machine;
use crate::record::Opened;
use crate::topic::snapshot::Part;

/// The version of the snapshot format.
pub const SNAPSHOT_VERSION: u8 = 1;

mod section {
    pub(super) const HEAD: u8 = 1;
    pub(super) const ACCOUNTS: u8 = 2;
    pub(super) const HOLDS: u8 = 3;
    pub(super) const END: u8 = 4;
    pub(super) const CALLS: u8 = 5;
    pub(super) const SAGAS: u8 = 20;
    pub(super) const RUNS: u8 = 21;
    pub(super) const ESCALATED: u8 = 22;
    pub(super) const LEASES: u8 = 24;
    pub(super) const TOKEN: u8 = 25;
}

/// A snapshot being written.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    head: Head,
    next: Next,
    digest: u64,
    section: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Head,
    Accounts,
    Holds,
    Calls,
    Topics(Part),
    Sagas,
    Runs,
    Escalated,
    Leases,
    Token,
    End,
}

/// All state but accounts, holds, calls, topics, sagas and leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    cell_tag: u64,
    position: Position,
    stamp: Stamp,
    epoch: u64,
    retention: Retention,
    digest: u64,
    next_ordinal: u64,
}

impl Machine {
    /// Begins a snapshot of the state as it is now; one that runs already is given up. Costs 4 bytes for
    /// each account, and 48 for each that is changed before it is written, until it is done.
    pub fn begin_snapshot(&mut self) {
        self.accounts.freeze();
        self.holds.freeze(self.books.next_ordinal);
        self.calls.freeze();
        self.topics.freeze();
        self.sagas.freeze();
        self.leases.freeze();
        self.snapshot = Some(Running { head: Head::of(self), next: Next::Head, digest: 0, section: Vec::new() });
    }

    /// Gives up a snapshot that is not done.
    pub fn abandon_snapshot(&mut self) {
        self.snapshot = None;
        self.accounts.thaw();
        self.holds.thaw();
        self.calls.thaw();
        self.topics.thaw();
        self.sagas.thaw();
        self.leases.thaw();
    }

    /// Appends the next part of the snapshot to `out`: at most `items` accounts or holds (and at least one). Says whether
    /// that was the last. Without a snapshot there is nothing to write, and that is done.
    pub fn snapshot_chunk(&mut self, items: usize, out: &mut Vec<u8>) -> bool {
        let Some(mut running) = self.snapshot.take() else { return true };
        let mut left = items.max(1);
        while left > 0 {
            let written = match running.next {
                Next::Head => running.write_head(out),
                Next::Accounts => running.write_accounts(self, left, out),
                Next::Holds => running.write_holds(self, left, out),
                Next::Calls => running.write_calls(self, left, out),
                Next::Topics(part) => running.write_topics(self, part, left, out),
                Next::Sagas => running.write_sagas(self, left, out),
                Next::Runs => running.write_runs(self, left, out),
                Next::Escalated => running.write_escalated(self, left, out),
                Next::Leases => running.write_leases(self, left, out),
                Next::Token => running.write_token(self, out),
                Next::End => {
                    running.write_end(out);
                    self.abandon_snapshot();
                    return true;
                }
            };
            left -= written;
        }
        self.snapshot = Some(running);
        false
    }

    /// The machine of which `chunks` are a snapshot, in their order. `hash_seed` is the archive's, which must hold exactly
    /// the records up to [`Machine::next_ordinal`].
    ///
    /// # Errors
    /// [`Corrupt`] if the chunks are not a whole snapshot of a machine of this cell.
    pub fn restore<'c>(
        cell: &CellName,
        hash_seed: u64,
        chunks: impl IntoIterator<Item = &'c [u8]>,
    ) -> Result<Self, Corrupt> {
        let mut machine = Self::new(cell, hash_seed);
        let mut expected = None;
        for chunk in chunks {
            let mut r = Reader::new(chunk);
            while !r.is_empty() {
                if expected.is_some() {
                    return Err(Corrupt("a snapshot goes on after its end"));
                }
                expected = machine.restore_section(&mut r)?;
            }
        }
        match expected {
            None => Err(Corrupt("a snapshot ends too early")),
            Some(digest) if digest != machine.full_digest() => Err(Corrupt("a snapshot does not have its digest")),
            Some(_) => Ok(machine),
        }
    }

    /// Gives the digest of the last section.
    fn restore_section(&mut self, r: &mut Reader<'_>) -> Result<Option<u64>, Corrupt> {
        match r.u8()? {
            section::HEAD => Head::decode(r)?.restore(self)?,
            section::ACCOUNTS => {
                for _ in 0..r.u64()? {
                    self.restore_account(r)?;
                }
            }
            section::HOLDS => {
                for _ in 0..r.u64()? {
                    let (ordinal, hold) = decode_hold(r)?;
                    if hold.from.max(hold.to) >= self.accounts.len() {
                        return Err(Corrupt("a hold of an account that is not"));
                    }
                    self.holds.open(ordinal, hold);
                }
            }
            section::CALLS => {
                for _ in 0..r.u64()? {
                    let (call, open) = (r.u64()?, OpenCall::decode(r)?);
                    self.calls.set(call, open);
                }
            }
            section::SAGAS => {
                for _ in 0..r.u64()? {
                    self.sagas.restore_definition(r)?;
                }
            }
            section::RUNS => {
                for _ in 0..r.u64()? {
                    self.sagas.restore_run(r)?;
                }
            }
            section::ESCALATED => {
                for _ in 0..r.u64()? {
                    self.sagas.restore_escalated(r)?;
                }
            }
            section::LEASES => {
                for _ in 0..r.u64()? {
                    self.leases.restore(r)?;
                }
            }
            section::TOKEN => {
                for _ in 0..r.u64()? {
                    self.leases.restore_token(r)?;
                }
            }
            section::END => return r.u64_fixed().map(Some),
            other => {
                let part = Part::of_section(other).ok_or(Corrupt("an unknown section of a snapshot"))?;
                for _ in 0..r.u64()? {
                    self.topics.restore(part, r)?;
                }
            }
        }
        Ok(None)
    }

    fn restore_account(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let (fixed, tally) = decode_account(r)?;
        let name = self.names.account(fixed.opened.id);
        if self.accounts.find(name, fixed.opened.id).is_some() {
            return Err(Corrupt("an account is there twice"));
        }
        self.accounts.add(name, fixed, tally);
        Ok(())
    }
}

impl Running {
    fn write_head(&mut self, out: &mut Vec<u8>) -> usize {
        out.push(section::HEAD);
        self.head.encode(out);
        self.next = Next::Accounts;
        0
    }

    fn write_accounts(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let mut count = 0;
        self.section.clear();
        while count < items {
            let Some((slot, tally)) = machine.accounts.take_frozen() else {
                self.next = Next::Holds;
                break;
            };
            let start = self.section.len();
            encode_account(&mut self.section, machine.accounts.fixed(slot), tally);
            self.digest = xxh3_64_with_seed(&self.section[start..], self.digest);
            count += 1;
        }
        self.finish_section(section::ACCOUNTS, count, out)
    }

    fn write_holds(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let mut count = 0;
        self.section.clear();
        while count < items {
            let Some((ordinal, hold)) = machine.holds.take_frozen() else {
                self.next = Next::Calls;
                break;
            };
            let start = self.section.len();
            encode_hold(&mut self.section, ordinal, hold);
            self.digest = xxh3_64_with_seed(&self.section[start..], self.digest);
            count += 1;
        }
        self.finish_section(section::HOLDS, count, out)
    }

    fn write_calls(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let mut count = 0;
        self.section.clear();
        while count < items {
            let Some((call, open)) = machine.calls.take_frozen() else {
                self.next = Next::Topics(Part::Topics);
                break;
            };
            let start = self.section.len();
            encode_call(&mut self.section, call, &open);
            self.digest = xxh3_64_with_seed(&self.section[start..], self.digest);
            count += 1;
        }
        self.finish_section(section::CALLS, count, out)
    }

    fn write_topics(&mut self, machine: &mut Machine, part: Part, items: usize, out: &mut Vec<u8>) -> usize {
        let count = self.gather(items, |section| machine.topics.take_frozen(part, section));
        if count < items {
            self.next = part.after().map_or(Next::Sagas, Next::Topics);
        }
        self.finish_section(part.section(), count, out)
    }

    fn write_sagas(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let count = self.gather(items, |section| machine.sagas.take_definition(section));
        if count < items {
            self.next = Next::Runs;
        }
        self.finish_section(section::SAGAS, count, out)
    }

    fn write_runs(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let count = self.gather(items, |section| machine.sagas.take_run(section));
        if count < items {
            self.next = Next::Escalated;
        }
        self.finish_section(section::RUNS, count, out)
    }

    fn write_escalated(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let count = self.gather(items, |section| machine.sagas.take_escalated(section));
        if count < items {
            self.next = Next::Leases;
        }
        self.finish_section(section::ESCALATED, count, out)
    }

    fn write_leases(&mut self, machine: &mut Machine, items: usize, out: &mut Vec<u8>) -> usize {
        let count = self.gather(items, |section| machine.leases.take_frozen(section));
        if count < items {
            self.next = Next::Token;
        }
        self.finish_section(section::LEASES, count, out)
    }

    fn write_token(&mut self, machine: &mut Machine, out: &mut Vec<u8>) -> usize {
        let count = self.gather(1, |section| machine.leases.take_frozen_token(section));
        self.next = Next::End;
        self.finish_section(section::TOKEN, count, out)
    }

    /// Gathers up to `items` things into the section, rolling the digest over each. Gives how many there were.
    fn gather(&mut self, items: usize, mut take: impl FnMut(&mut Vec<u8>) -> bool) -> usize {
        self.section.clear();
        let mut count = 0;
        while count < items {
            let start = self.section.len();
            if !take(&mut self.section) {
                break;
            }
            self.digest = xxh3_64_with_seed(&self.section[start..], self.digest);
            count += 1;
        }
        count
    }

    fn finish_section(&mut self, kind: u8, count: usize, out: &mut Vec<u8>) -> usize {
        if count > 0 {
            out.push(kind);
            put_u64(out, count as u64);
            out.extend_from_slice(&self.section);
        }
        count
    }

    fn write_end(&mut self, out: &mut Vec<u8>) {
        self.section.clear();
        self.head.encode(&mut self.section);
        self.digest = xxh3_64_with_seed(&self.section, self.digest);
        out.push(section::END);
        out.extend_from_slice(&self.digest.to_le_bytes());
    }
}

impl Head {
    pub(crate) const fn of(machine: &Machine) -> Self {
        Self {
            cell_tag: machine.cell_tag,
            position: machine.position,
            stamp: machine.stamp,
            epoch: machine.epoch,
            retention: machine.retention,
            digest: machine.books.digest,
            next_ordinal: machine.books.next_ordinal,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(SNAPSHOT_VERSION);
        out.extend_from_slice(&self.cell_tag.to_le_bytes());
        put_u64(out, self.position.epoch);
        put_u64(out, self.position.index);
        put_u64(out, self.stamp.raw());
        put_u64(out, self.epoch);
        put_u64(out, self.retention.ms);
        put_u64(out, self.retention.forgotten_before.raw());
        out.extend_from_slice(&self.digest.to_le_bytes());
        put_u64(out, self.next_ordinal);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        if r.u8()? != SNAPSHOT_VERSION {
            return Err(Corrupt("a snapshot of another version"));
        }
        Ok(Self {
            cell_tag: r.u64_fixed()?,
            position: Position { epoch: r.u64()?, index: r.u64()? },
            stamp: Stamp::from_raw(r.u64()?),
            epoch: r.u64()?,
            retention: Retention { ms: r.u64()?, forgotten_before: Stamp::from_raw(r.u64()?) },
            digest: r.u64_fixed()?,
            next_ordinal: r.u64()?,
        })
    }

    fn restore(self, machine: &mut Machine) -> Result<(), Corrupt> {
        if self.cell_tag != machine.cell_tag {
            return Err(Corrupt("a snapshot of another cell"));
        }
        machine.position = self.position;
        machine.stamp = self.stamp;
        machine.epoch = self.epoch;
        machine.retention = self.retention;
        machine.books.digest = self.digest;
        machine.books.next_ordinal = self.next_ordinal;
        Ok(())
    }
}

pub(crate) fn encode_account(out: &mut Vec<u8>, fixed: Fixed<'_>, tally: Tally) {
    let Opened { id, unit, floor, metadata } = fixed.opened;
    put_bytes(out, id.as_bytes());
    put_bytes(out, unit.as_bytes());
    out.push(u8::from(floor.is_some()));
    if let Some(floor) = floor {
        put_i128(out, floor);
    }
    put_bytes(out, metadata.as_bytes());
    put_u64(out, fixed.created.raw());
    put_i128(out, tally.balance);
    put_i128(out, tally.held);
    put_u64(out, tally.version);
    put_u64(out, tally.head);
}

fn decode_account<'a>(r: &mut Reader<'a>) -> Result<(Fixed<'a>, Tally), Corrupt> {
    let opened = Opened {
        id: r.str()?,
        unit: r.str()?,
        floor: if r.flag()? { Some(r.i128()?) } else { None },
        metadata: r.str()?,
    };
    let fixed = Fixed { opened, created: Stamp::from_raw(r.u64()?) };
    Ok((fixed, Tally { balance: r.i128()?, held: r.i128()?, version: r.u64()?, head: r.u64()? }))
}

pub(crate) fn encode_hold(out: &mut Vec<u8>, ordinal: u64, hold: Hold) {
    put_u64(out, ordinal);
    put_u64(out, hold.from.into());
    put_u64(out, hold.to.into());
    put_i128(out, hold.amount);
    put_u64(out, hold.expires.raw());
}

pub(crate) fn encode_call(out: &mut Vec<u8>, call: u64, open: &OpenCall) {
    put_u64(out, call);
    open.encode(out);
}

fn decode_hold(r: &mut Reader<'_>) -> Result<(u64, Hold), Corrupt> {
    let slot = |n: u64| u32::try_from(n).map_err(|_| Corrupt("a slot does not fit"));
    let ordinal = r.u64()?;
    let hold =
        Hold { from: slot(r.u64()?)?, to: slot(r.u64()?)?, amount: r.i128()?, expires: Stamp::from_raw(r.u64()?) };
    Ok((ordinal, hold))
}

#[cfg(test)]
mod tests;
