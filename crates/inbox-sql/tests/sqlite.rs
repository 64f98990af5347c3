//! SQLite plays the conformance kit, on real files.
#![cfg(feature = "sqlite")]

mod kit;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use inbox_sql::layer::{self, SqliteOpen, Tx};
use inbox_sql::{Collection, Error, Ticket, sqlite};
use kit::document::Value;
use kit::{Command, Hand};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction};

/// A database file.
#[derive(Clone)]
struct File {
    path: PathBuf,
}

impl File {
    fn new(dir: &tempfile::TempDir) -> Self {
        Self::at(dir.path().join("service.db"))
    }

    fn at(path: PathBuf) -> Self {
        let file = Self { path };
        let mut connection = file.open();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE effects (name TEXT NOT NULL)").unwrap();
        let tx = connection.transaction().unwrap();
        sqlite::install(&tx).unwrap();
        tx.commit().unwrap();
        file
    }

    fn open(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        // The files are real; that a disk keeps what it synced is not what is tested here.
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection
    }
}

impl Hand for File {
    const ONE_WRITER: bool = true;

    fn serve(self, commands: Receiver<Command>, replies: Sender<String>) {
        let mut connection = self.open();
        while let Ok(command) = commands.recv() {
            let end = match command {
                Command::Begin(wait) => match sqlite::begin(&mut connection, wait) {
                    Ok(tx) => {
                        replies.send("ok".into()).unwrap();
                        in_transaction(tx, &commands, &replies)
                    }
                    Err(error) => End::Told(kit::error(&error)),
                },
                other => End::Told(outside(&mut connection, other)),
            };
            let told = match end {
                End::Told(told) => told,
                End::Vanished => {
                    connection = self.open();
                    "ok".into()
                }
                End::Alone => return,
            };
            if replies.send(told).is_err() {
                return;
            }
        }
    }
}

enum End {
    Told(String),
    Vanished,
    Alone,
}

fn in_transaction(tx: Transaction<'_>, commands: &Receiver<Command>, replies: &Sender<String>) -> End {
    let inbox = sqlite::Inbox::new("scope");
    let mut in_hand: Option<Ticket> = None;
    loop {
        let Ok(command) = commands.recv() else { return End::Alone };
        let told = match command {
            Command::Enter(arrival) => inbox.enter(&tx, &arrival).map(|entry| {
                let told = kit::entry(&entry);
                if let inbox_sql::Entry::First(ticket) = entry {
                    in_hand = Some(ticket);
                }
                told
            }),
            Command::Compensate(arrival, step) => inbox.compensate(&tx, &arrival, &step).map(|compensation| {
                let told = kit::compensation(&compensation);
                if let inbox_sql::Compensation::First(ticket, _) = compensation {
                    in_hand = Some(ticket);
                }
                told
            }),
            Command::Finish(answer) => inbox.finish(&tx, in_hand.take().unwrap(), &answer).map(|()| "ok".into()),
            Command::Drop => {
                drop(in_hand.take());
                Ok("ok".into())
            }
            Command::Probe(key) => inbox.probe(&tx, &key).map(|settled| kit::settled(&settled)),
            Command::Event(partition, offset) => {
                sqlite::event(&tx, "s", &partition, offset).map(|event| kit::event(&event))
            }
            Command::Commit => return End::Told(commit(tx)),
            Command::Rollback => {
                return End::Told(tx.rollback().map_or_else(|error| error.to_string(), |()| "ok".into()));
            }
            Command::Vanish => {
                // Dropped, it would be rolled back in good order.
                std::mem::forget(tx);
                return End::Vanished;
            }
            other => Ok(statement(&tx, other)),
        };
        if replies.send(told.unwrap_or_else(|error| kit::error(&error))).is_err() {
            return End::Alone;
        }
    }
}

fn commit(tx: Transaction<'_>) -> String {
    match tx.commit() {
        Ok(()) => "ok".into(),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => "unanswered".into(),
        Err(error) => error.to_string(),
    }
}

fn outside(connection: &mut Connection, command: Command) -> String {
    match command {
        Command::Install => {
            let tx = connection.transaction().unwrap();
            match sqlite::install(&tx) {
                Ok(()) => tx.commit().map_or_else(|error| error.to_string(), |()| "ok".into()),
                Err(error) => kit::error(&error),
            }
        }
        Command::Collect(window_ms, rows_per_batch) => {
            let window = Duration::from_millis(window_ms);
            match sqlite::collect(connection, &Collection { window, rows_per_batch, batches_max: 2 }) {
                Ok(collected) => kit::scripts::collected(&collected),
                Err(error) => kit::error(&error),
            }
        }
        other => statement(connection, other),
    }
}

fn statement(connection: &Connection, command: Command) -> String {
    let done = match command {
        Command::Effect(name) => connection.execute("INSERT INTO effects VALUES (?1)", (name,)),
        Command::Sql(text) => connection.execute(&text, ()),
        Command::Age(ms) => {
            connection.execute("UPDATE tertium_inbox SET created_at_ms = created_at_ms - ?1", (ms,)).unwrap();
            connection.execute("UPDATE tertium_offsets SET moved_at_ms = moved_at_ms - ?1", (ms,))
        }
        Command::Effects => {
            let mut select = connection.prepare("SELECT name FROM effects ORDER BY name").unwrap();
            let names: Vec<String> = select.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            return names.join(" ");
        }
        other => panic!("not here: {other:?}"),
    };
    done.map_or_else(|error| error.to_string(), |_| "ok".into())
}

impl kit::document::Connection for Connection {
    const DIALECT: &'static str = "sqlite";

    fn batch(&self, sql: &str) -> bool {
        self.execute_batch(sql).is_ok()
    }

    fn change(&self, sql: &str, parameters: &[Value]) -> u64 {
        // As the document says it may be written.
        self.execute(&sql.replace('$', "?"), rusqlite::params_from_iter(parameters)).unwrap() as u64
    }

    fn read(&self, sql: &str, parameters: &[Value]) -> Option<String> {
        let first = |row: &rusqlite::Row<'_>| {
            Ok(match row.get(0)? {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
        };
        self.query_row(sql, rusqlite::params_from_iter(parameters), first).optional().unwrap()
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => number.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

#[test]
fn the_document_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("another-language.db");
    kit::document::play(&Connection::open(&path).unwrap(), &Connection::open(&path).unwrap());
}

type Layered = layer::Sqlite<Box<Connection>>;

impl kit::layer::LayerHand for File {
    type Database = Layered;

    fn database(&self) -> Layered {
        let file = self.clone();
        layer::Sqlite::new(move || Ok(Box::new(file.open())))
    }

    async fn execute(tx: &Tx<SqliteOpen<Box<Connection>>>, statement: String) -> bool {
        tx.run(move |open| open.execute_batch(&statement).is_ok()).await.is_ok_and(|done| done)
    }
}

#[test]
fn the_layer_does_it_for_a_handler() {
    let dir = tempfile::tempdir().unwrap();
    kit::layer::all(&|| {
        let name = format!("{}.db", std::fs::read_dir(dir.path()).unwrap().count());
        File::at(dir.path().join(name))
    });
}

#[test]
fn the_scripts_are_played() {
    for (name, script) in kit::scripts::of::<File>() {
        println!("{name}");
        kit::check(File::new(&tempfile::tempdir().unwrap()), script);
    }
}

#[test]
fn one_key_of_a_crowd_is_run_once() {
    let dir = tempfile::tempdir().unwrap();
    kit::crowd::one_key_is_run_once(File::new(&dir));
}

#[test]
fn interleavings_are_as_the_model_says() {
    kit::model::check(128, || {
        let dir = tempfile::tempdir().unwrap();
        (File::new(&dir), dir)
    });
}

#[test]
fn a_connection_that_does_not_check_foreign_keys_enters_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = File::new(&dir).open();
    connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let tx = sqlite::begin(&mut connection, Duration::ZERO).unwrap();
    let arrival = inbox_sql::Arrival::new(kit::key("k"), inbox_sql::Fingerprint::of(b"x"));
    let refused = sqlite::Inbox::new("scope").enter(&tx, &arrival);
    assert!(matches!(refused, Err(Error::ForeignKeysOff)), "{refused:?}");
}

#[test]
fn scopes_have_keys_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = File::new(&dir).open();
    let tx = sqlite::begin(&mut connection, Duration::ZERO).unwrap();
    let _ = sqlite::Inbox::new("one").probe(&tx, &kit::key("k")).unwrap();
    let arrival = inbox_sql::Arrival::new(kit::key("k"), inbox_sql::Fingerprint::of(b"x"));
    let other = sqlite::Inbox::new("other").enter(&tx, &arrival).unwrap();
    assert!(matches!(other, inbox_sql::Entry::First(_)));
}
