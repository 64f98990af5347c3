//! Nodes on one log: one leads, the others follow it, and whatever happens to the leader nothing is lost, doubled or read too old.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cell::{
    CellHandle, Found, Level, Options, Part, Promoted, Query, Read, ReadError, ReadReply, Rejected, Reply, Role,
    Stopper, Turns, Work, Write, start,
};
use log::{Append, Capabilities, Durability, Log, LogError, Rejected as LogRejected, Stored};
use machine::{Op, OpenAccount, Order, encode_head};
use tempfile::TempDir;
use tertium_cell as cell;
use words::{Amount, Position, Stamp};

const SECOND_US: u64 = 1_000_000;

/// Longer than any of it may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const TURNS: Turns = Turns { heartbeat_ms: 20, lease_ms: 100 };

/// A log in memory, which nodes that are cut off do not reach.
#[derive(Default)]
struct Storage {
    entries: Vec<Stored>,
    cut_off: HashSet<&'static str>,
    /// Of these nodes appends arrive and the answers are lost.
    deaf: HashSet<&'static str>,
    /// How often each node asked where the log ends.
    looks: HashMap<&'static str, u64>,
    /// Whose looks wait at the gate.
    gated: HashSet<&'static str>,
    /// How many looks came to the gate, and how many of these may pass.
    arrived: u64,
    let_through: u64,
}

#[derive(Clone)]
struct Shared {
    node: &'static str,
    storage: Arc<Mutex<Storage>>,
}

impl Shared {
    fn storage(&self) -> MutexGuard<'_, Storage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a look, and has it wait where it is to.
    fn look(&self) {
        let mut storage = self.storage();
        *storage.looks.entry(self.node).or_default() += 1;
        if !storage.gated.contains(self.node) {
            return;
        }
        storage.arrived += 1;
        let number = storage.arrived;
        while storage.gated.contains(self.node) && storage.let_through < number {
            drop(storage);
            std::thread::sleep(Duration::from_millis(1));
            storage = self.storage();
        }
    }

    /// Waits until so many looks came to the gate.
    fn wait_at_gate(&self, arrived: u64) {
        let began = Instant::now();
        while self.storage().arrived < arrived {
            assert!(began.elapsed() < PATIENCE, "look {arrived} comes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn reached(&self) -> Result<MutexGuard<'_, Storage>, LogError> {
        let storage = self.storage();
        if storage.cut_off.contains(self.node) {
            return Err(LogError::io("asking the log", io::ErrorKind::TimedOut.into()));
        }
        Ok(storage)
    }
}

impl Log for Shared {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        let mut storage = match self.reached() {
            Ok(storage) => storage,
            Err(error) => return Append::Unknown(error),
        };
        let tail = storage.entries.last().map_or(Position::START, |stored| stored.position);
        if tail != after || epoch < after.epoch {
            return Append::Conflict { tail };
        }
        let position = Position { epoch, index: after.index + 1 };
        storage.entries.push(Stored { position, entry: entry.to_vec(), digest: 0 });
        if storage.deaf.contains(self.node) {
            return Append::Unknown(LogError::io("asking the log", io::ErrorKind::TimedOut.into()));
        }
        Append::Ok(position)
    }

    fn read(&mut self, from: u64, _: usize) -> Result<Vec<Stored>, LogError> {
        let storage = self.reached()?;
        Ok(storage.entries.iter().skip(from as usize - 1).take(5).cloned().collect())
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        self.look();
        Ok(self.reached()?.entries.last().map_or(Position::START, |stored| stored.position))
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

/// A node, stopped when dropped.
struct Node {
    cell: CellHandle,
    log: Shared,
    work: Receiver<Work>,
    stopper: Option<Stopper>,
    _dir: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(stopper) = self.stopper.take() {
            stopper.stop();
        }
    }
}

impl Node {
    fn start(node: &'static str, storage: &Arc<Mutex<Storage>>) -> Self {
        let (dir, log) = (tempfile::tempdir().expect("a directory"), Shared { node, storage: Arc::clone(storage) });
        let options = Options { node: node.to_owned(), turns: Some(TURNS), ..Options::default() };
        let opened = log.clone();
        let open_log = move |_| Ok(Box::new(opened) as Box<dyn Log>);
        let (sender, work) = channel();
        // Whoever looks at the work may have gone.
        let outbox = Box::new(move |work| drop(sender.send(work)));
        let (cell, stopper) = start(dir.path(), options, open_log, outbox, &mut |_| {}).expect("it starts");
        Self { cell, log, work, stopper: Some(stopper), _dir: dir }
    }

    fn submit(&self, key: &str, op: &Op<'_>, patience_us: u64) -> Receiver<Reply> {
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::ZERO, "p", key);
        op.encode(&mut command);
        let (reply, answer) = channel();
        let deadline_us = self.cell.now_us() + patience_us;
        self.cell.write(Write { command, deadline_us, waits_for_end: true }, move |r| drop(reply.send(r)));
        answer
    }

    fn write(&self, key: &str, op: &Op<'_>) -> Reply {
        self.submit(key, op, 60 * SECOND_US).recv().expect("an answer")
    }

    fn ask(&self, level: Level, patience_us: u64) -> Receiver<ReadReply> {
        let (reply, answer) = channel();
        let query = Query::Account { id: "alice".to_owned() };
        let deadline_us = self.cell.now_us() + patience_us;
        self.cell.read(Read { level, deadline_us, query }, move |r| drop(reply.send(r)));
        answer
    }

    fn balance(&self, level: Level, patience_us: u64) -> (Result<i128, ReadError>, u64) {
        let reply = self.ask(level, patience_us).recv().expect("an answer");
        let found = reply.found.map(|found| match found {
            Found::Account(account) => account.balance,
            other => panic!("not an account: {other:?}"),
        });
        (found, reply.staleness_ms)
    }

    fn linearizable(&self) -> i128 {
        self.balance(Level::Linearizable, 60 * SECOND_US).0.expect("the log answers")
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_so: impl Fn(&cell::Status) -> bool) {
        let began = Instant::now();
        while !is_so(&self.cell.status()) {
            assert!(began.elapsed() < PATIENCE, "{}: {what}: {:?}", self.log.node, self.cell.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn wait_to_lead(&self) {
        self.wait_until("it leads", |status| status.role == Role::Leader && status.writable);
    }

    fn promote(&self, to: &str) -> Promoted {
        let (reply, answer) = channel();
        self.cell.promote(to, move |promoted| {
            // Whoever asked waits for it.
            let _ = reply.send(promoted);
        });
        answer.recv().expect("an answer")
    }
}

/// Nodes of which the first leads, with two accounts.
fn nodes<const N: usize>(names: [&'static str; N]) -> [Node; N] {
    let storage = Arc::default();
    let nodes = names.map(|name| Node::start(name, &storage));
    assert_eq!(nodes[0].promote(names[0]), Promoted::Asked);
    nodes[0].wait_to_lead();
    for (id, floor) in [("world", None), ("alice", Some(0))] {
        let op = Op::OpenAccount(OpenAccount { id, unit: "GBP", floor, metadata: "" });
        let reply = nodes[0].write(id, &op);
        assert!(matches!(reply, Reply::Decided(_)), "{reply:?}");
    }
    nodes
}

fn transfer(amount: u128) -> Op<'static> {
    let amount = Amount::new(amount).expect("an amount");
    Op::Transfer(Order { from: "world", to: "alice", amount, hold_ms: None, memo: "", metadata: "" })
}

fn is_committed(reply: &Reply) -> bool {
    let Reply::Decided(decided) = reply else { return false };
    matches!(decided.answer.first(), Some(Part::Record { .. }))
}

/// The same position has the same state everywhere.
#[track_caller]
fn check_same(nodes: &[&Node]) {
    let began = Instant::now();
    loop {
        let all: Vec<_> = nodes.iter().map(|node| node.cell.status()).collect();
        if all.iter().all(|status| status.position == all[0].position) {
            assert!(all.iter().all(|status| status.digest == all[0].digest), "{all:?}");
            return;
        }
        assert!(began.elapsed() < PATIENCE, "they come to the same position: {all:?}");
    }
}

#[test]
fn a_follower_reads_what_the_leader_acknowledged_and_takes_no_writes() {
    let [a, b, c] = nodes(["a", "b", "c"]);
    for round in 1..=50 {
        let reply = a.write(&format!("t{round}"), &transfer(1));
        let Reply::Decided(decided) = reply else { panic!("{reply:?}") };
        assert_eq!(b.linearizable(), round, "what was acknowledged before the read came");
        let (found, _) = c.balance(Level::Session(decided.seen), 60 * SECOND_US);
        assert_eq!(found, Ok(round), "what the client has seen");
    }
    assert_eq!(b.write("at-b", &transfer(1)), Reply::Rejected(Rejected::NotLeader));
    assert!(matches!(b.write("t1", &transfer(1)), Reply::Decided(d) if d.replayed), "what is decided is known here");
    let status = b.cell.status();
    assert_eq!((status.role, &*status.leader, status.epoch), (Role::Follower, "a", 1));
    check_same(&[&a, &b, &c]);
}

#[test]
fn what_a_cut_off_follower_shows_grows_old_and_it_says_so() {
    let [a, b] = nodes(["a", "b"]);
    assert_eq!(b.linearizable(), 0);
    b.log.storage().cut_off.insert("b");
    let cut_off = Instant::now();
    assert!(is_committed(&a.write("t", &transfer(5))));
    let written = Instant::now();
    let (found, _) = b.balance(Level::Linearizable, SECOND_US / 20);
    assert!(matches!(found, Err(ReadError::Unavailable { .. })), "{found:?}");
    let began = Instant::now();
    loop {
        let (found, staleness_ms) = b.balance(Level::Eventual, SECOND_US);
        let told = Duration::from_millis(staleness_ms);
        assert_eq!(found, Ok(0));
        assert!(
            told >= began.duration_since(written),
            "what was acknowledged before is not seen, and it says {told:?}"
        );
        if cut_off.elapsed() > Duration::from_millis(300) {
            break;
        }
    }
    let (found, _) = b.balance(Level::Bounded { ms: 100 }, SECOND_US / 20);
    assert!(matches!(found, Err(ReadError::Unavailable { .. })), "{found:?}");
    b.log.storage().cut_off.clear();
    assert_eq!(b.linearizable(), 5);
    assert_eq!(a.cell.status().role, Role::Leader, "who cannot see does not claim");
}

#[test]
fn a_silent_leader_is_replaced_and_follows_when_it_is_back() {
    let [a, b] = nodes(["a", "b"]);
    assert!(is_committed(&a.write("before", &transfer(5))));
    a.log.storage().cut_off.insert("a");
    let zombie = a.submit("zombie", &transfer(7), 60 * SECOND_US);
    b.wait_to_lead();
    assert!(is_committed(&b.write("after", &transfer(11))));
    a.log.storage().cut_off.clear();
    let told = zombie.recv().expect("an answer");
    assert!(matches!(told, Reply::Uncertain | Reply::Rejected(_)), "it acknowledges nothing: {told:?}");
    a.wait_until("it follows", |status| status.role == Role::Follower && &*status.leader == "b");
    assert_eq!(a.linearizable(), 16);
    assert_eq!(a.write("zombie", &transfer(7)), Reply::Rejected(Rejected::NotLeader));
    assert!(is_committed(&b.write("zombie", &transfer(7))), "it is new there");
    assert_eq!(a.linearizable(), 23);
    check_same(&[&a, &b]);
}

#[test]
fn an_append_whose_answer_is_lost_before_another_leads_is_found_by_its_key() {
    let [a, b] = nodes(["a", "b"]);
    a.log.storage().deaf.insert("a");
    let doubted = a.submit("doubted", &transfer(7), 60 * SECOND_US);
    a.wait_until("it is in doubt", |status| status.reason == "the log does not answer");
    a.log.storage().cut_off.insert("a");
    a.log.storage().deaf.clear();
    b.wait_to_lead();
    let again = b.write("doubted", &transfer(7));
    assert!(matches!(&again, Reply::Decided(decided) if decided.replayed), "{again:?}");
    a.log.storage().cut_off.clear();
    let told = doubted.recv().expect("an answer");
    assert!(told == Reply::Uncertain || is_committed(&told), "{told:?}");
    a.wait_until("it follows", |status| status.role == Role::Follower);
    assert_eq!(a.linearizable(), 7);
    check_same(&[&a, &b]);
}

#[test]
fn the_lead_is_handed_over_and_back_while_clients_write() {
    let nodes = nodes(["a", "b"]);
    let (mut leads, mut written) = (0, 0);
    for round in 0..20 {
        let follows = 1 - leads;
        let keys: Vec<_> = (0..4).map(|client| format!("{round}-{client}")).collect();
        let asked: Vec<_> = keys.iter().map(|key| nodes[leads].submit(key, &transfer(1), 60 * SECOND_US)).collect();
        let to = nodes[follows].log.node;
        assert_eq!(nodes[leads].promote(to), Promoted::Asked);
        nodes[follows].wait_to_lead();
        for (key, reply) in keys.iter().zip(asked) {
            let reply = reply.recv().expect("an answer");
            let is_refused = reply == Reply::Rejected(Rejected::NotLeader);
            assert!(is_refused || is_committed(&reply), "{key}: {reply:?}");
            // The same key has one effect, wherever it is sent.
            assert!(is_committed(&nodes[follows].write(key, &transfer(1))), "{key}");
            written += 1;
        }
        assert_eq!(nodes[leads].linearizable(), written);
        leads = follows;
    }
    assert_eq!(nodes[leads].promote(nodes[leads].log.node), Promoted::Leads);
    assert_eq!(nodes[1 - leads].promote("c"), Promoted::NotLeader);
    check_same(&[&nodes[0], &nodes[1]]);
}

#[test]
fn of_two_that_claim_at_once_the_log_takes_one() {
    let nodes = nodes(["a", "b", "c"]);
    let began = Instant::now();
    while nodes[0].cell.status().epoch < 20 {
        assert!(began.elapsed() < PATIENCE, "{:?}", nodes[0].cell.status());
        for node in &nodes {
            // Whoever leads says so, the others claim, once for each time that they are asked.
            node.promote(node.log.node);
        }
    }
    let mut claimed = HashSet::new();
    let entries = nodes[0].log.storage().entries.clone();
    for stored in entries {
        let entry = machine::Entry::decode(&stored.entry).expect("an entry");
        for command in entry.commands() {
            if let Op::Claim { epoch, .. } = command.expect("a command").op {
                assert!(claimed.insert(epoch) && epoch == stored.position.epoch, "each reign is claimed once");
            }
        }
    }
    assert!(claimed.len() >= 20);
    let began = Instant::now();
    while nodes.iter().filter(|node| node.cell.status().role == Role::Leader).count() != 1 {
        assert!(began.elapsed() < PATIENCE, "one leads");
    }
    check_same(&nodes.iter().collect::<Vec<_>>());
}

#[test]
fn a_leader_that_learns_late_that_it_was_replaced_looks_once_at_a_time() {
    let [a, b] = nodes(["a", "b"]);
    assert!(is_committed(&a.write("before", &transfer(5))));
    a.log.storage().gated.insert("a");
    let read = a.ask(Level::Linearizable, 60 * SECOND_US);
    a.log.wait_at_gate(1);
    // Its append is queued behind the look.
    let zombie = a.submit("zombie", &transfer(7), 60 * SECOND_US);
    assert_eq!(a.balance(Level::Eventual, SECOND_US).0, Ok(5));
    assert_eq!(b.promote("b"), Promoted::Asked);
    b.wait_to_lead();
    assert!(is_committed(&b.write("after", &transfer(11))));
    a.log.storage().let_through = 1;
    // It follows, and what became of its append is known while its first look is under way.
    a.log.wait_at_gate(2);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(50) {
        assert_eq!(a.balance(Level::Eventual, SECOND_US).0, Ok(5));
    }
    a.log.storage().gated.clear();
    let told = zombie.recv().expect("an answer");
    assert!(matches!(told, Reply::Uncertain | Reply::Rejected(Rejected::NotLeader)), "{told:?}");
    read.recv().expect("an answer").found.expect("it is proven by a look of the follower");
    assert_eq!(a.linearizable(), 16);
    assert!(a.work.try_iter().any(|work| work == Work::Abandon), "what it was performing is broken off");
    assert!(is_committed(&b.write("zombie", &transfer(7))), "it did not happen");
    check_same(&[&a, &b]);
}

#[test]
fn a_log_that_fails_at_once_is_left_alone_whoever_waits_for_it() {
    let [a, b] = nodes(["a", "b"]);
    assert_eq!(b.linearizable(), 0);
    b.log.storage().cut_off.insert("b");
    let looks = || b.log.storage().looks["b"];
    let before = looks();
    let (found, _) = b.balance(Level::Linearizable, SECOND_US / 2);
    assert!(matches!(found, Err(ReadError::Unavailable { .. })), "{found:?}");
    let looked = looks() - before;
    assert!(looked <= 20, "{looked} looks in half a second");
    b.log.storage().cut_off.clear();
    assert!(is_committed(&a.write("t", &transfer(5))));
    assert_eq!(b.linearizable(), 5);
}
