//! What an event costs: `cargo run --release -p tertium-machine --example topic_cost`.
//!
//! Published, looked at for a subscription, and reported as delivered, with the archive in memory, so that what is measured
//! is the machine. Each line is printed with what it was measured over.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::time::Instant;

use tertium_machine::{
    Applied, Archive, AttemptEnd, DeliveryWindow, EntryEncoder, Machine, MemoryArchive, Message, MessagesEncoder, Op,
    Reports, Settings, Start, Texts, TopicOp, encode_head,
};
use words::{CellName, Position, Stamp};

const EVENTS: u64 = 500_000;
const TOGETHER: u64 = 100;
const KEYS: u64 = 1_000;

struct Bench {
    machine: Machine,
    archive: MemoryArchive,
    applied: Applied,
    index: u64,
}

impl Bench {
    fn new() -> Self {
        let cell = CellName::new("main").expect("it is a name");
        let machine = Machine::new(&cell, 7);
        Self { machine, archive: MemoryArchive::default(), applied: Applied::default(), index: 0 }
    }

    fn apply(&mut self, key: &str, op: &Op<'_>) {
        self.index += 1;
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::MAX, "", key);
        op.encode(&mut command);
        let mut encoder = EntryEncoder::default();
        encoder.push(&command);
        let entry = encoder.finish(Stamp::from_micros(1_767_225_600_000_000 + self.index * 1_000));
        let position = Position { epoch: 1, index: self.index };
        self.machine
            .apply(position, &entry, &mut self.archive, &mut self.applied)
            .expect("what was encoded can be applied");
    }

    fn publish(&mut self) {
        let keys: Vec<String> = (0..KEYS).map(|n| format!("order-{n}")).collect();
        for command in 0..EVENTS / TOGETHER {
            let mut messages = MessagesEncoder::default();
            for n in 0..TOGETHER {
                let key = &keys[((command * TOGETHER + n) % KEYS) as usize];
                let data = "{\"amount\":1299,\"currency\":\"GBP\",\"lines\":[1,2,3]}";
                messages.push(&Message { kind: "shop.order.paid", key, subject: key, data, ..Message::default() });
            }
            let op = Op::Topic(TopicOp::Publish { topic: "orders", messages: messages.messages() });
            self.apply(&format!("publish-{command}"), &op);
        }
    }

    /// Delivers everything that the subscription of that name wants; gives how many events that were.
    fn deliver(&mut self, name: &str) -> u64 {
        let number = self.machine.subscription(name).expect("it was made").number;
        let mut window = DeliveryWindow::new(number, 256);
        let mut delivered = 0;
        loop {
            let ask = window.ask();
            let todo = self.machine.next_deliveries(&self.archive, number, ask.from, ask.limit);
            let todo = todo.expect("the archive is in memory").expect("it is active");
            let is_read = todo.scanned == self.machine.next_ordinal();
            window.take(ask, todo);
            while let Some(delivery) = window.start(true) {
                window.finish(delivery.generation, delivery.event.offset, AttemptEnd::Done);
                delivered += 1;
            }
            let mut report = Vec::new();
            if window.report(&mut report) {
                self.apply("", &Op::Topic(TopicOp::Delivered(Reports::new(&report))));
                window.confirm(true);
            }
            if is_read && window.is_idle() {
                return delivered;
            }
        }
    }
}

fn measured(what: &str, count: u64, run: impl FnOnce()) {
    let began = Instant::now();
    run();
    println!("{what}: {:.0} ns each, over {count}", began.elapsed().as_nanos() as f64 / count as f64);
}

fn main() {
    let mut bench = Bench::new();
    let (mut topics, mut wanted, mut unwanted) = (Vec::new(), Vec::new(), Vec::new());
    Texts::push(&mut topics, "orders");
    Texts::push(&mut wanted, "shop.order.");
    Texts::push(&mut unwanted, "bank.");
    for (name, prefixes) in [("all", &wanted), ("none", &unwanted)] {
        let settings = Settings {
            topics: Texts::new(&topics),
            prefixes: Texts::new(prefixes),
            url: "https://receiver.example/",
            secrets: Texts::NONE,
            pause_after_ms: 60_000,
            paused: false,
        };
        let start = Some(Start::Beginning);
        bench.apply(name, &Op::Topic(TopicOp::Subscribe { name, settings, start }));
    }
    let (before, started) = (bench.archive.next_ordinal(), Instant::now());
    bench.publish();
    let (records, took) = (bench.archive.next_ordinal() - before, started.elapsed());
    println!("published: {:.0} ns each, over {EVENTS}, {records} records", took.as_nanos() as f64 / EVENTS as f64);
    let mut snapshot = Vec::new();
    bench.machine.begin_snapshot();
    while !bench.machine.snapshot_chunk(usize::MAX, &mut snapshot) {}
    println!("kept in memory for it: {:.2} bytes each, as a snapshot has them", snapshot.len() as f64 / EVENTS as f64);
    measured("read by pages of 100", EVENTS, || {
        let mut from = 0;
        loop {
            let page = bench.machine.topic_page(&bench.archive, "orders", from, 100);
            let page = page.expect("the archive is in memory").expect("it was published in");
            from = page.next;
            if page.is_end {
                break;
            }
        }
    });
    measured("looked at and delivered", EVENTS, || assert_eq!(bench.deliver("all"), EVENTS));
    measured("looked at and not wanted", EVENTS, || assert_eq!(bench.deliver("none"), 0));
}
