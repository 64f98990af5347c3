//! What applying one transfer costs: `cargo run --release -p tertium-machine --example apply_cost`.
//!
//! The archive here keeps nothing and knows nothing, so that what is measured is the machine. Time is the thread's own on
//! the CPU where the kernel tells it (`/proc/thread-self/schedstat`), else the wall's.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::Instant;

use tertium_machine::{
    Applied, Archive, BatchEncoder, BatchMode, EntryEncoder, Fault, Machine, NameHash, Op, OpenAccount, Order,
    encode_head,
};
use words::{Amount, CellName, Position, Stamp};

/// Counts, and forgets.
#[derive(Default)]
struct Nothing {
    records: u64,
    bytes: u64,
}

impl Archive for Nothing {
    fn next_ordinal(&self) -> u64 {
        self.records
    }

    fn push(&mut self, record: &[u8], _named: &[NameHash], _touched: &[NameHash]) {
        self.records += 1;
        self.bytes += record.len() as u64;
    }

    fn find(&self, _: NameHash, _: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault> {
        Ok(None)
    }

    fn read(&self, ordinal: u64, _: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        Err(Fault(format!("record {ordinal} was not kept")))
    }
}

struct Bench {
    machine: Machine,
    archive: Nothing,
    applied: Applied,
    index: u64,
    random: u64,
}

impl Bench {
    fn new(accounts: u64) -> Self {
        let cell = CellName::new("main").expect("it is a name");
        let machine = Machine::new(&cell, 7);
        let mut bench =
            Self { machine, archive: Nothing::default(), applied: Applied::default(), index: 0, random: 88 };
        let mut encoder = EntryEncoder::default();
        for n in 0..accounts {
            let mut command = Vec::new();
            encode_head(&mut command, Stamp::MAX, "", &format!("open-{n}"));
            let id = &account(n);
            Op::OpenAccount(OpenAccount { id, unit: "GBP", floor: None, metadata: "" }).encode(&mut command);
            encoder.push(&command);
            if encoder.len() == 8_000 || n + 1 == accounts {
                let entry = bench.stamped(&mut encoder);
                bench.apply(&entry);
            }
        }
        bench
    }

    /// Below `n`, by xorshift64*.
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        ((u128::from(self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)) * u128::from(n)) >> 64) as u64
    }

    fn stamped(&mut self, encoder: &mut EntryEncoder) -> Vec<u8> {
        self.index += 1;
        encoder.finish(Stamp::from_micros(1_767_225_600_000_000 + self.index * 1_000))
    }

    fn apply(&mut self, entry: &[u8]) {
        let position = Position { epoch: 1, index: self.machine.position().index + 1 };
        self.machine
            .apply(position, entry, &mut self.archive, &mut self.applied)
            .expect("what was encoded can be applied");
    }

    /// Entries of `per_entry` transfers each, as commands or as one batch.
    fn entries(&mut self, entries: u64, per_entry: u64, accounts: u64, mode: Option<BatchMode>) -> Vec<Vec<u8>> {
        let mut encoder = EntryEncoder::default();
        (0..entries)
            .map(|e| {
                let mut batch = BatchEncoder::new(per_entry as usize);
                for n in 0..per_entry {
                    let from = self.below(accounts);
                    let to = (from + 1 + self.below(accounts - 1)) % accounts;
                    let (from, to) = (&account(from), &account(to));
                    let amount = Amount::new(1 + u128::from(n % 90)).expect("it is positive");
                    let order = Order { from, to, amount, hold_ms: None, memo: "", metadata: "" };
                    let key = format!("transfer-{e:08}-{n:08}");
                    if mode.is_some() {
                        batch.push(&key, &order);
                    } else {
                        let mut command = Vec::new();
                        encode_head(&mut command, Stamp::MAX, "", &key);
                        order.encode(&mut command);
                        encoder.push(&command);
                    }
                }
                if let Some(mode) = mode {
                    let mut command = Vec::new();
                    encode_head(&mut command, Stamp::MAX, "", &format!("batch-{e}"));
                    batch.finish(mode, &mut command);
                    encoder.push(&command);
                }
                self.stamped(&mut encoder)
            })
            .collect()
    }

    fn measure(&mut self, name: &str, total: u64, per_entry: u64, accounts: u64, mode: Option<BatchMode>) {
        let entries = self.entries(total / per_entry, per_entry, accounts, mode);
        let (records, bytes) = (self.archive.records, self.archive.bytes);
        let start = Spent::now();
        for entry in &entries {
            self.apply(entry);
        }
        let nanos = start.nanos();
        let made = self.archive.records - records;
        let record_bytes = (self.archive.bytes - bytes) / made;
        println!(
            "{name:<44} {:>6} ns a transfer, {record_bytes} bytes a record",
            nanos / (total / per_entry * per_entry)
        );
    }
}

/// A moment, on the CPU and on the wall.
struct Spent {
    cpu_nanos: Option<u64>,
    wall: Instant,
}

impl Spent {
    fn now() -> Self {
        Self { cpu_nanos: Self::cpu_nanos(), wall: Instant::now() }
    }

    fn nanos(&self) -> u64 {
        match (self.cpu_nanos, Self::cpu_nanos()) {
            (Some(start), Some(now)) => now - start,
            _ => self.wall.elapsed().as_nanos() as u64,
        }
    }

    fn cpu_nanos() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split_whitespace().next()?.parse().ok()
    }
}

/// The text of an account's id.
fn account(n: u64) -> String {
    format!("customer-{n:07}")
}

fn main() {
    for accounts in [10_000, 1_000_000] {
        let mut bench = Bench::new(accounts);
        println!("{accounts} accounts");
        for _ in 0..2 {
            bench.measure("64 commands an entry", 2_000_000, 64, accounts, None);
            bench.measure("a batch of 8,000 an entry, each", 2_000_000, 8_000, accounts, Some(BatchMode::Each));
            bench.measure("a batch of 8,000 an entry, atomic", 2_000_000, 8_000, accounts, Some(BatchMode::Atomic));
            bench.measure("a batch of 8,000 an entry, stream", 2_000_000, 8_000, accounts, Some(BatchMode::Stream));
        }
        bench.machine.begin_snapshot();
        let mut chunk = Vec::new();
        let (start, mut bytes, mut slowest) = (Spent::now(), 0, 0);
        loop {
            let begin = Spent::now();
            let is_done = bench.machine.snapshot_chunk(1_000, &mut chunk);
            slowest = slowest.max(begin.nanos() / 1_000);
            bytes += chunk.len();
            chunk.clear();
            if is_done {
                break;
            }
        }
        let micros = start.nanos() / 1_000;
        println!("snapshot: {bytes} bytes in {micros} us, the slowest 1,000 accounts {slowest} us");
    }
}
