//! Standbys: a wait for one that is cancelled, one that is away, one that is promoted without all of the log.

use crate::faults::Relay;
use crate::server::{SETTINGS, Server, Sql, new_schema, options, settings, wait_until};
use log::conformance::{done, read_all};
use log::{Append, Durability, Log, LogError, Rejected};
use own_postgres::Cluster;
use std::time::Duration;
use tertium_log_postgres::{LogOptions, LogPostgres};
use words::Position;

const NAMES: &str = "synchronous_standby_names";

/// A primary with one standby, which it waits for where it is told to.
struct Pair {
    primary: Server,
    standby: Cluster,
}

impl Pair {
    fn start() -> Self {
        let primary = Server::start().expect("a primary");
        let standby = primary.cluster.standby(primary.dir.path(), "standby", SETTINGS).expect("a standby");
        Self { primary, standby }
    }

    fn wait_for_standby(&self, on: bool) {
        let names = if on { "standby" } else { "" };
        self.primary.sql().set(self.primary.cluster.socket(), NAMES, names);
    }

    /// Waits until the primary counts the standby as synchronous.
    fn wait_until_synchronous(&self) {
        let sql = self.primary.sql();
        let query = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
        wait_until("the standby to be synchronous", || !sql.column(query).is_empty());
    }

    fn open(&self, schema: &str, append_wait_ms: u64) -> LogPostgres {
        LogPostgres::open(self.primary.settings(), quorum(schema, append_wait_ms)).expect("the log can be opened")
    }
}

fn quorum(schema: &str, append_wait_ms: u64) -> LogOptions {
    LogOptions {
        durability: Durability::Quorum,
        append_wait: Duration::from_millis(append_wait_ms),
        read_wait: Duration::from_secs(60),
        ..options(schema)
    }
}

/// The process that waits for a standby.
fn waiting_pid(sql: &Sql) -> Option<String> {
    let query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'tertium'";
    sql.column(query).pop()
}

fn committed(log: &mut LogPostgres) -> usize {
    log.read_committed(1, 1 << 20, 0).expect("read").len()
}

pub(crate) fn cancelled_waits(_: &mut Server) {
    let mut pair = Pair::start();
    pair.wait_for_standby(true);
    pair.wait_until_synchronous();
    let schema = new_schema();
    let mut leader = pair.open(&schema, 60_000);
    let mut follower = pair.open(&schema, 60_000);
    assert_eq!(leader.capabilities().durability, Durability::Quorum);
    let tail = done(leader.append(Position::START, 1, b"one"));
    let tail = done(leader.append(tail, 1, b"two"));
    assert_eq!(leader.tail().expect("the standby confirms it"), tail);
    pair.standby.crash().expect("it stops");

    // Somebody cancels the wait: the server says INSERT 0 1, and warns.
    let sql = pair.primary.sql();
    let append = std::thread::spawn(move || (leader.append(tail, 1, b"three"), leader));
    wait_until("the append to wait for the standby", || waiting_pid(&sql).is_some());
    sql.run(&format!("SELECT pg_cancel_backend({})", waiting_pid(&sql).expect("it waits")));
    let (answer, mut leader) = append.join().expect("no panic");
    match answer {
        Append::Unknown(LogError::Io { source, .. }) => {
            let text = source.to_string();
            assert!(text.contains("and warned: WARNING 01000: canceling wait for synchronous replication"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let rows = format!("SELECT count(*) FROM {schema}.entries WHERE index = 3");
    assert_eq!(sql.column(&rows), ["1"], "the row is there for everyone to see");
    assert_eq!(follower.read(1, 1 << 20).expect("read").len(), 3);
    assert_eq!(
        committed(&mut follower),
        2,
        "a follower has what the row says was acknowledged before it, and not the row"
    );

    // The standby is back: a claim behind the row settles it, and everything before the claim is committed.
    pair.standby.start_again().expect("it starts");
    pair.wait_until_synchronous();
    let tail = leader.tail().expect("tail");
    assert_eq!(tail, Position { epoch: 1, index: 3 });
    let tail = done(leader.append(tail, 2, b"claim"));
    done(leader.append(tail, 2, b"next"));
    assert_eq!(committed(&mut follower), 4);
}

pub(crate) fn absent_standby(_: &mut Server) {
    let mut pair = Pair::start();
    pair.wait_for_standby(true);
    pair.wait_until_synchronous();
    let schema = new_schema();
    let mut zombie = pair.open(&schema, 3000);
    let tail = done(zombie.append(Position::START, 1, b"one"));
    pair.standby.crash().expect("it stops");
    let unknown = zombie.append(tail, 1, b"two");
    assert!(matches!(unknown, Append::Unknown(_)), "{unknown:?}");

    // A claim in its place waits for the zombie's transaction, which waits on: it is not acknowledged.
    let mut leader = pair.open(&schema, 400);
    let claim = leader.append(tail, 2, b"claim");
    assert!(!matches!(claim, Append::Ok(_) | Append::Conflict { .. }), "{claim:?}");
    // Nor does anyone learn of a tail that no standby confirms.
    let mut hasty = LogPostgres::open(
        pair.primary.settings(),
        LogOptions { read_wait: Duration::from_secs(6), ..quorum(&schema, 400) },
    )
    .expect("to look needs no standby");
    let barrier = hasty.tail();
    assert!(matches!(barrier, Err(LogError::Io { .. })), "{barrier:?}");
    let sql = pair.primary.sql();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("what asked for it to wait no longer", || sql.column(waiting) == ["1"]);

    pair.standby.start_again().expect("it starts");
    pair.wait_until_synchronous();
    // Whoever goes on waits until the zombie is decided, and finds it.
    let mut leader = pair.open(&schema, 60_000);
    let mut tail = tail;
    let claimed = loop {
        match leader.append(tail, 2, b"claim") {
            Append::Ok(position) => break position,
            Append::Conflict { tail: found } => tail = found,
            other => panic!("{other:?}"),
        }
    };
    let entries: Vec<_> = read_all(&mut leader).into_iter().map(|stored| stored.entry).collect();
    assert_eq!(entries.first().map(Vec::as_slice), Some(&b"one"[..]));
    assert_eq!(entries.last().map(Vec::as_slice), Some(&b"claim"[..]));
    let zombie_again = zombie.append(tail, 1, b"three");
    assert!(
        matches!(&zombie_again, Append::Conflict { tail } if tail.index >= claimed.index),
        "{zombie_again:?}, claimed {claimed}"
    );
}

pub(crate) fn no_standby_is_named(_: &mut Server) {
    let pair = Pair::start();
    let schema = new_schema();
    pair.wait_for_standby(true);
    pair.wait_until_synchronous();
    let mut log = pair.open(&schema, 60_000);
    let tail = done(log.append(Position::START, 1, b"one"));
    pair.wait_for_standby(false);
    // The session learns of it a little later; until then it waits for nobody either, which the crate's head says.
    let mut tail = tail;
    wait_until("an append to be refused", || match log.append(tail, 1, b"more") {
        Append::Ok(position) => {
            tail = position;
            false
        }
        Append::Rejected(Rejected::Unavailable { why }) => {
            assert!(why.starts_with("the database waits for no standby (synchronous_standby_names is empty)"), "{why}");
            true
        }
        other => panic!("{other:?}"),
    });
    let rows = format!("SELECT max(index) FROM {schema}.entries");
    assert_eq!(pair.primary.sql().column(&rows), [tail.index.to_string()]);
    pair.wait_for_standby(true);
    wait_until("an append to be taken", || matches!(log.append(tail, 1, b"more"), Append::Ok(_)));
}

pub(crate) fn promoted_without_all(_: &mut Server) {
    let mut pair = Pair::start();
    let relay = Relay::start(pair.primary.cluster.socket(), |_| i64::MAX, 1);
    let schema = new_schema();
    let open = || LogPostgres::open(settings(relay.socket()), options(&schema)).expect("the log can be opened");
    let (mut leader, mut follower, mut behind) = (open(), open(), open());
    let mut tail = Position::START;
    for _ in 0..3 {
        tail = done(leader.append(tail, 1, b"kept"));
    }
    assert_eq!(behind.read_committed(1, 1 << 20, 3).expect("read").len(), 3);
    let sql = pair.primary.sql();
    let written = sql.column("SELECT pg_current_wal_lsn()").remove(0);
    let replayed = format!("SELECT 1 FROM pg_stat_replication WHERE replay_lsn >= '{written}'");
    wait_until("the standby to have it", || !sql.column(&replayed).is_empty());
    pair.standby.crash().expect("it stops");
    for _ in 0..2 {
        tail = done(leader.append(tail, 1, b"lost"));
    }
    assert_eq!(follower.read_committed(1, 1 << 20, 5).expect("read").len(), 5);
    let remembered = leader.acknowledged();
    pair.primary.cluster.crash().expect("it stops");
    pair.standby.start_again().expect("it starts");
    pair.standby.promote().expect("it is promoted");
    relay.turn(pair.standby.socket());

    // Who has an acknowledged entry in mind stops; the error says what is missing. It says so again each time.
    for _ in 0..2 {
        match leader.append(tail, 1, b"fork") {
            Append::Unknown(error @ LogError::WentBack { .. }) => {
                let text = error.to_string();
                assert!(
                    text.starts_with("the log went back in time: entry 1:5 was acknowledged with digest"),
                    "{text}"
                );
                assert!(text.contains("the database has none there. What to do: a standby was promoted"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(leader.tail(), Err(LogError::WentBack { .. })));
    let read = follower.read_committed(6, 1 << 20, 0);
    assert!(matches!(read, Err(LogError::WentBack { .. })), "{read:?}");
    let reopened =
        LogPostgres::open(settings(relay.socket()), LogOptions { acknowledged: remembered, ..options(&schema) });
    assert!(matches!(reopened.map(drop), Err(LogError::WentBack { .. })));
    let rows = Sql::connect(pair.standby.socket()).column(&format!("SELECT max(index) FROM {schema}.entries"));
    assert_eq!(rows, ["3"], "nothing was forked");

    // Who has only what is there goes on, and what was lost is told to nobody who comes later.
    let tail = behind.tail().expect("tail");
    assert_eq!(tail, Position { epoch: 1, index: 3 });
    done(behind.append(tail, 2, b"claim"));
    assert!(matches!(follower.read_committed(4, 1 << 20, 0), Err(LogError::WentBack { .. })));
}
