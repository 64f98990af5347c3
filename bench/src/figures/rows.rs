//! The rows, each a function that measures.

use std::io;
use std::process::{Command, Stdio};

use super::house::{ACCOUNTS, Bulk, BulkRun, House};
use super::{Figure, Row, Target, effects, quorum};
use crate::load::{self, Outcome, Plan};
use crate::probe;
use crate::process::built;
use crate::workload::{Pairs, Transfers};

/// A row before it is measured.
pub struct Line {
    /// Its name.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// Measures it into the row; what was measured before an error stays.
    pub measure: fn(&mut House, &mut Row) -> io::Result<()>,
}

/// The table.
pub const ROWS: [Line; 21] = [
    Line {
        name: "http-64",
        what: "one transfer per request, HTTP/1.1 keep-alive, 64 connections, 10,000 accounts",
        measure: |house, row| one_per_request(house, row, 64, 5.0),
    },
    Line {
        name: "http-1000",
        what: "the same at 1,000 connections",
        measure: |house, row| one_per_request(house, row, 1_000, 6.0),
    },
    Line { name: "hot", what: "every transfer between the same two accounts, 64 connections", measure: hot },
    Line { name: "replay", what: "decided keys again, against new transfers, 64 connections", measure: replay },
    Line {
        name: "single",
        what: "one waiting client, against one prewritten 4 KiB append with fdatasync",
        measure: single,
    },
    Line {
        name: "batches",
        what: "batches of 8,000 transfers, one client, 10,000 accounts",
        measure: |house, row| bulk(house, row, Bulk::Batches, true),
    },
    Line {
        name: "stream",
        what: "the gRPC stream, frames of 8,000 transfers, one client, 10,000 accounts",
        measure: |house, row| bulk(house, row, Bulk::Stream, true),
    },
    Line {
        name: "ndjson",
        what: "the NDJSON stream, one client, 10,000 accounts (no target)",
        measure: |house, row| bulk(house, row, Bulk::Ndjson, false),
    },
    Line { name: "memory", what: "resident memory with the big store", measure: memory },
    Line { name: "restart", what: "start to ready with the big store, after kill -9", measure: restart },
    Line {
        name: "checkpoint",
        what: "writes during checkpoints of the big store, against without",
        measure: checkpoint,
    },
    Line { name: "calls", what: "durable calls of a trivial local handler, 64 connections", measure: effects::calls },
    Line { name: "sagas", what: "saga runs of three steps, 64 connections", measure: effects::sagas },
    Line { name: "fan-out", what: "events to 10 webhooks, trivial local receivers", measure: effects::fan_out },
    Line { name: "layers", what: "the call layers over a bare hyper connection", measure: effects::layers },
    Line {
        name: "quorum-http",
        what: "log in PostgreSQL with two standbys (ANY 1): one transfer per request, 10,000 accounts",
        measure: quorum::one_per_request,
    },
    Line { name: "quorum-hot", what: "the same among ten accounts", measure: quorum::hot },
    Line { name: "quorum-batches", what: "the same in batches of 8,000, one client", measure: quorum::batches },
    Line { name: "quorum-price", what: "ANY 1 against the primary alone, 256 connections", measure: quorum::price },
    Line { name: "quorum-reads", what: "each level of reading at the leader, 64 connections", measure: quorum::reads },
    Line { name: "simulation", what: "simulated time per wall time, one core, 3 clients at load", measure: simulation },
];

fn one_per_request(house: &mut House, row: &mut Row, connections: usize, times: f64) -> io::Result<()> {
    // First, so that the server's data is not there while PostgreSQL runs.
    let baseline = house.baseline();
    let (outcome, cpu_us_each) = house.transfers(connections, Pairs::Random(ACCOUNTS))?;
    note_load(row, &outcome, cpu_us_each);
    let p99 = outcome.quantile_ms(0.99);
    if connections == 64 {
        row.figures.push(Figure::aim("p99", p99, "ms", Target::Under(10.0)));
    } else {
        row.figures.push(Figure::note("p99", p99, "ms"));
    }
    compare(row, &outcome, &baseline?.spread, times);
    Ok(())
}

fn hot(house: &mut House, row: &mut Row) -> io::Result<()> {
    let baseline = house.baseline();
    let (outcome, cpu_us_each) = house.transfers(64, Pairs::Hot)?;
    note_load(row, &outcome, cpu_us_each);
    row.figures.push(Figure::note("p99", outcome.quantile_ms(0.99), "ms"));
    compare(row, &outcome, &baseline?.hot, 25.0);
    Ok(())
}

fn note_load(row: &mut Row, outcome: &Outcome, cpu_us_each: f64) {
    row.figures.push(Figure::note("transfers", outcome.per_second(), "/s"));
    row.figures.push(Figure::note("p50", outcome.quantile_ms(0.5), "ms"));
    row.figures.push(Figure::note("the server's processor time per transfer", cpu_us_each, "us"));
    note_failures(row, outcome);
}

pub(super) fn note_failures(row: &mut Row, outcome: &Outcome) {
    if let Some(first) = &outcome.first_failure {
        row.remarks
            .push(format!("{} of {} answers were failures, the first: {first}", outcome.failures, outcome.requests));
    }
}

fn compare(row: &mut Row, outcome: &Outcome, (clients, baseline): &(usize, Outcome), times: f64) {
    let what = format!("PostgreSQL, {clients} clients");
    row.figures.push(Figure::note(&what, baseline.per_second(), "/s"));
    let ratio = outcome.per_second() / baseline.per_second();
    row.figures.push(Figure::aim("against PostgreSQL", ratio, "x", Target::AtLeast(times)));
}

fn replay(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (count, seed) = (house.sizes().replays, house.next_seed());
    let addr = house.server()?.addr();
    let mut workload = Transfers::new(Pairs::Random(ACCOUNTS), count as usize, seed);
    let plan = Plan { requests_max: count, ..Plan::all(64, 1) };
    let new = load::run(addr, plan, &mut workload)?;
    let again = load::run(addr, plan, &mut workload.into_replays())?;
    note_failures(row, &new);
    note_failures(row, &again);
    row.figures.push(Figure::note("new transfers", new.per_second(), "/s"));
    row.figures.push(Figure::note("replays", again.per_second(), "/s"));
    let ratio = again.per_second() / new.per_second();
    row.figures.push(Figure::aim("replays against new transfers", ratio, "x", Target::AtLeast(1.0)));
    Ok(())
}

fn single(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (count, seed, dir) = (house.sizes().single, house.next_seed(), house.dir().to_owned());
    let server = house.server()?;
    let mut workload = Transfers::new(Pairs::Random(ACCOUNTS), 0, seed);
    let plan = Plan { requests_max: count as u64, ..Plan::all(1, 1) };
    // The disk alone before and after, since its speed drifts.
    let mut alone = probe::append_and_sync(&dir, count / 2)?;
    let outcome = load::run(server.addr(), plan, &mut workload)?;
    alone.add(probe::append_and_sync(&dir, count / 2)?).map_err(io::Error::other)?;
    note_failures(row, &outcome);
    let disk_us = alone.value_at_quantile(0.5) as f64;
    let write_us = outcome.latency_us.value_at_quantile(0.5) as f64;
    row.figures.push(Figure::note("4 KiB append and fdatasync, p50", disk_us, "us"));
    row.figures.push(Figure::note("4 KiB append and fdatasync, p99", alone.value_at_quantile(0.99) as f64, "us"));
    row.figures.push(Figure::note("write, p50", write_us, "us"));
    row.figures.push(Figure::note("write, p99", outcome.latency_us.value_at_quantile(0.99) as f64, "us"));
    let ratio = write_us / disk_us.max(1.0);
    row.figures.push(Figure::aim("p50 of a write against the disk's", ratio, "x", Target::AtMost(1.5)));
    Ok(())
}

fn bulk(house: &mut House, row: &mut Row, bulk: Bulk, has_target: bool) -> io::Result<()> {
    let baseline = if has_target { Some(house.baseline()) } else { None };
    let BulkRun { outcome, bytes_each, cpu_us_each } = house.bulk(bulk)?;
    note_failures(row, &outcome);
    row.figures.push(Figure::note("transfers in the run", outcome.transfers as f64, ""));
    row.figures.push(Figure::note("transfers", outcome.per_second(), "/s"));
    row.figures.push(Figure::note("the server's processor time per transfer", cpu_us_each, "us"));
    if bulk != Bulk::Ndjson {
        row.figures.push(Figure::note("a batch or frame, p99", outcome.quantile_ms(0.99), "ms"));
    }
    let what = "written to disk per transfer, everything included";
    if let Some(baseline) = baseline {
        row.figures.push(Figure::aim(what, bytes_each, "B", Target::AtMost(500.0)));
        compare(row, &outcome, &baseline?.spread, 50.0);
    } else {
        row.figures.push(Figure::note(what, bytes_each, "B"));
    }
    Ok(())
}

const GIB: f64 = (1_u64 << 30) as f64;

fn memory(house: &mut House, row: &mut Row) -> io::Result<()> {
    let accounts = house.sizes().big_accounts;
    let big = house.big()?;
    note_failures(row, &big.filled);
    row.figures.push(Figure::note("accounts", f64::from(accounts), ""));
    row.figures.push(Figure::note("transfers in the store", big.transfers as f64, ""));
    row.figures.push(Figure::note("filled by the stream at", big.filled.per_second(), "/s"));
    let resident = big.resident_bytes as f64 / GIB;
    row.figures.push(Figure::aim("resident after the fill", resident, "GiB", Target::Under(2.0)));
    Ok(())
}

fn restart(house: &mut House, row: &mut Row) -> io::Result<()> {
    let big = house.big()?;
    let ready = big.restart()?.as_secs_f64();
    row.figures.push(Figure::note("transfers in the store", big.transfers as f64, ""));
    row.figures.push(Figure::aim("start to ready", ready, "s", Target::Under(10.0)));
    row.figures.push(Figure::note("resident then", big.resident_bytes_now()? as f64 / GIB, "GiB"));
    Ok(())
}

fn checkpoint(house: &mut House, row: &mut Row) -> io::Result<()> {
    let (sizes, seed) = (house.sizes(), house.next_seed());
    let paced = house.big()?.checkpoints(sizes, seed)?;
    note_failures(row, &paced.quiet);
    note_failures(row, &paced.busy);
    row.figures.push(Figure::note("writes, at 40 % of full load", paced.rate, "/s"));
    row.figures.push(Figure::note("checkpoints finished meanwhile", paced.checkpoints, ""));
    let (quiet, busy) = (paced.quiet.quantile_ms(0.999), paced.busy.quantile_ms(0.999));
    row.figures.push(Figure::note("p99.9 without", quiet, "ms"));
    row.figures.push(Figure::note("p99.9 during", busy, "ms"));
    if paced.checkpoints < 1.0 {
        return Err(io::Error::other("no checkpoint finished while it was measured"));
    }
    row.figures.push(Figure::aim("p99.9 during, against without", busy / quiet, "x", Target::AtMost(2.0)));
    Ok(())
}

/// Its last line that begins so is the figure.
const SIMULATED: &str = "simulated-per-wall:";

fn simulation(house: &mut House, row: &mut Row) -> io::Result<()> {
    let binary = built("tertium-sim", "tertium-sim")?;
    // Nothing else on the machine.
    house.close();
    let seeds = if house.sizes().is_quick { "10" } else { "100" };
    let output = Command::new(binary).args(["--clients", "3", "--seeds", seeds]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let ratio = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(SIMULATED))
        .filter_map(|rest| rest.trim().trim_end_matches('x').replace(',', "").parse().ok())
        .next_back()
        .ok_or_else(|| io::Error::other(format!("no line `{SIMULATED} <number>` in: {text}")))?;
    row.figures.push(Figure::aim("simulated time per wall time", ratio, "x", Target::AtLeast(1_000.0)));
    Ok(())
}
