//! PostgreSQL plays the conformance kit, on a server of its own.
//!
//! Where PostgreSQL is not installed it says `not run`, never `ok`.

mod kit;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use inbox_sql::layer::{self, PostgresOpen, Tx};
use inbox_sql::{Collection, Compensation, Entry, Ticket, postgres};
use kit::document::Value;
use kit::{Command, Hand, Sessions};
use own_postgres::Cluster;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Transaction};

type Test = fn(&Server);

const TESTS: &[(&str, Test)] = &[
    ("the_scripts_are_played", |server| {
        for (name, script) in kit::scripts::of::<Database>() {
            println!("{name}");
            kit::check(server.database(), script);
        }
    }),
    ("one_key_of_a_crowd_is_run_once", |server| kit::crowd::one_key_is_run_once(server.database())),
    ("interleavings_are_as_the_model_says", |server| kit::model::check(20, || (server.database(), ()))),
    ("the_layer_does_it_for_a_handler", |server| kit::layer::all(&|| server.database())),
    ("a_commit_that_is_not_answered_is_uncertain", commit_unanswered),
    ("the_document_is_run", document),
    ("two_that_install_at_once_do_not_meet_halfway", install_at_once),
    ("isolation_levels_above_say_in_flight_and_never_twice", serializable),
];

fn main() -> ExitCode {
    // The standard harness's way to ask what there is. A runner that knows only "ok" and "failed" cannot say of this one
    // that it was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    // The server never loses power here; what a disk keeps is not what is tested.
    let cluster = match Cluster::start(dir.path(), &["fsync=off", "max_connections=100"]) {
        Ok(cluster) => cluster,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("not run: {error}");
            println!("test postgres ... ignored, not run\n\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("{error}\ntest postgres ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            return ExitCode::FAILURE;
        }
    };
    let server = Server { socket: cluster.socket().to_owned(), databases: AtomicU32::new(0) };
    server.fill_the_template();
    let mut failed = 0;
    for (name, test) in TESTS {
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&server))).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    let socket = server.socket.join(".s.PGSQL.5432");
    let served = UnixStream::connect(&socket).is_ok();
    drop(cluster);
    let ended = served && UnixStream::connect(&socket).is_err();
    println!("test the_server_ends_with_its_owner ... {}", if ended { "ok" } else { "FAILED" });
    failed += usize::from(!ended);
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed; 0 ignored", TESTS.len() + 1 - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Server {
    socket: PathBuf,
    databases: AtomicU32,
}

impl Server {
    fn named(&self, name: &str) -> Database {
        Database { socket: self.socket.clone(), name: name.to_owned() }
    }

    /// Every test has a database of its own, copied from this one.
    fn fill_the_template(&self) {
        let runtime = runtime();
        runtime.block_on(async {
            let (client, _) = self.named("postgres").connect().await;
            client.batch_execute("CREATE DATABASE prepared").await.unwrap();
            let (mut client, connection) = self.named("prepared").connect().await;
            let tx = client.transaction().await.unwrap();
            postgres::install(&tx).await.unwrap();
            tx.batch_execute("CREATE TABLE effects (name text NOT NULL)").await.unwrap();
            tx.commit().await.unwrap();
            let pid = pid_of(&client).await;
            drop(client);
            connection.await.unwrap();
            self.named("postgres").wait_for_the_end_of(pid).await;
        });
    }

    fn database(&self) -> Database {
        self.copy_of("prepared")
    }

    fn empty_database(&self) -> Database {
        self.copy_of("template0")
    }

    fn copy_of(&self, template: &str) -> Database {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        runtime().block_on(async {
            let (client, _) = self.named("postgres").connect().await;
            client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        });
        self.named(&name)
    }
}

#[derive(Clone)]
struct Database {
    socket: PathBuf,
    name: String,
}

impl Database {
    async fn connect(&self) -> (Client, JoinHandle<()>) {
        let mut config = Config::new();
        config.host_path(&self.socket).user(own_postgres::USER).dbname(&self.name);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        // Its error is every caller's error too.
        (client, tokio::spawn(async move { drop(connection.await) }))
    }

    /// A server learns of a broken connection in its own time.
    async fn wait_for_the_end_of(&self, pid: i32) {
        let began = Instant::now();
        let (client, _) = self.connect().await;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        while client.query_one(count, &[&pid]).await.unwrap().get::<_, i64>(0) > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "the server still serves a connection that is gone");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn pid_of(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Hand for Database {
    const ONE_WRITER: bool = false;

    fn serve(self, commands: Receiver<Command>, replies: Sender<String>) {
        runtime().block_on(async {
            let (mut client, mut connection) = self.connect().await;
            let mut pid = pid_of(&client).await;
            while let Ok(command) = commands.recv() {
                let end = match command {
                    Command::Begin(wait) => match postgres::begin(&mut client, wait).await {
                        Ok(tx) => {
                            replies.send("ok".into()).unwrap();
                            in_transaction(tx, &commands, &replies).await
                        }
                        Err(error) => End::Told(kit::error(&error)),
                    },
                    other => End::Told(outside(&mut client, other).await),
                };
                let told = match end {
                    End::Told(told) => told,
                    End::Vanished => {
                        connection.abort();
                        (client, connection) = self.connect().await;
                        self.wait_for_the_end_of(pid).await;
                        pid = pid_of(&client).await;
                        "ok".into()
                    }
                    End::Alone => return,
                };
                if replies.send(told).is_err() {
                    return;
                }
            }
        });
    }
}

enum End {
    Told(String),
    Vanished,
    Alone,
}

async fn in_transaction(tx: Transaction<'_>, commands: &Receiver<Command>, replies: &Sender<String>) -> End {
    let inbox = postgres::Inbox::new("scope");
    let mut in_hand: Option<Ticket> = None;
    loop {
        let Ok(command) = commands.recv() else { return End::Alone };
        let told = match command {
            Command::Enter(arrival) => inbox.enter(&tx, &arrival).await.map(|entry| {
                let told = kit::entry(&entry);
                if let Entry::First(ticket) = entry {
                    in_hand = Some(ticket);
                }
                told
            }),
            Command::Compensate(arrival, step) => inbox.compensate(&tx, &arrival, &step).await.map(|compensation| {
                let told = kit::compensation(&compensation);
                if let Compensation::First(ticket, _) = compensation {
                    in_hand = Some(ticket);
                }
                told
            }),
            Command::Finish(answer) => inbox.finish(&tx, in_hand.take().unwrap(), &answer).await.map(|()| "ok".into()),
            Command::Drop => {
                drop(in_hand.take());
                Ok("ok".into())
            }
            Command::Probe(key) => inbox.probe(&tx, &key).await.map(|settled| kit::settled(&settled)),
            Command::Event(partition, offset) => {
                postgres::event(&tx, "s", &partition, offset).await.map(|event| kit::event(&event))
            }
            Command::Commit => return End::Told(commit(tx).await),
            Command::Rollback => {
                return End::Told(tx.rollback().await.map_or_else(|error| error.to_string(), |()| "ok".into()));
            }
            Command::Vanish => {
                // Dropped, it would be rolled back in good order.
                std::mem::forget(tx);
                return End::Vanished;
            }
            other => Ok(statement(tx.client(), other).await),
        };
        if replies.send(told.unwrap_or_else(|error| kit::error(&error))).is_err() {
            return End::Alone;
        }
    }
}

async fn commit(tx: Transaction<'_>) -> String {
    match tx.commit().await {
        Ok(()) => "ok".into(),
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => "unanswered".into(),
        Err(error) => error.to_string(),
    }
}

async fn outside(client: &mut Client, command: Command) -> String {
    match command {
        Command::Install => {
            let tx = client.transaction().await.unwrap();
            match postgres::install(&tx).await {
                Ok(()) => tx.commit().await.map_or_else(|error| error.to_string(), |()| "ok".into()),
                Err(error) => kit::error(&error),
            }
        }
        Command::Collect(window_ms, rows_per_batch) => {
            let window = Duration::from_millis(window_ms);
            match postgres::collect(client, &Collection { window, rows_per_batch, batches_max: 2 }).await {
                Ok(collected) => kit::scripts::collected(&collected),
                Err(error) => kit::error(&error),
            }
        }
        other => statement(client, other).await,
    }
}

async fn statement(client: &Client, command: Command) -> String {
    let done = match command {
        Command::Effect(name) => client.execute("INSERT INTO effects VALUES ($1)", &[&name]).await.map(drop),
        Command::Sql(text) => client.batch_execute(&text).await,
        Command::Age(ms) => {
            client.execute("UPDATE tertium_inbox SET created_at_ms = created_at_ms - $1", &[&ms]).await.unwrap();
            client.execute("UPDATE tertium_offsets SET moved_at_ms = moved_at_ms - $1", &[&ms]).await.map(drop)
        }
        Command::Effects => {
            let rows = client.query("SELECT name FROM effects ORDER BY name COLLATE \"C\"", &[]).await.unwrap();
            return rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(" ");
        }
        other => panic!("not here: {other:?}"),
    };
    done.map_or_else(|error| error.to_string(), |()| "ok".into())
}

/// As a driver that blocks.
struct Blocking {
    runtime: Runtime,
    client: Client,
}

impl Blocking {
    fn connect(database: &Database) -> Self {
        let runtime = runtime();
        let (client, _) = runtime.block_on(database.connect());
        Self { runtime, client }
    }
}

impl kit::document::Connection for Blocking {
    const DIALECT: &'static str = "postgres";

    fn batch(&self, sql: &str) -> bool {
        self.runtime.block_on(self.client.batch_execute(sql)).is_ok()
    }

    fn change(&self, sql: &str, parameters: &[Value]) -> u64 {
        self.runtime.block_on(self.client.execute_typed(sql, &typed(parameters))).unwrap()
    }

    fn read(&self, sql: &str, parameters: &[Value]) -> Option<String> {
        let row = self.runtime.block_on(self.client.query_typed_opt(sql, &typed(parameters))).unwrap()?;
        Some(row.try_get::<_, String>(0).unwrap_or_else(|_| row.get::<_, i64>(0).to_string()))
    }
}

fn typed(parameters: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    parameters.iter().map(one_typed).collect()
}

fn one_typed(value: &Value) -> (&(dyn ToSql + Sync), Type) {
    match value {
        Value::Text(text) => (text, Type::TEXT),
        Value::Number(number) => (number, Type::INT8),
        Value::Bytes(bytes) => (bytes, Type::BYTEA),
    }
}

fn document(server: &Server) {
    let database = server.empty_database();
    kit::document::play(&Blocking::connect(&database), &Blocking::connect(&database));
}

/// The server goes away in the middle of a commit; here it does so always for one effect.
fn commit_unanswered(server: &Server) {
    let database = server.database();
    let dying = "
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER dying AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.name = 'doom') EXECUTE FUNCTION die()";
    Sessions::new(database.clone()).tell("a", Command::Sql(dying.into()));
    let script = "
        idempotency-key: k | doom 200 => 504 outcome-unknown
        idempotency-key: k | doom 409 => 409 run 2
        idempotency-key: k | doom 409 => 409 run 2, replayed";
    kit::layer::check(database, script.trim());
}

type Layered = layer::Postgres<Box<Client>>;

impl kit::layer::LayerHand for Database {
    type Database = Layered;

    fn database(&self) -> Layered {
        let database = self.clone();
        layer::Postgres::new(move || {
            let database = database.clone();
            Box::pin(async move { Ok(Box::new(database.connect().await.0)) })
        })
    }

    async fn execute(tx: &Tx<PostgresOpen<Box<Client>>>, statement: String) -> bool {
        match tx.lock().await {
            Ok(open) => open.batch_execute(&statement).await.is_ok(),
            Err(_) => false,
        }
    }
}

fn install_at_once(server: &Server) {
    let database = server.database();
    let installed: Vec<_> = (0..4)
        .map(|_| {
            let database = database.clone();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let (mut client, _) = database.connect().await;
                    client.batch_execute("CREATE SCHEMA IF NOT EXISTS fresh").await.ok();
                    client.batch_execute("SET search_path = fresh").await.unwrap();
                    let tx = client.transaction().await.unwrap();
                    postgres::install(&tx).await.unwrap();
                    tx.commit().await.unwrap();
                });
            })
        })
        .collect();
    installed.into_iter().for_each(|one| one.join().unwrap());
}

fn serializable(server: &Server) {
    let script = "
        a sql ALTER DATABASE DATABASE_NAME SET default_transaction_isolation = 'serializable'
        b begin
        b enter other x => first
        b finish 200
        c begin
        c enter k x => first
        c finish 201 paid
        b sql SELECT 1
        c commit
        b enter k x => in flight
        b rollback
        b begin
        b enter k x => again 201 paid";
    let database = server.database();
    kit::check(database.clone(), &script.replace("DATABASE_NAME", &database.name));
}
