//! What the rows share: the directory, the server under load, the baseline, and runs that several rows look at.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Options;
use super::big::Big;
use super::quorum::Quorum;
use crate::call::Client;
use crate::load::{self, Outcome, Plan, Workload};
use crate::ndjson;
use crate::postgres::{self, Cluster};
use crate::process::{Launch, Server, release_binary};
use crate::storm::check::list;
use crate::stream;
use crate::workload::{Accounts, Batches, Pairs};

/// Accounts of the small store.
pub(super) const ACCOUNTS: u32 = 10_000;

/// Items of one batch, and of one frame.
const ITEMS: u64 = 8_000;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Time of one run at full load.
    pub time: Duration,
    /// Time before it, not counted.
    pub warm_up: Duration,
    /// Transfers of one bulk run.
    pub bulk: u64,
    /// Requests of the replay.
    pub replays: u64,
    /// Events that are delivered to webhooks.
    pub events: u64,
    /// Writes of one waiting client, and appends of the disk alone.
    pub single: usize,
    /// Accounts of the big store.
    pub big_accounts: u32,
    /// Transfers of the big store.
    pub big_transfers: u64,
    /// Time of one paced run.
    pub paced: Duration,
    /// Whether these are the small counts.
    pub is_quick: bool,
}

impl Sizes {
    const FULL: Self = Self {
        time: Duration::from_secs(10),
        warm_up: Duration::from_secs(2),
        bulk: 5_000_000,
        replays: 200_000,
        events: 20_000,
        single: 20_000,
        big_accounts: 1_000_000,
        big_transfers: 20_000_000,
        paced: Duration::from_secs(30),
        is_quick: false,
    };

    const QUICK: Self = Self {
        time: Duration::from_secs(2),
        warm_up: Duration::from_millis(500),
        bulk: 400_000,
        replays: 20_000,
        events: 1_000,
        single: 2_000,
        big_accounts: 20_000,
        big_transfers: 400_000,
        paced: Duration::from_secs(4),
        is_quick: true,
    };
}

/// How transfers are sent in bulk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bulk {
    /// `POST /v1/transfers/batch`.
    Batches,
    /// The gRPC stream.
    Stream,
    /// The NDJSON stream.
    Ndjson,
}

/// A bulk run and what it cost.
#[derive(Clone, Debug)]
pub struct BulkRun {
    /// What the client saw.
    pub outcome: Outcome,
    /// Bytes the server wrote to disk, per transfer.
    pub bytes_each: f64,
    /// Processor time of the server, per transfer, in microseconds.
    pub cpu_us_each: f64,
}

/// PostgreSQL's figures.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Over all accounts: at so many clients.
    pub spread: (usize, Outcome),
    /// Between two: at so many clients.
    pub hot: (usize, Outcome),
    settings: String,
}

/// What the rows share.
#[derive(Debug)]
pub struct House {
    dir: TempDir,
    binary: PathBuf,
    sizes: Sizes,
    seed: u64,
    baseline: Option<Result<Baseline, String>>,
    server: Option<Server>,
    bulk: HashMap<Bulk, BulkRun>,
    big: Option<Big>,
    quorum: Option<Quorum>,
}

impl House {
    /// Makes the directory and finds the server.
    ///
    /// # Errors
    /// Where there is no directory or no server.
    pub fn set_up(options: Options) -> io::Result<Self> {
        Ok(Self {
            dir: tempfile::Builder::new().prefix("tertium-bench-").tempdir_in(&options.dir)?,
            binary: options.binary.map_or_else(release_binary, Ok)?,
            sizes: if options.quick { Sizes::QUICK } else { Sizes::FULL },
            seed: options.seed,
            baseline: None,
            server: None,
            bulk: HashMap::new(),
            big: None,
            quorum: None,
        })
    }

    /// Where the data is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How much of everything.
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Another seed each time.
    pub const fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.seed
    }

    /// What PostgreSQL is and how it is set, or why it did not run.
    pub fn postgres_facts(&self) -> String {
        match &self.baseline {
            None => "not asked for".to_owned(),
            Some(Ok(baseline)) => baseline.settings.clone(),
            Some(Err(why)) => format!("not run: {why}"),
        }
    }

    /// The baseline; measured when first asked for.
    ///
    /// # Errors
    /// Why it was not run.
    pub fn baseline(&mut self) -> io::Result<Baseline> {
        let measured = match self.baseline.take() {
            Some(measured) => measured,
            None => {
                // Alone on the machine, as the server is when it is measured.
                self.close();
                self.measure_baseline().map_err(|error| error.to_string())
            }
        };
        self.baseline = Some(measured.clone());
        measured.map_err(|why| io::Error::other(format!("no PostgreSQL to compare with: {why}")))
    }

    fn measure_baseline(&mut self) -> io::Result<Baseline> {
        let (time, warm_up, seed) = (self.sizes.time, self.sizes.warm_up, self.next_seed());
        postgres::install()?;
        let cluster = Cluster::start(self.dir.path(), ACCOUNTS)?;
        let settings = cluster.settings()?;
        cluster.measure(16, Pairs::Random(ACCOUNTS), warm_up, seed)?;
        let spread = postgres::best(&cluster, Pairs::Random(ACCOUNTS), time, seed + 1)?;
        let hot = postgres::best(&cluster, Pairs::Hot, time, seed + 3)?;
        Ok(Baseline { spread, hot, settings })
    }

    /// How a server of this name is started.
    ///
    /// # Errors
    /// Where no port is free.
    pub fn launch(&self, name: &str) -> io::Result<Launch> {
        let mut launch = Launch::new(&self.binary, &self.dir.path().join(name))?;
        launch.patience = Duration::from_secs(120);
        Ok(launch)
    }

    /// The server with the small store.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn server(&mut self) -> io::Result<&Server> {
        let server = match self.server.take() {
            Some(server) => server,
            None => self.fresh("small", ACCOUNTS)?,
        };
        Ok(self.server.insert(server))
    }

    /// Stops the small store's server, and PostgreSQL with its standbys; their data goes.
    pub fn close(&mut self) {
        self.quorum = None;
        if let Some(server) = self.server.take() {
            let data = server.launch().data.clone();
            drop(server);
            remove(&data);
        }
    }

    /// A server of its own, with accounts.
    ///
    /// # Errors
    /// Where it does not start, or refuses an account.
    pub fn fresh(&self, name: &str, accounts: u32) -> io::Result<Server> {
        let server = self.launch(name)?.start()?;
        open_accounts(&server, accounts)?;
        Ok(server)
    }

    /// One transfer per request, so many connections, for the usual time after a warm-up.
    ///
    /// # Errors
    /// Where the load can not be put on.
    pub fn transfers(&mut self, connections: usize, pairs: Pairs) -> io::Result<(Outcome, f64)> {
        let (sizes, seed) = (self.sizes, self.next_seed());
        let server = self.server()?;
        let mut workload = crate::workload::Transfers::new(pairs, 0, seed);
        timed(server, sizes, connections, &mut workload)
    }

    /// A bulk run on a server of its own; measured when first asked for.
    ///
    /// # Errors
    /// Where it does not get through.
    pub fn bulk(&mut self, bulk: Bulk) -> io::Result<BulkRun> {
        if let Some(run) = self.bulk.get(&bulk) {
            return Ok(run.clone());
        }
        self.close();
        let server = self.fresh("bulk", ACCOUNTS)?;
        let (bytes, cpu) = (quiet_bytes(&server)?, server.cpu_us()?);
        let outcome = send_bulk(&server, bulk, ACCOUNTS, self.sizes.bulk, self.next_seed())?;
        let cpu_us_each = (server.cpu_us()? - cpu) as f64 / outcome.transfers.max(1) as f64;
        let bytes_each = (quiet_bytes(&server)? - bytes) as f64 / outcome.transfers.max(1) as f64;
        let launch = server.kill()?;
        let server = launch.start()?;
        require_all(&server, ACCOUNTS, outcome.transfers)?;
        drop(server);
        remove(&launch.data);
        let run = BulkRun { outcome, bytes_each, cpu_us_each };
        self.bulk.insert(bulk, run.clone());
        Ok(run)
    }

    /// The big store; filled when first asked for.
    ///
    /// # Errors
    /// Where it can not be filled.
    pub fn big(&mut self) -> io::Result<&mut Big> {
        self.close();
        let big = match self.big.take() {
            Some(big) => big,
            None => Big::fill(self)?,
        };
        Ok(self.big.insert(big))
    }

    /// PostgreSQL with its standbys; started when first asked for, on a machine that does nothing else.
    ///
    /// # Errors
    /// Why it was not run.
    pub fn quorum(&mut self) -> io::Result<&mut Quorum> {
        let quorum = match self.quorum.take() {
            Some(quorum) => quorum,
            None => {
                self.close();
                let set_up = Quorum::set_up(self);
                set_up.map_err(|error| io::Error::other(format!("no PostgreSQL with standbys: {error}")))?
            }
        };
        Ok(self.quorum.insert(quorum))
    }
}

/// So many connections for the usual time after a warm-up, and the server's processor time for each transfer.
///
/// # Errors
/// Where the load can not be put on.
pub(super) fn timed(
    server: &Server,
    sizes: Sizes,
    connections: usize,
    workload: &mut dyn Workload,
) -> io::Result<(Outcome, f64)> {
    load::run(server.addr(), Plan::timed(connections, sizes.warm_up), workload)?;
    let cpu = server.cpu_us()?;
    let outcome = load::run(server.addr(), Plan::timed(connections, sizes.time), workload)?;
    let cpu_us_each = (server.cpu_us()? - cpu) as f64 / outcome.transfers.max(1) as f64;
    Ok((outcome, cpu_us_each))
}

/// Sends so many transfers in bulk.
///
/// # Errors
/// Where they do not get through.
pub(super) fn send_bulk(server: &Server, bulk: Bulk, accounts: u32, transfers: u64, seed: u64) -> io::Result<Outcome> {
    let pairs = Pairs::Random(accounts);
    match bulk {
        Bulk::Batches => load::run(server.addr(), Plan::all(3, 1), &mut Batches::new(pairs, transfers, ITEMS, seed)),
        Bulk::Stream => {
            let plan = stream::Plan { pairs, transfers, items: ITEMS, in_flight: 4, seed };
            stream::run(server.addr(), plan)
        }
        Bulk::Ndjson => ndjson::run(server.addr(), pairs, transfers, 4 * ITEMS, seed),
    }
}

pub(super) fn open_accounts(server: &Server, accounts: u32) -> io::Result<()> {
    let opened = load::run(server.addr(), Plan::all(64, 4), &mut Accounts::new(accounts))?;
    match opened.first_failure {
        None => Ok(()),
        Some(why) => Err(io::Error::other(format!("{} accounts refused: {why}", opened.failures))),
    }
}

/// After a kill every acknowledged transfer must still be there: each changed two accounts, and no money was made.
///
/// # Errors
/// Where one is missing, or was made twice.
fn require_all(server: &Server, accounts: u32, transfers: u64) -> io::Result<()> {
    let mut client = Client::new(server.addr(), Duration::from_secs(10));
    let found = list(&mut client, "/v1/accounts?limit=1000")?;
    let changes: u64 = found.iter().filter_map(|account| account["version"].as_u64()).sum();
    let balance: i64 = found.iter().filter_map(|account| account["balance"].as_i64()).sum();
    if found.len() == accounts as usize && changes == u64::from(accounts) + 2 * transfers && balance == 0 {
        return Ok(());
    }
    let count = found.len();
    Err(io::Error::other(format!(
        "after a kill: {count} accounts, {changes} changes after {transfers} transfers, balances add up to {balance}"
    )))
}

/// Bytes written so far, once the server has come to rest: what it does behind the log counts too.
fn quiet_bytes(server: &Server) -> io::Result<u64> {
    let began = Instant::now();
    let (mut bytes, mut since) = (server.disk_bytes_written()?, Instant::now());
    while since.elapsed() < Duration::from_millis(1_500) && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
        let now = server.disk_bytes_written()?;
        // An idle log may still mark its end.
        if now > bytes + (64 << 10) {
            (bytes, since) = (now, Instant::now());
        }
    }
    server.disk_bytes_written()
}

fn remove(data: &Path) {
    // What stays goes with the whole directory in the end.
    let _ = std::fs::remove_dir_all(data);
}
