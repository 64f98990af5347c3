//! Applies a history natively and writes it down: `<entry in hex> <digest after it in hex>`, a line for each entry.

use machine::{BatchEncoder, BatchMode, EntryEncoder, Op, OpenAccount, Order, encode_head};
use purity::Replica;
use words::{Amount, Stamp};

const ENTRIES: u64 = 2_000;
const ACCOUNTS: u64 = 7;

fn main() {
    let mut replica = Replica::default();
    for number in 0..ENTRIES {
        let entry = entry(number);
        let hex: String = entry.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = replica.apply(&entry);
        assert_ne!(digest, 0, "entry {number} is refused as a whole");
        println!("{hex} {digest:016x}");
    }
}

/// Accounts first; then transfers, holds that expire, keys that come again and batches, many of them refused.
fn entry(number: u64) -> Vec<u8> {
    let mut entry = EntryEncoder::default();
    let stamp = Stamp::from_micros(1_700_000_000_000_000 + number * 250_000);
    let mut command = |key: String, op: &Op<'_>| {
        let mut bytes = Vec::new();
        encode_head(&mut bytes, stamp.plus_ms(10_000), "", &key);
        op.encode(&mut bytes);
        entry.push(&bytes);
    };
    if number < ACCOUNTS {
        let floor = if number == 0 { None } else { Some(0) };
        let id = format!("account:{number}");
        command(format!("open:{number}"), &Op::OpenAccount(OpenAccount { id: &id, unit: "GBP", floor, metadata: "" }));
        return entry.finish(stamp);
    }
    let (from, to) = (format!("account:{}", number * 5 % ACCOUNTS), format!("account:{}", number * 3 % (ACCOUNTS + 1)));
    let order = Order {
        from: &from,
        to: &to,
        amount: amount(1 + number * 37 % 101),
        hold_ms: (number % 3 == 0).then_some(900),
        memo: "",
        metadata: "",
    };
    command(format!("transfer:{}", number - number % 2), &Op::Transfer(order));
    if number % 10 == 0 {
        let mut batch = BatchEncoder::new(3);
        for item in 0..3 {
            batch.push(&format!("item:{number}:{item}"), &Order { amount: amount(item + 1), hold_ms: None, ..order });
        }
        let mut bytes = Vec::new();
        encode_head(&mut bytes, stamp.plus_ms(10_000), "", &format!("batch:{number}"));
        batch.finish(if number % 20 == 0 { BatchMode::Atomic } else { BatchMode::Each }, &mut bytes);
        entry.push(&bytes);
    }
    entry.finish(stamp)
}

fn amount(units: u64) -> Amount {
    Amount::new(u128::from(units)).expect("it is at least 1 and small")
}
