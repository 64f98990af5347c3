//! What the server answers to an append, and what is made of it: a trigger makes the server say each thing.

use crate::server::{Server, new_schema, options, wait_until};
use log::conformance::done;
use log::{Append, Log, Rejected};
use std::time::Duration;
use tertium_log_postgres::LogPostgres;
use words::Position;

/// What is expected of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Done,
    Full,
    /// Certainly not done, and why.
    NotDone(&'static str),
    /// Nobody knows; the row is there or not.
    Unknown {
        is_there: bool,
    },
}

fn raise(code: &str) -> String {
    format!("RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'")
}

pub(crate) fn table(server: &mut Server) {
    use Expected::{Done, Full, NotDone, Unknown};
    let lost = Unknown { is_there: false };
    let cases = [
        (String::new(), Done),
        ("RAISE NOTICE 'chatter'".to_owned(), Done),
        ("RAISE WARNING 'doubt'".to_owned(), Unknown { is_there: true }),
        (raise("53100"), Full),
        (raise("53200"), NotDone("out of memory")),
        (raise("25006"), NotDone("read-only")),
        (raise("40001"), NotDone("waited for too long, or was in the way")),
        (raise("40P01"), NotDone("waited for too long, or was in the way")),
        (raise("55P03"), NotDone("waited for too long, or was in the way")),
        (raise("42501"), NotDone("may not insert")),
        (raise("58030"), lost),
        (raise("XX000"), lost),
        (raise("57P01"), lost),
        ("PERFORM pg_cancel_backend(pg_backend_pid()), pg_sleep(60)".to_owned(), NotDone("waited for too long")),
        ("PERFORM pg_sleep(60)".to_owned(), NotDone("waited for too long")),
        ("PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(60)".to_owned(), lost),
    ];
    let (schema, sql) = (new_schema(), server.sql());
    let mut options = options(&schema);
    options.append_wait = Duration::from_secs(5);
    let mut log = LogPostgres::open(server.settings(), options).expect("open");
    let mut tail = done(log.append(Position::START, 1, b"one"));
    let function = |body: &str| {
        sql.run(&format!(
            "CREATE OR REPLACE FUNCTION {schema}.trouble() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN {body}; RETURN NEW; END $$"
        ));
    };
    function("NULL");
    sql.run(&format!(
        "CREATE TRIGGER trouble BEFORE INSERT ON {schema}.entries FOR EACH ROW EXECUTE FUNCTION {schema}.trouble()"
    ));
    for (body, expected) in cases {
        function(if body.is_empty() { "NULL" } else { &body });
        let answer = log.append(tail, 1, b"entry");
        let is_there = match (&answer, expected) {
            (Append::Ok(_), Done) => true,
            (Append::Rejected(Rejected::Full), Full) => {
                assert_eq!(log.has_room(), Err(Rejected::Full), "for a while");
                wait_until("room", || log.has_room().is_ok());
                false
            }
            (Append::Rejected(Rejected::Unavailable { why }), NotDone(expected)) if why.contains(expected) => false,
            (Append::Unknown(_), Unknown { is_there }) => is_there,
            _ => panic!("{body}: {answer:?}, expected {expected:?}"),
        };
        // Whatever it was, the log goes on behind what is there.
        function("NULL");
        let found = log.tail().expect("tail");
        assert_eq!(found.index, tail.index + u64::from(is_there), "{body}");
        tail = done(log.append(found, 1, b"after"));
    }
}
