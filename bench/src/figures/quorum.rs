//! The rows of a cell whose log is in PostgreSQL: a primary with two standbys on the same two cores, of which one must have each
//! entry before it counts. The baseline is the same transfer as one call of an SQL function in the same PostgreSQL.

use std::io;
use std::time::Duration;

use tempfile::TempDir;

use super::house::{ACCOUNTS, Bulk, House, Sizes, open_accounts, send_bulk, timed};
use super::rows::note_failures;
use super::{Figure, Row, Target};
use crate::load::Outcome;
use crate::postgres::{self, Cluster, Standbys};
use crate::process::{Launch, Server};
use crate::workload::{Balances, Pairs, Transfers};

/// The client counts of which each side has its best.
const CLIENTS: [usize; 4] = [16, 64, 128, 256];

/// Connections at which latencies are compared, and those at which the price of the standbys is.
const SOME: usize = 64;
const MANY: usize = 256;

/// The accounts of the row that has few.
const HOT_ACCOUNTS: u32 = 10;

/// A batch takes this part of the transfers that a log on files is given: each goes through three write-ahead logs.
const BULK_PART: u64 = 5;

/// PostgreSQL with its standbys, and what it does by itself.
#[derive(Debug)]
pub struct Quorum {
    cluster: Cluster,
    spread: Sides,
    hot: Sides,
    alone: Outcome,
    servers: u32,
    _dir: TempDir,
}

/// What was measured, by the count of clients.
#[derive(Debug)]
struct Sides(Vec<(usize, Outcome)>);

impl Sides {
    fn best(&self) -> &(usize, Outcome) {
        let faster = |a: &&(usize, Outcome), b: &&(usize, Outcome)| a.1.per_second().total_cmp(&b.1.per_second());
        self.0.iter().max_by(faster).expect("there are several")
    }

    fn at(&self, clients: usize) -> &Outcome {
        &self.0.iter().find(|(count, _)| *count == clients).expect("it is one of the counts").1
    }
}

impl Quorum {
    /// Starts all three, and measures the baseline while nothing else runs.
    ///
    /// # Errors
    /// Where PostgreSQL is not there, or does not start: why it was not run.
    pub(super) fn set_up(house: &mut House) -> io::Result<Self> {
        let (sizes, seed) = (house.sizes(), house.next_seed());
        postgres::install()?;
        let dir = tempfile::Builder::new().prefix("quorum-").tempdir_in(house.dir())?;
        let cluster = Cluster::start_with(dir.path(), ACCOUNTS, Standbys::AnyOneOfTwo)?;
        let measure = |clients, pairs, time| cluster.measure(clients, pairs, time, seed ^ clients as u64);
        measure(16, Pairs::Random(ACCOUNTS), sizes.warm_up)?;
        let sides = |pairs| -> io::Result<Sides> {
            let measured = CLIENTS.map(|clients| Ok((clients, measure(clients, pairs, sizes.time)?)));
            measured.into_iter().collect::<io::Result<Vec<_>>>().map(Sides)
        };
        let (spread, hot) = (sides(Pairs::Random(ACCOUNTS))?, sides(Pairs::Random(HOT_ACCOUNTS))?);
        let alone = measure(1, Pairs::Random(ACCOUNTS), sizes.time)?;
        Ok(Self { cluster, spread, hot, alone, servers: 0, _dir: dir })
    }

    /// A server with a log of its own in it, and accounts.
    fn server(&mut self, launch: Launch, durability: &str) -> io::Result<Server> {
        self.servers += 1;
        let launch = launch
            .with("--log", &self.cluster.url())
            .with("--log-schema", &format!("cell_{}", self.servers))
            .with("--log-durability", durability);
        let server = launch.start()?;
        open_accounts(&server, ACCOUNTS)?;
        Ok(server)
    }
}

/// So many connections for the usual time, after a warm-up.
fn transfers(server: &Server, sizes: Sizes, connections: usize, pairs: Pairs, seed: u64) -> io::Result<Outcome> {
    Ok(timed(server, sizes, connections, &mut Transfers::new(pairs, 0, seed))?.0)
}

fn sides(server: &Server, sizes: Sizes, pairs: Pairs, seed: u64) -> io::Result<Sides> {
    let measured =
        CLIENTS.map(|clients| Ok((clients, transfers(server, sizes, clients, pairs, seed ^ clients as u64)?)));
    measured.into_iter().collect::<io::Result<Vec<_>>>().map(Sides)
}

fn compare(
    row: &mut Row,
    (clients, ours): &(usize, Outcome),
    (baseline_clients, baseline): &(usize, Outcome),
    times: f64,
) {
    note_failures(row, ours);
    row.figures.push(Figure::note(&format!("transfers, {clients} connections"), ours.per_second(), "/s"));
    let what = format!("the same as rows in SQL, {baseline_clients} clients");
    row.figures.push(Figure::note(&what, baseline.per_second(), "/s"));
    let ratio = ours.per_second() / baseline.per_second();
    row.figures.push(Figure::aim("against rows in SQL", ratio, "x", Target::AtLeast(times)));
}

pub(super) fn one_per_request(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (sizes, seed, launch) = (house.sizes(), house.next_seed(), house.launch("quorum-http")?);
    let quorum = house.quorum()?;
    let server = quorum.server(launch, "quorum")?;
    let ours = sides(&server, sizes, Pairs::Random(ACCOUNTS), seed)?;
    compare(row, ours.best(), quorum.spread.best(), 6.0);
    let (p50, rows_p50) = (ours.at(SOME).quantile_ms(0.5), quorum.spread.at(SOME).quantile_ms(0.5));
    row.figures.push(Figure::note("p50, 64 connections", p50, "ms"));
    row.figures.push(Figure::note("p99, 64 connections", ours.at(SOME).quantile_ms(0.99), "ms"));
    row.figures.push(Figure::note("p50 of rows in SQL, 64 clients", rows_p50, "ms"));
    row.figures.push(Figure::aim("p50 against rows in SQL, 64 clients", p50 / rows_p50, "x", Target::AtMost(0.5)));
    let alone = transfers(&server, sizes, 1, Pairs::Random(ACCOUNTS), seed)?;
    note_failures(row, &alone);
    row.figures.push(Figure::note("one waiting client: p50", alone.quantile_ms(0.5), "ms"));
    row.figures.push(Figure::note("one waiting client, rows in SQL: p50", quorum.alone.quantile_ms(0.5), "ms"));
    Ok(())
}

pub(super) fn hot(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (sizes, seed, launch) = (house.sizes(), house.next_seed(), house.launch("quorum-hot")?);
    let quorum = house.quorum()?;
    let server = quorum.server(launch, "quorum")?;
    let ours = sides(&server, sizes, Pairs::Random(HOT_ACCOUNTS), seed)?;
    compare(row, ours.best(), quorum.hot.best(), 20.0);
    Ok(())
}

pub(super) fn batches(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (count, seed, launch) = (house.sizes().bulk / BULK_PART, house.next_seed(), house.launch("quorum-batches")?);
    let quorum = house.quorum()?;
    let server = quorum.server(launch, "quorum")?;
    let outcome = send_bulk(&server, Bulk::Batches, ACCOUNTS, count, seed)?;
    row.figures.push(Figure::note("transfers in the run", outcome.transfers as f64, ""));
    compare(row, &(3, outcome), quorum.spread.best(), 20.0);
    Ok(())
}

/// The price of a quorum: the same server, whose log waits for its own disk only.
pub(super) fn price(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (sizes, seed) = (house.sizes(), house.next_seed());
    let launches = [house.launch("quorum-any")?, house.launch("quorum-one")?];
    let quorum = house.quorum()?;
    // Each in turn, twice, since the machine's speed drifts.
    let [mut of_quorum, mut of_one] = [Vec::new(), Vec::new()];
    let [any, one] = launches;
    let (any, one) = (quorum.server(any, "quorum")?, quorum.server(one, "one")?);
    for turn in 0..2 {
        of_one.push(transfers(&one, sizes, MANY, Pairs::Random(ACCOUNTS), seed + 2 * turn)?);
        of_quorum.push(transfers(&any, sizes, MANY, Pairs::Random(ACCOUNTS), seed + 2 * turn + 1)?);
    }
    of_one.iter().chain(&of_quorum).for_each(|outcome| note_failures(row, outcome));
    let mean = |outcomes: &[Outcome]| outcomes.iter().map(Outcome::per_second).sum::<f64>() / outcomes.len() as f64;
    let (of_quorum, of_one) = (mean(&of_quorum), mean(&of_one));
    row.figures.push(Figure::note("transfers, 256 connections, ANY 1", of_quorum, "/s"));
    row.figures.push(Figure::note("transfers, 256 connections, the primary alone", of_one, "/s"));
    let cost = (1.0 - of_quorum / of_one) * 100.0;
    row.figures.push(Figure::aim("what ANY 1 costs of the throughput", cost, "%", Target::AtMost(25.0)));
    Ok(())
}

/// What each level of reading costs at the leader.
pub(super) fn reads(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (sizes, seed, launch) = (house.sizes(), house.next_seed(), house.launch("quorum-reads")?);
    let quorum = house.quorum()?;
    let server = quorum.server(launch, "quorum")?;
    let sizes = Sizes { time: sizes.time.min(Duration::from_secs(5)), ..sizes };
    for level in ["linearizable", "session", "bounded=1000", "eventual"] {
        let mut workload = Balances::new(ACCOUNTS, level, seed);
        let (outcome, _) = timed(&server, sizes, SOME, &mut workload)?;
        note_failures(row, &outcome);
        row.figures.push(Figure::note(&format!("{level}: reads, 64 connections"), outcome.per_second(), "/s"));
        row.figures.push(Figure::note(&format!("{level}: p50"), outcome.quantile_ms(0.5), "ms"));
        row.figures.push(Figure::note(&format!("{level}: p99"), outcome.quantile_ms(0.99), "ms"));
    }
    Ok(())
}
