//! A server of one's own, logs in schemas of their own, and plain SQL beside them.

use own_postgres::Cluster;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tertium_log_postgres::{Environment, LogOptions, LogPostgres, Settings};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use words::CellName;

/// How long what must come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// One server in a directory that goes with it.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) dir: tempfile::TempDir,
}

/// Never a power cut here; what a disk keeps is not what is tested.
pub(crate) const SETTINGS: &[&str] = &["fsync=off", "max_connections=60", "shared_buffers=32MB"];

impl Server {
    pub(crate) fn start() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let cluster = Cluster::start(dir.path(), SETTINGS)?;
        Ok(Self { cluster, dir })
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(self.cluster.socket())
    }

    pub(crate) fn sql(&self) -> Sql {
        Sql::connect(self.cluster.socket())
    }

    pub(crate) fn open(&self, schema: &str) -> LogPostgres {
        LogPostgres::open(self.settings(), options(schema)).expect("the log can be opened")
    }
}

pub(crate) fn settings(socket: &Path) -> Settings {
    settings_of(socket, own_postgres::USER, "postgres", &Environment::default())
}

pub(crate) fn settings_of(socket: &Path, user: &str, database: &str, environment: &Environment) -> Settings {
    let host = socket.display().to_string().replace('/', "%2F");
    Settings::parse(&format!("postgres://{user}@{host}/{database}"), environment).expect("a URL")
}

/// A schema that no other test has.
pub(crate) fn new_schema() -> String {
    format!("log_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn options(schema: &str) -> LogOptions {
    LogOptions {
        schema: schema.to_owned(),
        partition_entries: 64,
        takes_unsafe_server: true,
        append_wait: Duration::from_secs(20),
        ..LogOptions::new(cell(), 0x1234)
    }
}

pub(crate) fn cell() -> CellName {
    CellName::new("main").expect("a name")
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Plain SQL, on a connection of its own.
pub(crate) struct Sql {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

impl Sql {
    pub(crate) fn connect(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).user(own_postgres::USER).dbname("postgres").application_name("test");
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.expect("the server is there");
            // Its error is every caller's error too.
            tokio::spawn(async move { drop(connection.await) });
            client
        });
        Self { runtime, client }
    }

    #[track_caller]
    pub(crate) fn run(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).expect(statements);
    }

    /// The first column of each row, as text.
    #[track_caller]
    pub(crate) fn column(&self, query: &str) -> Vec<String> {
        let messages = self.runtime.block_on(self.client.simple_query(query)).expect(query);
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(first).collect()
    }

    /// Changes a setting of the server, and waits until new sessions have it.
    #[track_caller]
    pub(crate) fn set(&self, socket: &Path, name: &str, value: &str) {
        self.run(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.run("SELECT pg_reload_conf()");
        wait_until(name, || Sql::connect(socket).column(&format!("SHOW {name}")) == [value]);
    }

    /// Ends every session of the logs, and waits for their ends.
    pub(crate) fn terminate(&self) {
        self.run("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'tertium'");
    }
}
