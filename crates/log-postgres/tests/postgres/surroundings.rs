//! What can be wrong around the log: each is a clear error, and nothing is written.

use crate::server::{Server, new_schema, options, settings_of, wait_until};
use log::conformance::{done, read_all};
use log::{Append, Durability, Log, LogError, Rejected};
use std::error::Error;
use std::time::Duration;
use tertium_log_postgres::{Environment, LogOptions, LogPostgres, Settings};
use words::{CellName, Position};

/// An error with its sources, as a program shows it at its end.
fn shown(error: &LogError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[track_caller]
fn refused(settings: Settings, options: LogOptions, expected: &str) {
    match LogPostgres::open(settings, options) {
        Ok(_) => panic!("it is opened; expected: {expected}"),
        Err(error) => {
            let text = shown(&error);
            assert!(text.contains(expected), "{text}\nshould have: {expected}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

pub(crate) fn table(server: &mut Server) {
    let (schema, sql, socket) = (new_schema(), server.sql(), server.cluster.socket().to_owned());
    let usual = || server.settings();
    let with = |user: &str, database: &str| settings_of(&socket, user, database, &Environment::default());
    done(server.open(&schema).append(Position::START, 1, b"one"));
    sql.run("CREATE ROLE stranger LOGIN; CREATE ROLE reader LOGIN");
    sql.run(&format!(
        "GRANT USAGE ON SCHEMA {schema} TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader"
    ));

    let other_cell = LogOptions { cell: CellName::new("other").expect("a name"), ..options(&schema) };
    refused(usual(), other_cell, &format!("its log in the schema {schema} is of the cell main, not other"));
    let other_log = LogOptions { expected_log_id: Some(7), ..options(&schema) };
    refused(usual(), other_log, "its log is 0000000000001234, and what is known here is of the log 0000000000000007");
    let unprepared = LogOptions { prepares: false, ..options("nowhere") };
    refused(usual(), unprepared, "it has no log in the schema nowhere. What to do: prepare it");
    refused(
        with("tertium", "nowhere"),
        options(&schema),
        "3D000: database \"nowhere\" does not exist. What to do: create",
    );
    refused(
        with("nobody", "postgres"),
        options(&schema),
        "28000: role \"nobody\" does not exist. What to do: let this role",
    );
    refused(
        with("stranger", "postgres"),
        options("fresh"),
        "42501: permission denied for database postgres. What to do: let",
    );
    refused(with("stranger", "postgres"), options(&schema), "42501: permission denied for");
    let quorum = LogOptions { durability: Durability::Quorum, ..options(&schema) };
    refused(
        usual(),
        quorum,
        "synchronous_standby_names is empty, and durability by a quorum was asked for. What to do: name",
    );
    let careful = LogOptions { takes_unsafe_server: false, ..options(&schema) };
    refused(usual(), careful, "its setting fsync is off. What to do: set it to on");
    let ahead = LogOptions { acknowledged: Some((Position { epoch: 1, index: 2 }, 9)), ..options(&schema) };
    refused(
        usual(),
        ahead,
        "the log went back in time: entry 1:2 was acknowledged with digest 0000000000000009, and the database has none",
    );
    let forked = LogOptions { acknowledged: Some((Position { epoch: 1, index: 1 }, 9)), ..options(&schema) };
    refused(usual(), forked, "with digest 0000000000000009, and the database has an entry of epoch 1 with digest");
    let away = settings_of(server.dir.path(), "tertium", "postgres", &Environment::default());
    let hasty = LogOptions { read_wait: Duration::from_secs(1), ..options(&schema) };
    refused(away, hasty, "connecting to the database postgres at");

    // Who may only read opens the log and reads; to append is refused, for certain.
    let mut reader = LogPostgres::open(with("reader", "postgres"), options(&schema)).expect("it may look");
    assert_eq!(read_all(&mut reader).len(), 1);
    let tail = reader.tail().expect("tail");
    let append = reader.append(tail, 1, b"two");
    assert!(
        matches!(append, Append::Rejected(Rejected::Unavailable { why }) if why.contains("may not insert")),
        "{append:?}"
    );

    sql.run(&format!("UPDATE {schema}.log SET version = 2"));
    refused(usual(), options(&schema), "its tables have version 2, and this program knows version 1. What to do: use");
    sql.run(&format!("UPDATE {schema}.log SET version = 1"));
    assert_eq!(read_all(&mut server.open(&schema)).len(), 1, "nothing was written");
    assert_eq!(sql.column("SELECT nspname FROM pg_namespace WHERE nspname IN ('fresh', 'nowhere')"), [""; 0]);
}

pub(crate) fn password(server: &mut Server) {
    let (schema, sql, socket) = (new_schema(), server.sql(), server.cluster.socket().to_owned());
    done(server.open(&schema).append(Position::START, 1, b"one"));
    sql.run("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'secret'");
    let hba = server.cluster.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).expect("the server's rules");
    std::fs::write(&hba, format!("local all guarded scram-sha-256\n{rules}")).expect("written");
    sql.run("SELECT pg_reload_conf()");
    let with = |password: Option<&str>| {
        let environment = Environment { password: password.map(str::to_owned), ..Environment::default() };
        settings_of(&socket, "guarded", "postgres", &environment)
    };
    wait_until("the rules to be read", || LogPostgres::open(with(None), options(&schema)).is_err());
    refused(with(None), options(&schema), "password missing. What to do: put the role's password into PGPASSWORD");
    refused(
        with(Some("wrong")),
        options(&schema),
        "28P01: password authentication failed for user \"guarded\". What to do: put",
    );
    let mut log = LogPostgres::open(with(Some("secret")), options(&schema)).expect("the right password");
    assert_eq!(read_all(&mut log).len(), 1);
}

pub(crate) fn read_only(server: &mut Server) {
    let (schema, sql, socket) = (new_schema(), server.sql(), server.cluster.socket().to_owned());
    let mut log = server.open(&schema);
    let tail = done(log.append(Position::START, 1, b"one"));
    sql.set(&socket, "default_transaction_read_only", "on");
    // A session that is there learns of it a little later.
    let mut tail = tail;
    wait_until("an append to be refused", || match log.append(tail, 1, b"more") {
        Append::Ok(position) => {
            tail = position;
            false
        }
        Append::Rejected(Rejected::Unavailable { why }) => {
            assert_eq!(why, "the database is read-only");
            true
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(read_all(&mut log).len() as u64, tail.index, "reads go on");
    sql.run("SET default_transaction_read_only = off");
    sql.set(&socket, "default_transaction_read_only", "off");
    wait_until("an append to be taken", || match log.append(tail, 1, b"more") {
        Append::Ok(position) => {
            tail = position;
            true
        }
        Append::Rejected(Rejected::Unavailable { .. }) => false,
        other => panic!("{other:?}"),
    });
    assert_eq!(read_all(&mut log).len() as u64, tail.index);
}

pub(crate) fn damage(server: &mut Server) {
    let sql = server.sql();
    for (damage, expected) in [
        ("UPDATE {}.entries SET entry = 'other' WHERE index = 2", "corrupt at offset 2: entry 2 has the digest"),
        ("UPDATE {}.entries SET epoch = 2 WHERE index = 2", "corrupt at offset 2: entry 2 has the digest"),
        ("UPDATE {}.entries SET digest_before = 5 WHERE index = 3", "corrupt at offset 3: entry 3 does not follow"),
        ("DELETE FROM {}.entries WHERE index = 2", "corrupt at offset 2: entry 2 is missing, and 3 is there"),
        ("TRUNCATE {}.entries", "corrupt at offset 0: it has no row"),
    ] {
        let schema = new_schema();
        let mut log = server.open(&schema);
        let mut tail = Position::START;
        for _ in 0..4 {
            tail = done(log.append(tail, 1, b"entry"));
        }
        sql.run(&damage.replace("{}", &schema));
        let error = match LogPostgres::open(server.settings(), options(&schema)) {
            Ok(mut log) => log.read(1, 1000).expect_err(damage),
            Err(error) => error,
        };
        let text = shown(&error);
        assert!(text.contains(expected), "{damage}: {text}");
    }
}
