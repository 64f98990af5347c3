//! More than one who believes to be the writer: a zombie, a second claimant, a gap, a seal in between; and followers.

use crate::server::{Server, Sql, new_schema, options, wait_until};
use log::conformance::{done, read_all};
use log::{Append, Log, Rejected};
use std::process::Command;
use std::time::Duration;
use tertium_log_postgres::LogPostgres;
use tokio_postgres::types::{ToSql, Type};
use words::Position;

fn at(epoch: u64, index: u64) -> Position {
    Position { epoch, index }
}

/// Appends this many entries behind the tail.
fn fill(log: &mut LogPostgres, epoch: u64, count: u64) -> Position {
    let mut tail = log.tail().expect("tail");
    for _ in 0..count {
        tail = done(log.append(tail, epoch, format!("entry {}", tail.index + 1).as_bytes()));
    }
    tail
}

#[track_caller]
fn conflicts(append: &Append, expected: Position) {
    assert!(matches!(append, Append::Conflict { tail } if *tail == expected), "{append:?}");
}

fn epochs(log: &mut LogPostgres) -> Vec<u64> {
    read_all(log).iter().map(|stored| stored.position.epoch).collect()
}

pub(crate) fn second_claimant_and_zombie(server: &mut Server) {
    let schema = new_schema();
    let (mut first, mut second) = (server.open(&schema), server.open(&schema));
    let tail = fill(&mut first, 1, 3);
    assert_eq!(second.tail().expect("tail"), tail);
    assert_eq!(done(second.append(tail, 2, b"claim")), at(2, 4));
    // The zombie knows nothing of it: the database refuses.
    conflicts(&first.append(tail, 1, b"zombie"), at(2, 4));
    conflicts(&first.append(tail, 7, b"a higher epoch, a wrong place"), at(2, 4));
    conflicts(&first.append(at(2, 4), 1, b"the right place, a lower epoch"), at(2, 4));
    // Two claim at once: one of them does.
    assert_eq!(done(first.append(at(2, 4), 3, b"claim")), at(3, 5));
    conflicts(&second.append(at(2, 4), 3, b"the same epoch, too late"), at(3, 5));
    assert_eq!(epochs(&mut first), [1, 1, 1, 2, 3]);
    assert_eq!(read_all(&mut second), read_all(&mut first));
}

/// The process of the session that appended to this schema last.
fn appender_pid(sql: &Sql, schema: &str) -> String {
    let query = format!(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'tertium' AND query LIKE 'INSERT INTO {schema}.entries%'"
    );
    let pids = sql.column(&query);
    assert_eq!(pids.len(), 1, "one session has appended: {pids:?}");
    pids[0].clone()
}

fn signal(pid: &str, signal: &str) {
    let status = Command::new("kill").args([signal, pid]).status().expect("there is a kill");
    assert!(status.success(), "{signal} {pid}");
}

fn is_stopped(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

fn is_gone(sql: &Sql, pid: &str) -> bool {
    sql.column(&format!("SELECT pid FROM pg_stat_activity WHERE pid = {pid}")).is_empty()
}

pub(crate) fn paused_zombie(server: &mut Server) {
    let (schema, sql) = (new_schema(), server.sql());
    let mut options = options(&schema);
    // What is not paused is done in much less, on a busy machine too.
    options.append_wait = Duration::from_secs(3);
    let mut zombie = LogPostgres::open(server.settings(), options).expect("open");
    let tail = fill(&mut zombie, 1, 3);
    let pid = appender_pid(&sql, &schema);
    signal(&pid, "-STOP");
    wait_until("the session to be stopped", || is_stopped(&pid));
    // It goes into the socket, and nobody reads it.
    let unknown = zombie.append(tail, 1, b"zombie");
    assert!(matches!(unknown, Append::Unknown(_)), "{unknown:?}");
    let mut leader = server.open(&schema);
    assert_eq!(leader.tail().expect("tail"), tail);
    assert_eq!(done(leader.append(tail, 2, b"claim")), at(2, 4));
    signal(&pid, "-CONT");
    wait_until("the session to have read what was sent, and ended", || is_gone(&sql, &pid));
    assert_eq!(epochs(&mut leader), [1, 1, 1, 2]);
    // Nor is the log dead that did not know: it finds the claim.
    conflicts(&zombie.append(tail, 1, b"zombie"), at(2, 4));
    assert_eq!(read_all(&mut zombie), read_all(&mut leader));
}

/// The append as the log sends it, with values of the test's choice.
struct Raw<'a> {
    sql: &'a Sql,
    append: String,
}

impl Raw<'_> {
    /// Sends all at once, and says of each whether it inserted. Each is (index, epoch, predecessor's epoch, predecessor's digest,
    /// digest).
    fn pipelined(&self, rows: &[(i64, i64, i64, i64, i64)]) -> Vec<u64> {
        let client = &self.sql.client;
        self.sql.runtime.block_on(async {
            let mut tasks = Vec::new();
            for &(index, epoch, epoch_before, digest_before, digest) in rows {
                let append = &self.append;
                tasks.push(Box::pin(async move {
                    let parameters: [(&(dyn ToSql + Sync), Type); 10] = [
                        (&"main", Type::TEXT),
                        (&index, Type::INT8),
                        (&epoch, Type::INT8),
                        (&1_i16, Type::INT2),
                        (&digest, Type::INT8),
                        (&digest_before, Type::INT8),
                        (&0_i64, Type::INT8),
                        (&&b"zombie"[..], Type::BYTEA),
                        (&epoch_before, Type::INT8),
                        (&false, Type::BOOL),
                    ];
                    client.execute_typed(append.as_str(), &parameters).await.expect("the statement is run")
                }));
            }
            // All are sent when each was polled once.
            let mut inserted = Vec::new();
            for task in &mut tasks {
                let once = std::future::poll_fn(|cx| std::task::Poll::Ready(task.as_mut().poll(cx).is_ready())).await;
                assert!(!once, "nothing is answered before it is sent");
            }
            for task in tasks {
                inserted.push(task.await);
            }
            inserted
        })
    }
}

pub(crate) fn pipelined_zombies_and_gaps(server: &mut Server) {
    let (schema, sql) = (new_schema(), server.sql());
    let mut leader = server.open(&schema);
    let tail = fill(&mut leader, 1, 3);
    let seen = "SELECT query FROM pg_stat_activity WHERE application_name = 'tertium' AND query LIKE";
    let append = sql.column(&format!("{seen} 'INSERT INTO {schema}.entries%'")).remove(0);
    let digest: i64 =
        sql.column(&format!("SELECT digest FROM {schema}.entries WHERE index = 3"))[0].parse().expect("digits");
    let raw = Raw { sql: &sql, append };
    assert_eq!(done(leader.append(tail, 2, b"claim")), at(2, 4));
    let claim: i64 =
        sql.column(&format!("SELECT digest FROM {schema}.entries WHERE index = 4"))[0].parse().expect("digits");
    for (rows, why) in [
        (vec![(4, 1, 1, digest, 11), (5, 1, 1, 11, 12), (6, 1, 1, 12, 13)], "a zombie's pipeline, behind the claim"),
        (vec![(5, 1, 2, claim, 11)], "the right predecessor, a lower epoch"),
        (vec![(5, 2, 2, digest, 11)], "the right predecessor's epoch, another history"),
        (vec![(5, 2, 1, claim, 11)], "another epoch of the predecessor"),
        (vec![(6, 2, 2, claim, 11)], "a gap"),
        (vec![(0, 2, 2, claim, 11)], "before the beginning"),
    ] {
        assert!(raw.pipelined(&rows).iter().all(|inserted| *inserted == 0), "{why}");
    }
    assert_eq!(leader.tail().expect("tail"), at(2, 4));
    // The same statement, sent by a leader, inserts: the cases above can fail.
    assert_eq!(raw.pipelined(&[(5, 2, 2, claim, 11), (6, 2, 2, 11, 12)]), [1, 1]);
    // The zombie's pipeline was first in part: the claim goes behind what of it landed, and the rest of it is void.
    conflicts(&leader.append(at(2, 4), 3, b"claim"), at(2, 6));
    assert_eq!(done(leader.append(at(2, 6), 3, b"claim")), at(3, 7));
    assert_eq!(raw.pipelined(&[(7, 2, 2, 12, 13), (8, 2, 2, 13, 14)]), [0, 0]);
}

pub(crate) fn seal_against_appends(server: &mut Server) {
    let schema = new_schema();
    let (mut writer, mut mover) = (server.open(&schema), server.open(&schema));
    let mut tail = fill(&mut writer, 1, 70);
    let sealer = std::thread::spawn(move || (mover.seal().expect("seal"), mover));
    let refused = loop {
        match writer.append(tail, 1, b"late") {
            Append::Ok(position) => tail = position,
            other => break other,
        }
    };
    assert!(matches!(refused, Append::Rejected(Rejected::Sealed)), "{refused:?}");
    let (sealed_at, mut mover) = sealer.join().expect("no panic");
    assert_eq!((sealed_at, writer.tail().expect("tail")), (tail, tail), "nothing is behind what the seal said");
    assert_eq!(writer.has_room(), Err(Rejected::Sealed));
    assert_eq!(read_all(&mut mover).len() as u64, tail.index);
}

pub(crate) fn followers(server: &mut Server) {
    let schema = new_schema();
    let (mut leader, mut follower) = (server.open(&schema), server.open(&schema));
    let read = |follower: &mut LogPostgres, from, hint| -> Vec<u64> {
        let read = follower.read_committed(from, 1 << 20, hint).expect("read");
        read.iter().map(|stored| stored.position.index).collect()
    };
    assert_eq!(read(&mut follower, 1, 0), [0_u64; 0]);
    let tail = fill(&mut leader, 1, 1);
    // It is there; that it is committed nobody has said.
    assert_eq!(follower.read(1, 100).expect("read").len(), 1);
    assert_eq!(read(&mut follower, 1, 0), [0_u64; 0]);
    assert_eq!(read(&mut follower, 1, 1), [1], "the leader told");
    done(leader.append(tail, 1, b"two"));
    assert_eq!(read(&mut follower, 1, 0), [1], "the second entry tells of the first");
    fill(&mut leader, 1, 100);
    assert_eq!(read(&mut follower, 2, 0), (2..=101).collect::<Vec<_>>());
    // A new leader knows nothing at first but what the log says.
    let mut second = server.open(&schema);
    let tail = second.tail().expect("tail");
    done(second.append(tail, 2, b"claim"));
    assert_eq!(read(&mut follower, 102, 0), [0_u64; 0]);
    fill(&mut second, 2, 1);
    assert_eq!(read(&mut follower, 102, 0), [102, 103], "the claim was acknowledged, and so is what it follows");
}
