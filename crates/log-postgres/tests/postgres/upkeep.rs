//! Partitions: made before they are needed, dropped when they are not, and never missed.

use crate::server::{Server, Sql, new_schema, wait_until};
use log::conformance::done;
use log::{Kept, Log, LogError, Upkeep};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tertium_log_postgres::LogPostgres;

fn partitions(sql: &Sql, schema: &str) -> Vec<String> {
    sql.column(&format!(
        "SELECT substr(c.relname, 9) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = '{schema}.entries'::regclass AND c.relkind = 'r' ORDER BY c.relname"
    ))
}

fn fill(log: &mut LogPostgres, count: u64) -> u64 {
    let mut tail = log.tail().expect("tail");
    for _ in 0..count {
        tail = done(log.append(tail, 1, b"entry"));
    }
    tail.index
}

fn run(upkeep: &dyn Upkeep) -> usize {
    (0..).take_while(|_| upkeep.run_once().expect("no fault") == Kept::Worked).count()
}

pub(crate) fn partitions_come_and_go(server: &mut Server) {
    let (schema, sql) = (new_schema(), server.sql());
    let mut log = server.open(&schema);
    let upkeep = log.upkeep().expect("there is some");
    assert_eq!(partitions(&sql, &schema), ["0", "1"]);
    assert_eq!(run(upkeep.as_ref()), 1);
    assert_eq!(partitions(&sql, &schema), ["0", "1", "2"]);
    assert_eq!(run(upkeep.as_ref()), 0);
    // Three partitions of 64 on, without upkeep in between: an append makes what it needs.
    fill(&mut log, 260);
    assert_eq!(partitions(&sql, &schema), ["0", "1", "2", "3", "4"]);
    run(upkeep.as_ref());
    assert_eq!(partitions(&sql, &schema), ["0", "1", "2", "3", "4", "5", "6"]);
    // What is given up goes by whole partitions.
    log.trim(130).expect("trim");
    assert_eq!(log.first(), 1);
    assert_eq!(run(upkeep.as_ref()), 4, "each of two is taken out and dropped");
    assert_eq!(partitions(&sql, &schema), ["2", "3", "4", "5", "6"]);
    assert_eq!(log.first(), 128);
    assert!(matches!(log.read(127, 1), Err(LogError::Trimmed { first: 128 })));
    assert_eq!(log.read(128, 1).expect("read")[0].position.index, 128);
    // One that had opened it before learns it where it reads.
    let mut other = server.open(&schema);
    assert_eq!(other.first(), 128);
    // One that was left half done is ended.
    sql.run(&format!("ALTER TABLE {schema}.entries DETACH PARTITION {schema}.entries_2"));
    log.trim(u64::MAX).expect("trim");
    run(upkeep.as_ref());
    assert_eq!(partitions(&sql, &schema), ["4", "5", "6"], "the newest entry's stays");
    let left = format!(
        "SELECT relname FROM pg_class WHERE relname ~ '^entries_[0-3]$' AND relnamespace = '{schema}'::regnamespace"
    );
    assert_eq!(sql.column(&left), [""; 0]);
    assert!(matches!(other.read(128, 1), Err(LogError::Trimmed { first: 256 })));
    fill(&mut log, 5);
}

pub(crate) fn beside_appends(server: &mut Server) {
    let (schema, sql) = (new_schema(), server.sql());
    let (mut log, mut other) = (server.open(&schema), server.open(&schema));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for upkeep in [log.upkeep().expect("there is some"), other.upkeep().expect("there is some")] {
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    upkeep.run_once().expect("no fault");
                    upkeep.wait(Duration::from_millis(20));
                }
            });
        }
        // Twenty-four partitions, most of which go again, while two nodes keep house and get into each other's way.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..15 {
                let tail = fill(&mut log, 100);
                log.trim(tail - 50).expect("trim");
                other.tail().expect("tail");
                other.trim(tail - 50).expect("trim");
            }
            let kept: Vec<String> = (22..=25).map(|number| number.to_string()).collect();
            wait_until("what is not needed to be gone", || partitions(&sql, &schema) == kept);
        }));
        is_over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    // What the other one dropped, one learns where one reads.
    assert!(matches!(other.read(1, 1), Err(LogError::Trimmed { .. })));
    drop(other.read(other.first(), 1));
    let read = log::conformance::read_all(&mut other);
    let indexes: Vec<u64> = read.iter().map(|stored| stored.position.index).collect();
    assert_eq!(indexes, (22 * 64..=1500).collect::<Vec<_>>());
}
