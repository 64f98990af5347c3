//! The conformance kit: what every engine of the contract must do, run by each engine's own tests.
//!
//! Each case gets a fresh, empty log. The kit panics with the case's name where the contract is broken.

use crate::{Append, Log, LogError, Rejected, Stored};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use words::Position;

/// One storage that the kit opens logs on.
pub trait Harness {
    /// Opens the log on this storage: empty at first, later with what is durable.
    fn open(&mut self) -> Box<dyn Log>;

    /// The process that has the log dies at once and the power goes, as far as this storage can play that.
    fn crash(&mut self, log: Box<dyn Log>);
}

type Case = (&'static str, fn(&mut dyn Harness));

const CASES: &[Case] = &[
    ("an empty log", empty),
    ("entries come back in order, across restarts", round_trip),
    ("a wrong belief of the tail changes nothing", conflicts),
    ("epochs never go down", epochs),
    ("sizes from nothing to the largest", sizes),
    ("reading in portions", portions),
    ("reading outside", outside),
    ("what was acknowledged survives a crash", survives_crashes),
    ("digests depend on the whole history and on nothing else", digests),
    ("trim keeps what it must", trim),
    ("a sealed log stays sealed", seal),
];

/// Runs every case on a storage of its own.
///
/// # Panics
/// Where the contract is broken, with the case's name on standard error.
pub fn conformance(make: impl Fn() -> Box<dyn Harness>) {
    for (name, case) in CASES {
        let run = || case(make().as_mut());
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("conformance: `{name}` failed");
            resume_unwind(panic);
        }
    }
}

/// The position, where the append was done.
///
/// # Panics
/// Where it was not.
#[track_caller]
pub fn done(append: Append) -> Position {
    match append {
        Append::Ok(position) => position,
        other => panic!("the append should be done: {other:?}"),
    }
}

/// Reads the whole log, in portions.
///
/// # Panics
/// Where reading fails or leaves a gap.
#[track_caller]
pub fn read_all(log: &mut dyn Log) -> Vec<Stored> {
    let (mut all, mut next) = (Vec::new(), log.first());
    loop {
        let portion = log.read(next, 1000).expect("what is durable is readable");
        if portion.is_empty() {
            assert_eq!(next, log.tail().expect("tail").index + 1, "reading ends at the tail");
            return all;
        }
        for stored in portion {
            assert_eq!(stored.position.index, next, "indexes are dense");
            next += 1;
            all.push(stored);
        }
    }
}

/// An entry of that many bytes that no other number's equals.
fn entry(number: u64, bytes: usize) -> Vec<u8> {
    let mut entry = vec![(number % 251) as u8; bytes];
    let head = number.to_le_bytes();
    let shared = bytes.min(head.len());
    entry[..shared].copy_from_slice(&head[..shared]);
    entry
}

/// Appends `count` entries in one epoch and returns them.
#[track_caller]
fn fill(log: &mut dyn Log, epoch: u64, count: u64, bytes: usize) -> Vec<(Position, Vec<u8>)> {
    let mut tail = log.tail().expect("tail");
    let append = |_| {
        let entry = entry(tail.index + 1, bytes);
        let position = done(log.append(tail, epoch, &entry));
        assert_eq!(position, Position { epoch, index: tail.index + 1 });
        tail = position;
        (position, entry)
    };
    (0..count).map(append).collect()
}

#[track_caller]
fn check(log: &mut dyn Log, expected: &[(Position, Vec<u8>)]) {
    let found: Vec<_> = read_all(log).into_iter().map(|stored| (stored.position, stored.entry)).collect();
    let from = found.first().map_or(0, |(first, _)| expected.iter().take_while(|(p, _)| p < first).count());
    assert_eq!(found, expected[from..]);
    let tail = expected.last().map_or(Position::START, |(position, _)| *position);
    assert_eq!(log.tail().expect("tail"), tail);
}

fn empty(harness: &mut dyn Harness) {
    for _ in 0..2 {
        let mut log = harness.open();
        assert_eq!((log.tail().expect("tail"), log.first()), (Position::START, 1));
        assert_eq!(log.read(1, 100).expect("nothing"), []);
        log.has_room().expect("room");
        harness.crash(log);
    }
}

fn round_trip(harness: &mut dyn Harness) {
    let mut expected = Vec::new();
    for round in 0..4 {
        let mut log = harness.open();
        check(log.as_mut(), &expected);
        expected.extend(fill(log.as_mut(), 1 + round / 2, 50, 100));
        check(log.as_mut(), &expected);
        drop(log);
    }
    check(harness.open().as_mut(), &expected);
}

fn conflicts(harness: &mut dyn Harness) {
    let mut log = harness.open();
    if !log.capabilities().conditional {
        return;
    }
    let expected = fill(log.as_mut(), 3, 5, 10);
    let tail = expected[4].0;
    let wrong = [
        Position::START,
        expected[3].0,
        Position { epoch: 3, index: 6 },
        Position { epoch: 2, index: 5 },
        Position { epoch: 4, index: 5 },
    ];
    for after in wrong {
        match log.append(after, 9, b"wrong") {
            Append::Conflict { tail: told } => assert_eq!(told, tail, "after {after}"),
            other => panic!("after {after}: {other:?}"),
        }
    }
    check(log.as_mut(), &expected);
    harness.crash(log);
    check(harness.open().as_mut(), &expected);
}

fn epochs(harness: &mut dyn Harness) {
    let mut log = harness.open();
    let mut expected = fill(log.as_mut(), 2, 2, 10);
    expected.extend(fill(log.as_mut(), 7, 2, 10));
    let tail = expected[3].0;
    for epoch in [0, 6] {
        assert!(matches!(log.append(tail, epoch, b"zombie"), Append::Conflict { .. }), "epoch {epoch}");
    }
    drop(log);
    let mut log = harness.open();
    assert!(matches!(log.append(tail, 6, b"zombie"), Append::Conflict { .. }), "after a restart");
    expected.extend(fill(log.as_mut(), 7, 1, 10));
    check(log.as_mut(), &expected);
}

fn sizes(harness: &mut dyn Harness) {
    let mut log = harness.open();
    let max = log.capabilities().entry_bytes_max;
    let mut expected = Vec::new();
    for bytes in [0, 1, 7, 8, 9, 511, 512, 4095, 4096, 4097, 70_000, max - 1, max] {
        expected.extend(fill(log.as_mut(), 1, 1, bytes.min(max)));
    }
    let tail = expected.last().expect("appended").0;
    let too_large = vec![0; max + 1];
    match log.append(tail, 1, &too_large) {
        Append::Rejected(Rejected::TooLarge { max: told }) => assert_eq!(told, max),
        other => panic!("{other:?}"),
    }
    expected.extend(fill(log.as_mut(), 1, 1, 3));
    check(log.as_mut(), &expected);
    harness.crash(log);
    check(harness.open().as_mut(), &expected);
}

fn portions(harness: &mut dyn Harness) {
    let mut log = harness.open();
    fill(log.as_mut(), 1, 30, 100);
    for (from, max_bytes, count) in
        [(1, 1000, 10), (1, 0, 1), (7, 99, 1), (7, 100, 1), (7, 250, 2), (28, 10_000, 3), (31, 10, 0)]
    {
        let portion = log.read(from, max_bytes).expect("read");
        assert_eq!(portion.len(), count, "from {from}, {max_bytes} bytes");
        for (stored, index) in portion.iter().zip(from..) {
            assert_eq!((stored.position.index, &stored.entry), (index, &entry(index, 100)));
        }
    }
}

fn outside(harness: &mut dyn Harness) {
    let mut log = harness.open();
    fill(log.as_mut(), 1, 3, 100);
    assert!(matches!(log.read(5, 10), Err(LogError::Beyond { next: 4 })));
    assert!(matches!(log.read(u64::MAX, 10), Err(LogError::Beyond { next: 4 })));
    assert!(matches!(log.read(0, 10), Err(LogError::Trimmed { first: 1 })));
}

fn survives_crashes(harness: &mut dyn Harness) {
    let mut expected = Vec::new();
    for round in 0..12 {
        let mut log = harness.open();
        check(log.as_mut(), &expected);
        expected.extend(fill(log.as_mut(), 1 + round, 1 + round % 4, 600 * round as usize));
        harness.crash(log);
    }
    check(harness.open().as_mut(), &expected);
}

fn digests(harness: &mut dyn Harness) {
    let mut log = harness.open();
    fill(log.as_mut(), 1, 20, 64);
    let same = done(log.append(Position { epoch: 1, index: 20 }, 1, &entry(20, 64)));
    let before: Vec<u64> = read_all(log.as_mut()).iter().map(|stored| stored.digest).collect();
    let mut sorted = before.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len() as u64, same.index, "equal entries at two places have two digests");
    harness.crash(log);
    let mut log = harness.open();
    let after: Vec<u64> = read_all(log.as_mut()).iter().map(|stored| stored.digest).collect();
    assert_eq!(before, after, "digests are the same after a restart");
    let from_the_middle = log.read(15, 1).expect("read");
    assert_eq!(from_the_middle[0].digest, before[14], "and from wherever one reads");
}

fn trim(harness: &mut dyn Harness) {
    let mut log = harness.open();
    let mut expected = fill(log.as_mut(), 1, 200, 900);
    log.trim(120).expect("trim");
    assert!(log.first() <= 121, "what was not given up is readable");
    check(log.as_mut(), &expected);
    expected.extend(fill(log.as_mut(), 2, 100, 900));
    drop(log);
    let mut log = harness.open();
    assert!(log.first() <= 121);
    check(log.as_mut(), &expected);
    log.trim(u64::MAX).expect("trim");
    assert!(log.first() <= 300, "the newest entry never goes");
    expected.extend(fill(log.as_mut(), 2, 100, 900));
    check(log.as_mut(), &expected);
    harness.crash(log);
    check(harness.open().as_mut(), &expected);
}

fn seal(harness: &mut dyn Harness) {
    let mut log = harness.open();
    let expected = fill(log.as_mut(), 4, 3, 100);
    let tail = expected[2].0;
    for round in 0..3 {
        assert_eq!(log.seal().expect("seal"), tail, "round {round}");
        for epoch in [4, 5] {
            let refused = log.append(tail, epoch, b"late");
            assert!(matches!(refused, Append::Rejected(Rejected::Sealed)), "{refused:?}");
        }
        assert_eq!(log.has_room(), Err(Rejected::Sealed));
        check(log.as_mut(), &expected);
        harness.crash(log);
        log = harness.open();
        let refused = log.append(tail, 5, b"late");
        assert!(matches!(refused, Append::Rejected(Rejected::Sealed)), "after a restart: {refused:?}");
    }
}
