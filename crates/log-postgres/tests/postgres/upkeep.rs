//! Partitions: made before they are needed, dropped when they are not, and never missed.

use crate::server::{Server, Sql, new_schema};
use log::conformance::done;
use log::{Kept, Log, LogError, Upkeep};
use tertium_log_postgres::LogPostgres;

fn partitions(sql: &Sql, schema: &str) -> Vec<String> {
    sql.column(&format!(
        "SELECT substr(c.relname, 9) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent = '{schema}.entries'::regclass AND c.relkind = 'r' ORDER BY c.relname"
    ))
}

fn fill(log: &mut LogPostgres, count: u64) {
    let mut tail = log.tail().expect("tail");
    for _ in 0..count {
        tail = done(log.append(tail, 1, b"entry"));
    }
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
