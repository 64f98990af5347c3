//! The cell with its threads, on a real disk.

use std::path::Path;
use std::sync::mpsc::channel;

use cell::{
    CellHandle, Found, Level, OpenLog, Options, Part, Query, Read, ReadError, Rejected, Reply, Stopper, Write, start,
};
use log::{Log, LogError};
use log_file::{LogFile, LogOptions};
use machine::{BatchEncoder, BatchMode, Body, Code, Op, OpenAccount, Order, encode_head};
use tertium_cell as cell;
use words::{Amount, Position, Stamp};

const SECOND_US: u64 = 1_000_000;

fn open(data: &Path, options: Options) -> (CellHandle, Stopper) {
    start(data, options, open_log, Box::new(|_| {}), &mut |_| {}).expect("the cell starts")
}

fn open_log(open: OpenLog) -> Result<Box<dyn Log>, LogError> {
    let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
    let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
    LogFile::open(disk, options).map(|(log, _)| Box::new(log) as Box<dyn Log>)
}

fn command(key: &str, op: &Op<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_head(&mut bytes, Stamp::ZERO, "p", key);
    op.encode(&mut bytes);
    bytes
}

fn write(cell: &CellHandle, command: Vec<u8>) -> Reply {
    let (reply, answer) = channel();
    let deadline_us = cell.now_us() + 10 * SECOND_US;
    cell.write(Write { command, deadline_us, waits_for_end: true }, move |r| reply.send(r).expect("the test waits"));
    answer.recv().expect("the cell answers")
}

fn read(cell: &CellHandle, query: Query, level: Level) -> Result<Found, ReadError> {
    let (reply, answer) = channel();
    let deadline_us = cell.now_us() + SECOND_US / 10;
    cell.read(Read { level, deadline_us, query }, move |r| reply.send(r).expect("the test waits"));
    answer.recv().expect("the cell answers").found
}

fn balance(cell: &CellHandle, id: &str, level: Level) -> Result<i128, ReadError> {
    match read(cell, Query::Account { id: id.to_owned() }, level)? {
        Found::Account(account) => Ok(account.balance),
        other => panic!("not an account: {other:?}"),
    }
}

fn open_account(cell: &CellHandle, id: &str, floor: Option<i128>) -> Reply {
    let op = Op::OpenAccount(OpenAccount { id, unit: "GBP", floor, metadata: "" });
    write(cell, command(&format!("open-{id}"), &op))
}

fn order<'a>(from: &'a str, to: &'a str, amount: u128) -> Order<'a> {
    Order { from, to, amount: Amount::new(amount).expect("an amount"), hold_ms: None, memo: "", metadata: "" }
}

fn position_of(reply: &Reply) -> Position {
    match reply {
        Reply::Decided(decided) => decided.position,
        other => panic!("not decided: {other:?}"),
    }
}

fn code_of(reply: &Reply) -> Option<Code> {
    let Reply::Decided(decided) = reply else { panic!("not decided: {reply:?}") };
    let part = decided.answer.first().expect("an answer has a part");
    match (part.record().expect("a whole record"), part) {
        (Some(record), _) => match record.body {
            Body::Refused(refusal) => Some(refusal.code),
            _ => None,
        },
        (None, Part::Refused(refusal)) => Some(refusal.code),
        (None, part) => panic!("neither: {part:?}"),
    }
}

#[test]
fn what_was_decided_is_there_after_a_restart_and_replays_byte_for_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cell, stopper) = open(dir.path(), Options::default());
    open_account(&cell, "world", None);
    open_account(&cell, "alice", Some(0));
    let first = write(&cell, command("t1", &Op::Transfer(order("world", "alice", 500))));
    let again = write(&cell, command("t1", &Op::Transfer(order("world", "alice", 500))));
    let other = write(&cell, command("t1", &Op::Transfer(order("world", "alice", 501))));
    assert_eq!(code_of(&other), Some(Code::KeyReused));
    let before = position_of(&first);
    write(&cell, command("t2", &Op::Transfer(order("alice", "world", 200))));
    stopper.stop();

    let (cell, stopper) = open(dir.path(), Options::default());
    let after_restart = write(&cell, command("t1", &Op::Transfer(order("world", "alice", 500))));
    for replay in [&again, &after_restart] {
        let (Reply::Decided(first), Reply::Decided(replay)) = (&first, replay) else { panic!("not decided") };
        assert!(replay.replayed && !first.replayed);
        assert_eq!(first.position, replay.position);
        let bytes = |answer: &cell::Answer| match answer.first() {
            Some(Part::Record { bytes, .. }) => bytes.to_vec(),
            other => panic!("not a record: {other:?}"),
        };
        assert_eq!(bytes(&first.answer), bytes(&replay.answer));
    }
    assert_eq!(balance(&cell, "alice", Level::Linearizable), Ok(300));
    assert_eq!(balance(&cell, "alice", Level::At(before)), Ok(500));
    assert_eq!(balance(&cell, "world", Level::At(before)), Ok(-500));
    let opening = Position { epoch: 1, index: 1 };
    assert_eq!(balance(&cell, "alice", Level::At(opening)), Err(ReadError::AccountNotFound));
    stopper.stop();
}

#[test]
fn a_session_from_the_future_is_waited_for_and_then_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cell, stopper) = open(dir.path(), Options::default());
    open_account(&cell, "alice", None);
    let ahead = Position { epoch: 1, index: cell.status().position.index + 1 };
    assert!(matches!(balance(&cell, "alice", Level::Session(ahead)), Err(ReadError::Unavailable { .. })));
    stopper.stop();
}

#[test]
fn a_hold_expires_by_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cell, stopper) = open(dir.path(), Options::default());
    open_account(&cell, "world", None);
    open_account(&cell, "alice", Some(0));
    let held = Order { hold_ms: Some(30), ..order("world", "alice", 5) };
    let held_at = position_of(&write(&cell, command("h", &Op::Transfer(held))));
    assert_eq!(read_held(&cell, Level::At(held_at)), Ok(5));
    let next = Position { index: held_at.index + 1, ..held_at };
    // Nothing else happens: the entry that is waited for is the expiry's own.
    assert_eq!(read_held(&cell, Level::Session(next)), Ok(0));
    assert_eq!(cell.status().holds, 0);
    stopper.stop();
}

fn read_held(cell: &CellHandle, level: Level) -> Result<i128, ReadError> {
    let (reply, answer) = channel();
    let deadline_us = cell.now_us() + 10 * SECOND_US;
    let query = Query::Account { id: "world".to_owned() };
    let read = Read { level, deadline_us, query };
    cell.read(read, move |r| reply.send(r).expect("the test waits"));
    match answer.recv().expect("the cell answers").found? {
        Found::Account(account) => Ok(account.held),
        other => panic!("not an account: {other:?}"),
    }
}

#[test]
fn checkpoints_segments_and_history_carry_across_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        log_retention_bytes: 0,
        memtable_records_max: 200,
        checkpoint_chunk_items: 1,
        ..Options::default()
    };
    let (mut cell, mut stopper) = open(dir.path(), options.clone());
    open_account(&cell, "world", None);
    open_account(&cell, "alice", Some(0));
    let mut positions = vec![];
    for round in 0..5u32 {
        for n in 0..40u32 {
            let mut items = BatchEncoder::new(10);
            for item in 0..10u32 {
                items.push(&format!("k-{round}-{n}-{item}"), &order("world", "alice", 1));
            }
            let mut bytes = Vec::new();
            encode_head(&mut bytes, Stamp::ZERO, "p", &format!("b-{round}-{n}"));
            items.finish(BatchMode::Each, &mut bytes);
            positions.push(position_of(&write(&cell, bytes)));
        }
        stopper.stop();
        (cell, stopper) = open(dir.path(), options.clone());
    }
    assert!(cell.status().checkpoint > 0, "checkpoints were made: {:?}", cell.status());
    for (n, position) in positions.iter().enumerate() {
        assert_eq!(balance(&cell, "alice", Level::At(*position)), Ok((n as i128 + 1) * 10), "at {position}");
    }
    let history = |before| {
        let query = Query::History { id: "alice".to_owned(), before, from: None, to: None, limit: 300 };
        match read(&cell, query, Level::Linearizable) {
            Ok(Found::History(history)) => history.finish().expect("the segments are whole"),
            other => panic!("not a history: {other:?}"),
        }
    };
    let (mut before, mut lines, mut expected) = (None, 0, 2_000i128);
    loop {
        let page = history(before);
        for part in page.records.parts() {
            if let Some(Body::Moved(moved)) = part.record().expect("a record").map(|record| record.body) {
                assert_eq!(moved.to_after.balance, expected);
                expected -= 1;
            }
            lines += 1;
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(lines, 2_001, "2,000 transfers and the opening");
    stopper.stop();
}

#[test]
fn a_stopping_cell_turns_writes_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cell, stopper) = open(dir.path(), Options::default());
    let (reply, answer) = channel();
    let handle = cell.clone();
    stopper.stop();
    handle.write(Write { command: command("k", &Op::Settle), deadline_us: u64::MAX, waits_for_end: true }, move |r| {
        reply.send(r).expect("the test waits");
    });
    assert_eq!(answer.recv(), Ok(Reply::Rejected(Rejected::Stopping)));
}

#[test]
fn a_late_deadline_is_refused_before_anything_is_appended() {
    let dir = tempfile::tempdir().expect("a directory");
    let (cell, stopper) = open(dir.path(), Options::default());
    let before = cell.status().position;
    let (reply, answer) = channel();
    let op = Op::OpenAccount(OpenAccount { id: "a", unit: "GBP", floor: None, metadata: "" });
    cell.write(Write { command: command("k", &op), deadline_us: 0, waits_for_end: true }, move |r| {
        reply.send(r).expect("the test waits")
    });
    assert_eq!(answer.recv().expect("an answer"), Reply::Rejected(Rejected::DeadlineExceeded));
    assert_eq!(cell.status().position, before);
    stopper.stop();
}
