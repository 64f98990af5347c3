//! What one transfer costs on its way in and out, in nanoseconds of one core: as an item of a JSON batch, and in a
//! packed frame. Run it with `cargo run --release -p tertium-wire --example json_cost`.

use std::hint::black_box;
use std::time::Instant;

use machine::{After, BatchEncoder, Body, Event, Exceptions, Moved, Order, Record, Runs};
use tertium_wire::answer::{Item, ItemVerdict, answer_of};
use tertium_wire::frames::{FrameEncoder, decode_frame, encode_answers};
use tertium_wire::request::parse_batch;
use words::{Amount, Fingerprint, Position, Stamp, TransferId};

const ITEMS: usize = 8_000;
const ROUNDS: usize = 60;

fn main() {
    let body = body();
    let frame = frame();
    let keys: Vec<String> = (0..ITEMS).map(key).collect();
    println!("{} bytes per item in JSON, {} in a frame", body.len() / ITEMS, frame.len() / ITEMS);

    let (record, transfer) = (record(), TransferId::new(7, 1_700_000_000_000, 1));
    let moved = |at: usize| {
        let body = Body::Moved(Moved { amount: at as u128 + 1, ..moved(transfer) });
        ItemVerdict::Decided(Record { body, ..record })
    };
    let batch = Record {
        body: Body::Batch { items: Runs::new(&[]), exceptions: Exceptions::new(&[]), atomic: false },
        ..record
    };
    let answer = |keys: &[String]| {
        let items = keys.iter().enumerate().map(|(at, key)| Item { key, verdict: moved(at) });
        answer_of(&batch, items).body.len()
    };
    println!("{} bytes per item out", answer(&keys) / ITEMS);

    measure("JSON in", || parse_batch(black_box(&body), "principal", "batch-1").map_or(0, |command| command.len()));
    measure("JSON out", || answer(black_box(&keys)));
    let mut received = None;
    measure("frame in", || {
        let mut encoder = BatchEncoder::new(ITEMS);
        received = decode_frame(black_box(&frame), &mut encoder).ok();
        encoder.len()
    });
    let received = received.unwrap_or_default();
    measure("frame out", || encode_answers(black_box(&received), (0..ITEMS).map(|at| (moved(at), false))).len());
}

/// Prints the best round: what else the machine does can only make a round slower.
fn measure(name: &str, mut round: impl FnMut() -> usize) {
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert!(black_box(round()) > 0, "{name} made nothing");
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:>9}: {:>6.0} ns per item", best.as_nanos() as f64 / ITEMS as f64);
}

fn key(at: usize) -> String {
    format!("payment-{at:08}-{:08x}", at.wrapping_mul(2_654_435_761) as u32)
}

fn body() -> Vec<u8> {
    let items: Vec<String> = (0..ITEMS)
        .map(|at| {
            format!(
                r#"{{"key":"{}","from":"customer-{:06}","to":"customer-{:06}","amount":{}}}"#,
                key(at),
                at % 10_000,
                (at * 7 + 1) % 10_000,
                at + 1
            )
        })
        .collect();
    format!(r#"{{"atomic":false,"items":[{}]}}"#, items.join(",")).into_bytes()
}

fn frame() -> Vec<u8> {
    let mut encoder = FrameEncoder::default();
    for at in 0..ITEMS {
        let (from, to) = (format!("customer-{:06}", at % 10_000), format!("customer-{:06}", (at * 7 + 1) % 10_000));
        let amount = Amount::new(at as u128 + 1).expect("at least 1");
        let order = Order { from: &from, to: &to, amount, hold_ms: None, memo: "", metadata: "" };
        assert!(encoder.push(&key(at), &order), "8,000 short items fit a frame");
    }
    encoder.finish()
}

fn record() -> Record<'static> {
    Record {
        position: Position { epoch: 1, index: 1 },
        stamp: Stamp::from_micros(1_700_000_000_000_000),
        principal: "principal",
        key: "key",
        fingerprint: Fingerprint::from_bytes([0; 16]),
        waited_us: 0,
        body: Body::Barred,
    }
}

fn moved(transfer: TransferId) -> Moved<'static> {
    let after = |balance| After { balance, held: 0, version: 9, previous: 8 };
    Moved {
        event: Event::Posted,
        transfer,
        created: Stamp::from_micros(1_700_000_000_123_456),
        from: "customer-001234",
        to: "customer-004321",
        unit: "EUR",
        amount: 1,
        hold_until: None,
        reverses: None,
        reversed_total: 0,
        memo: "",
        metadata: "",
        from_after: after(-1_234_567),
        to_after: after(7_654_321),
    }
}
