//! Entries as a broken writer might append them.

use std::collections::BTreeMap;

use machine::{
    Applied, ApplyError, Command, Entry, EntryEncoder, Machine, MemoryArchive, Op, OpenAccount, Order, Record, Verdict,
    encode_head,
};
use words::{Amount, CellName, Position, Stamp};

use crate::Script;

const START_MICROS: u64 = 1_700_000_000_000_000;
const SEED: u64 = 3;

/// Applies the bytes to a small machine: as whole entries, and as commands in entries that are otherwise right. An entry
/// is applied or refused, never the death of the machine; money is neither made nor lost; two machines that applied the
/// same are the same, one of them brought back from a snapshot.
///
/// # Panics
/// Where one of that does not hold.
pub fn entry_decoder(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut replica = Replica::with_accounts();
    while !script.is_over() {
        let how = script.byte();
        let chunk = script.bytes();
        replica.stamp = replica.stamp.plus_ms(u64::from(how >> 2) * u64::from(how >> 2) * 10).plus_micros(1);
        let entry =
            if how & 1 == 0 { whole(chunk, replica.stamp) } else { with_commands(chunk, replica.stamp, how & 2 != 0) };
        check_decoding(&entry);
        if replica.apply(&entry).is_err() {
            // A cell stops here: what comes later would be applied to half an entry.
            return;
        }
        replica.check_balances();
    }
    replica.check_snapshot();
}

/// The bytes as an entry, with a version and a stamp that let them in.
fn whole(chunk: &[u8], stamp: Stamp) -> Vec<u8> {
    let mut entry = EntryEncoder::default().finish(stamp);
    entry.truncate(entry.len() - 1);
    entry.extend_from_slice(chunk);
    entry
}

/// The bytes as one command in an entry, or twice if `again`. Those that are none are left out, as the cell would.
fn with_commands(chunk: &[u8], stamp: Stamp, again: bool) -> Vec<u8> {
    let mut command = Vec::new();
    encode_head(&mut command, stamp.plus_ms(1_000), "", "key");
    command.extend_from_slice(chunk);
    let mut entry = EntryEncoder::default();
    for _ in 0..=u8::from(again) {
        if Command::decode(&command).is_ok() {
            entry.push(&command);
        }
    }
    entry.finish(stamp)
}

/// What is decoded has one encoding.
fn check_decoding(entry: &[u8]) {
    let Ok(entry) = Entry::decode(entry) else { return };
    for command in entry.commands().map_while(Result::ok) {
        let mut op = Vec::new();
        command.op.encode(&mut op);
        assert_eq!(op, command.op_bytes, "one meaning, two encodings");
        if let Op::Batch { items, .. } = command.op {
            items.iter().map_while(Result::ok).for_each(|item| {
                let mut op = Vec::new();
                item.order.encode(&mut op);
                assert_eq!(op, item.op_bytes, "one meaning, two encodings");
            });
        }
    }
}

struct Replica {
    machine: Machine,
    archive: MemoryArchive,
    applied: Applied,
    position: Position,
    stamp: Stamp,
}

impl Replica {
    /// Three accounts with money, one of another unit, and an open hold.
    fn with_accounts() -> Self {
        let mut replica = Self {
            machine: Machine::new(&cell(), SEED),
            archive: MemoryArchive::default(),
            applied: Applied::default(),
            position: Position::START,
            stamp: Stamp::from_micros(START_MICROS),
        };
        let mut entry = EntryEncoder::default();
        let mut push = |key: &str, op: Op<'_>| {
            let mut command = Vec::new();
            encode_head(&mut command, Stamp::from_micros(START_MICROS).plus_ms(1_000), "", key);
            op.encode(&mut command);
            entry.push(&command);
        };
        for (id, unit, floor) in
            [("w", "GBP", None), ("a", "GBP", Some(0)), ("b", "GBP", Some(-50)), ("s", "seat", None)]
        {
            push(id, Op::OpenAccount(OpenAccount { id, unit, floor, metadata: "" }));
        }
        for (key, to, hold_ms) in [("1", "a", None), ("2", "b", None), ("3", "b", Some(5_000))] {
            let amount = Amount::new(1_000).expect("it is an amount");
            push(key, Op::Transfer(Order { from: "w", to, amount, hold_ms, memo: "", metadata: "" }));
        }
        let entry = entry.finish(replica.stamp);
        replica.apply(&entry).expect("these commands are in order");
        replica
    }

    fn apply(&mut self, entry: &[u8]) -> Result<(), ApplyError> {
        self.position.index += 1;
        self.machine.apply(self.position, entry, &mut self.archive, &mut self.applied)?;
        for verdict in self.applied.verdicts.iter().chain(&self.applied.items) {
            if let Verdict::Decided { ordinal } | Verdict::Replayed { ordinal } = verdict {
                let read = machine::Archive::read(&self.archive, *ordinal, &mut |bytes| {
                    Record::decode(bytes).expect("what the machine wrote, it reads");
                });
                read.expect("each decision left its record");
            }
        }
        Ok(())
    }

    fn check_balances(&self) {
        let mut sums = BTreeMap::<&str, i128>::new();
        for account in self.machine.accounts(0, 1_000, None).items {
            let sum = sums.entry(account.unit).or_default();
            // The sum of all fits; that of some need not.
            *sum = sum.wrapping_add(account.balance);
            assert!(account.held >= 0, "{account:?}");
        }
        assert!(sums.values().all(|sum| *sum == 0), "money was made or lost: {sums:?}");
    }

    fn check_snapshot(mut self) {
        let mut snapshot = Vec::new();
        self.machine.begin_snapshot();
        while !self.machine.snapshot_chunk(2, &mut snapshot) {}
        let restored = Machine::restore(&cell(), SEED, [snapshot.as_slice()]).expect("what was written is whole");
        let (ours, theirs) = (self.machine.full_digest(), restored.full_digest());
        assert_eq!(ours, theirs, "a snapshot forgot something");
        assert_eq!(self.machine.digest(), restored.digest());
    }
}

fn cell() -> CellName {
    CellName::new("main").expect("it is a name")
}
