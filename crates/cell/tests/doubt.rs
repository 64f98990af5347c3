//! A leader whose log loses answers: nothing is lost, doubled or guessed, and it goes on by itself.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cell::{CellHandle, Found, Level, Options, Part, Query, Read, ReadError, Rejected, Reply, Stopper, Write, start};
use log::{Append, Capabilities, Durability, Log, LogError, Rejected as LogRejected, Stored};
use machine::{Op, OpenAccount, Order, encode_head};
use tempfile::TempDir;
use tertium_cell as cell;
use words::{Amount, Position, Stamp};

const SECOND_US: u64 = 1_000_000;

/// What becomes of the answer to an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Answered,
    /// The entry is in the log, and nobody is told.
    Done,
    /// It is not, and never will be.
    NotDone,
    /// It is on its way, and arrives before the next append.
    Late,
    /// It is on its way, and arrives after the next append.
    TooLate,
}

/// What outlives the process: a log that takes an entry only behind the tail it names.
#[derive(Default)]
struct Storage {
    entries: Vec<Stored>,
    /// Moods of the appends to come; answered when there are none.
    moods: Vec<Mood>,
    /// How many times the tail cannot be asked for.
    deaf: u32,
    /// Whoever asks for the tail waits for somebody twice.
    hangs: Option<Arc<Barrier>>,
    late: Option<(Mood, Position, u64, Vec<u8>)>,
}

impl Storage {
    fn tail(&self) -> Position {
        self.entries.last().map_or(Position::START, |stored| stored.position)
    }

    fn put(&mut self, after: Position, epoch: u64, entry: &[u8]) -> bool {
        let fits = self.tail() == after && epoch >= after.epoch;
        if fits {
            let position = Position { epoch, index: after.index + 1 };
            self.entries.push(Stored { position, entry: entry.to_vec(), digest: 0 });
        }
        fits
    }

    fn arrive(&mut self, mood: Mood) {
        if let Some((_, after, epoch, entry)) = self.late.take_if(|late| late.0 == mood) {
            self.put(after, epoch, &entry);
        }
    }
}

#[derive(Clone, Default)]
struct Moody(Arc<Mutex<Storage>>);

impl Moody {
    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.0.lock().expect("no test panicked with it")
    }

    /// The next appends end so, and the tail cannot be asked for so often.
    fn lose(&self, moods: &[Mood], deaf: u32) {
        let mut storage = self.storage();
        storage.moods = moods.iter().rev().copied().collect();
        storage.deaf = deaf;
    }
}

fn no_answer() -> LogError {
    LogError::io("asking the log", io::ErrorKind::TimedOut.into())
}

impl Log for Moody {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        let mut storage = self.storage();
        storage.arrive(Mood::Late);
        let mood = storage.moods.pop().unwrap_or(Mood::Answered);
        let put = match mood {
            Mood::Answered | Mood::Done => storage.put(after, epoch, entry),
            Mood::NotDone => false,
            Mood::Late | Mood::TooLate => {
                storage.late = Some((mood, after, epoch, entry.to_vec()));
                return Append::Unknown(no_answer());
            }
        };
        storage.arrive(Mood::TooLate);
        match (mood, put) {
            (Mood::Answered, true) => Append::Ok(Position { epoch, index: after.index + 1 }),
            (Mood::Answered, false) => Append::Conflict { tail: storage.tail() },
            _ => Append::Unknown(no_answer()),
        }
    }

    fn read(&mut self, from: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        // One at a time: a reader goes on where the last portion ended.
        Ok(self.storage().entries.iter().skip(from as usize - 1).take(1).cloned().collect())
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        let hangs = self.storage().hangs.take();
        if let Some(barrier) = hangs {
            barrier.wait();
            barrier.wait();
        }
        let mut storage = self.storage();
        match storage.deaf.checked_sub(1) {
            Some(left) => {
                storage.deaf = left;
                Err(no_answer())
            }
            None => Ok(storage.tail()),
        }
    }

    fn trim(&mut self, _: u64) -> Result<(), LogError> {
        Ok(())
    }

    fn first(&self) -> u64 {
        1
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        self.tail()
    }

    fn capabilities(&self) -> Capabilities {
        let durability = Durability::OneNode;
        Capabilities { conditional: true, dense: true, durability, entry_bytes_max: 1 << 20, shared: true }
    }

    fn has_room(&mut self) -> Result<(), LogRejected> {
        Ok(())
    }
}

fn open(data: &Path, log: &Moody) -> (CellHandle, Stopper) {
    let log = log.clone();
    let open_log = move |_| Ok(Box::new(log) as Box<dyn Log>);
    start(data, Options::default(), open_log, Box::new(|_| {}), &mut |_| {}).expect("the cell starts")
}

/// A cell with two accounts, on a log that answers.
fn with_accounts() -> (TempDir, Moody, CellHandle, Stopper) {
    let (dir, log) = (tempfile::tempdir().expect("a directory"), Moody::default());
    let (cell, stopper) = open(dir.path(), &log);
    for (id, floor) in [("world", None), ("alice", Some(0))] {
        let op = Op::OpenAccount(OpenAccount { id, unit: "GBP", floor, metadata: "" });
        let reply = submit(&cell, id, &op, 10 * SECOND_US).recv().expect("an answer");
        assert!(matches!(reply, Reply::Decided(_)), "{reply:?}");
    }
    (dir, log, cell, stopper)
}

fn submit(cell: &CellHandle, key: &str, op: &Op<'_>, patience_us: u64) -> Receiver<Reply> {
    let mut command = Vec::new();
    encode_head(&mut command, Stamp::ZERO, "p", key);
    op.encode(&mut command);
    let (reply, answer) = channel();
    let deadline_us = cell.now_us() + patience_us;
    cell.write(Write { command, deadline_us, waits_for_end: true }, move |r| drop(reply.send(r)));
    answer
}

fn transfer(amount: u128) -> Op<'static> {
    let amount = Amount::new(amount).expect("an amount");
    Op::Transfer(Order { from: "world", to: "alice", amount, hold_ms: None, memo: "", metadata: "" })
}

fn read(cell: &CellHandle, query: Query, level: Level, patience_us: u64) -> (Result<Found, ReadError>, u64) {
    let (reply, answer) = channel();
    let deadline_us = cell.now_us() + patience_us;
    cell.read(Read { level, deadline_us, query }, move |r| drop(reply.send(r)));
    let reply = answer.recv().expect("an answer");
    (reply.found, reply.staleness_ms)
}

fn balance(cell: &CellHandle, level: Level, patience_us: u64) -> (Result<i128, ReadError>, u64) {
    let (found, staleness_ms) = read(cell, Query::Account { id: "alice".to_owned() }, level, patience_us);
    let balance = found.map(|found| match found {
        Found::Account(account) => account.balance,
        other => panic!("not an account: {other:?}"),
    });
    (balance, staleness_ms)
}

fn is_committed(reply: &Reply) -> bool {
    let Reply::Decided(decided) = reply else { return false };
    matches!(decided.answer.first(), Some(Part::Record { .. }))
}

#[test]
fn whatever_the_log_does_with_an_answer_the_caller_has_the_true_one() {
    for (moods, deaf, committed) in [
        (vec![Mood::Done], 0, true),
        (vec![Mood::NotDone], 0, false),
        (vec![Mood::Late], 0, true),
        // The claim stands in its place.
        (vec![Mood::TooLate], 0, false),
        (vec![Mood::NotDone], 3, false),
        // The claims' answers are lost, too.
        (vec![Mood::Done, Mood::Done], 1, true),
        (vec![Mood::NotDone, Mood::NotDone, Mood::Done], 0, false),
        (vec![Mood::NotDone, Mood::Late], 0, false),
        (vec![Mood::Done, Mood::TooLate], 2, true),
    ] {
        let (dir, log, cell, stopper) = with_accounts();
        log.lose(&moods, deaf);
        let reply = submit(&cell, "t", &transfer(5), 60 * SECOND_US).recv().expect("an answer");
        let expected =
            if committed { is_committed(&reply) } else { reply == Reply::Rejected(Rejected::LogUnavailable) };
        assert!(expected, "{moods:?}: {reply:?}");
        let (found, staleness_ms) = balance(&cell, Level::Linearizable, 60 * SECOND_US);
        assert_eq!((found, staleness_ms), (Ok(if committed { 5 } else { 0 }), 0), "{moods:?}");
        // It goes on: the same key has one effect.
        let again = submit(&cell, "t", &transfer(5), 60 * SECOND_US).recv().expect("an answer");
        assert!(is_committed(&again), "{moods:?}: {again:?}");
        assert_eq!(balance(&cell, Level::Linearizable, 60 * SECOND_US).0, Ok(5), "{moods:?}");
        stopper.stop();
        let (cell, stopper) = open(dir.path(), &log);
        assert_eq!(balance(&cell, Level::Linearizable, 60 * SECOND_US).0, Ok(5), "{moods:?}: after a restart");
        stopper.stop();
    }
}

#[test]
fn while_the_log_does_not_answer_nobody_is_told_more_than_is_known() {
    let (_dir, log, cell, stopper) = with_accounts();
    log.lose(&[Mood::Done], u32::MAX);
    let doubted = submit(&cell, "doubted", &transfer(5), SECOND_US / 5).recv().expect("an answer");
    assert_eq!(doubted, Reply::Uncertain);
    assert!(!cell.status().writable, "{:?}", cell.status());
    let queued = submit(&cell, "queued", &transfer(7), SECOND_US / 10).recv().expect("an answer");
    assert_eq!(queued, Reply::Rejected(Rejected::DeadlineExceeded), "it was never given to the log");
    let (found, _) = balance(&cell, Level::Linearizable, SECOND_US / 10);
    assert!(matches!(found, Err(ReadError::Unavailable { .. })), "{found:?}");
    let (found, staleness_ms) = balance(&cell, Level::Eventual, SECOND_US / 10);
    assert_eq!(found, Ok(0));
    assert!(staleness_ms >= 400, "it grows with the time that the log does not answer: {staleness_ms}");
    log.storage().deaf = 0;
    let (found, staleness_ms) = balance(&cell, Level::Linearizable, 60 * SECOND_US);
    assert_eq!((found, staleness_ms), (Ok(5), 0), "what was found in the log happened");
    stopper.stop();
}

#[test]
fn whoever_writes_has_an_answer_by_the_deadline_though_the_log_hangs() {
    let (_dir, log, cell, stopper) = with_accounts();
    let barrier = Arc::new(Barrier::new(2));
    log.storage().hangs = Some(Arc::clone(&barrier));
    let (reply, proven) = channel();
    let query = Query::Account { id: "alice".to_owned() };
    let deadline_us = cell.now_us() + 60 * SECOND_US;
    cell.read(Read { level: Level::Linearizable, deadline_us, query }, move |r| drop(reply.send(r)));
    barrier.wait();
    let written = submit(&cell, "t", &transfer(5), SECOND_US / 10).recv_timeout(Duration::from_secs(30));
    assert_eq!(written, Ok(Reply::Uncertain), "it waits for its turn at the log");
    barrier.wait();
    assert!(proven.recv().expect("an answer").found.is_ok());
    assert_eq!(balance(&cell, Level::Linearizable, 60 * SECOND_US).0, Ok(5), "and then had it");
    stopper.stop();
}

#[test]
fn a_server_that_is_stopped_in_doubt_ends_and_says_what_it_knows() {
    let (dir, log, cell, stopper) = with_accounts();
    log.lose(&[Mood::Done], u32::MAX);
    let doubted = submit(&cell, "doubted", &transfer(5), 60 * SECOND_US);
    let began = Instant::now();
    while cell.status().reason != "the log does not answer" {
        assert!(began.elapsed() < Duration::from_secs(60), "it is in doubt: {:?}", cell.status());
        std::thread::yield_now();
    }
    stopper.stop();
    assert_eq!(doubted.recv().expect("an answer"), Reply::Uncertain);
    log.storage().deaf = 0;
    let (cell, stopper) = open(dir.path(), &log);
    assert_eq!(balance(&cell, Level::Linearizable, 60 * SECOND_US).0, Ok(5));
    stopper.stop();
}

#[test]
fn many_clients_of_a_log_that_often_loses_answers_lose_nothing() {
    let (dir, log, cell, stopper) = with_accounts();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut outcomes = HashMap::new();
    for round in 0..60 {
        {
            let mut storage = log.storage();
            let moods = [Mood::Answered, Mood::Answered, Mood::Done, Mood::NotDone, Mood::Late, Mood::TooLate];
            storage.moods = (0..draw(4)).map(|_| moods[draw(6) as usize]).collect();
        }
        let asked: Vec<_> = (0..1 + draw(4))
            .map(|client| {
                let key = format!("{round}-{client}");
                let reply = submit(&cell, &key, &transfer(1), 60 * SECOND_US);
                (key, reply)
            })
            .collect();
        for (key, reply) in asked {
            outcomes.insert(key, reply.recv().expect("an answer"));
        }
    }
    stopper.stop();
    log.storage().moods.clear();
    let (cell, stopper) = open(dir.path(), &log);
    let mut committed = 0;
    for (key, reply) in &outcomes {
        let query = Query::Operation { principal: "p".to_owned(), key: key.clone(), wait_until_us: None };
        let (found, _) = read(&cell, query, Level::Linearizable, 60 * SECOND_US);
        match (reply, &found) {
            (Reply::Decided(_), Ok(Found::Operation(_))) => committed += 1,
            (Reply::Rejected(Rejected::LogUnavailable), Err(ReadError::OperationUnknown)) => {}
            other => panic!("{key}: {other:?}"),
        }
    }
    assert!((1..outcomes.len()).contains(&committed), "both happened: {committed} of {}", outcomes.len());
    assert_eq!(balance(&cell, Level::Linearizable, 60 * SECOND_US).0, Ok(committed as i128));
    stopper.stop();
}
