//! `tertium-bench`: the figures, the load generator by hand, the retail replay, and the services of the checkout.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tertium_bench::figures::{self, Options};
use tertium_bench::load::{self, Outcome, Plan};
use tertium_bench::process::release_binary;
use tertium_bench::shop::trade::Trade;
use tertium_bench::workload::{Accounts, Batches, Pairs, Transfers};
use tertium_bench::{accidents, ndjson, retail, shop, stream};

/// Measures Tertium. Without a subcommand: every figure of the project, against its target.
#[derive(Debug, Parser)]
#[command(name = "tertium-bench", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Work>,
    #[command(flatten)]
    figures: FiguresArguments,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Every figure of the project, against its target.
    Figures(FiguresArguments),
    /// Puts load on a server that is already running.
    Load(LoadArguments),
    /// Replays a real shop's half year while replies get lost and the server is killed.
    Retail(RetailArguments),
    /// Is one of the services that the tests call.
    Service(ServiceArguments),
}

#[derive(Debug, Args)]
struct ServiceArguments {
    /// Which.
    #[arg(value_enum)]
    service: Service,
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// Where its database is.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Do everything as often as it is asked for: what the inbox is there to prevent.
    #[arg(long)]
    without_inbox: bool,
    /// The desk takes an order and goes no further.
    #[arg(long)]
    hold: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Service {
    /// Products set aside for orders.
    Stock,
    /// Customers' purses.
    Payment,
    /// Parcels.
    Shipping,
    /// Messages to customers.
    Notification,
    /// What the accidents happen to.
    Desk,
}

#[derive(Debug, Args)]
struct FiguresArguments {
    /// Small counts, about two minutes: shows that everything works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only this row; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The report as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Where the data goes while it is measured: its file system is what is measured.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// The server to measure; built if absent.
    #[arg(long, value_name = "FILE", env = "TERTIUM_BIN")]
    binary: Option<PathBuf>,
    /// For everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Exit with 1 where a target was not reached or a row did not run.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Args)]
struct LoadArguments {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:7700")]
    addr: SocketAddr,
    /// How transfers are sent.
    #[arg(long, value_enum, default_value = "single")]
    mode: Mode,
    /// Connections, of the modes over HTTP/1.1.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests or frames in flight on each.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Accounts; those that are missing are opened first.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..))]
    accounts: u32,
    /// Every transfer between the same two accounts.
    #[arg(long)]
    hot: bool,
    /// How long, of single transfers, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many, of the bulk modes.
    #[arg(long, default_value_t = 1_000_000)]
    transfers: u64,
    /// Transfers to a batch or frame.
    #[arg(long, default_value_t = 8_000, value_parser = clap::value_parser!(u64).range(1..=8_192))]
    items: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// One transfer per request.
    Single,
    /// `POST /v1/transfers/batch`.
    Batches,
    /// The gRPC stream.
    Stream,
    /// The NDJSON stream.
    Ndjson,
}

#[derive(Debug, Args)]
struct RetailArguments {
    /// The lines, as CSV, with gzip or without; the half year beside the workspace, or the one day that comes with it.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The server; built if absent.
    #[arg(long, value_name = "FILE", env = "TERTIUM_BIN")]
    binary: Option<PathBuf>,
    /// Draws which replies get lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => measure(arguments.figures),
        Some(Work::Figures(figures)) => measure(figures),
        Some(Work::Load(load)) => put_load(&load).map(|()| ExitCode::SUCCESS),
        Some(Work::Retail(retail)) => replay_retail(retail).map(|()| ExitCode::SUCCESS),
        Some(Work::Service(service)) => serve(&service).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("tertium-bench: {error}");
        ExitCode::FAILURE
    })
}

fn measure(arguments: FiguresArguments) -> io::Result<ExitCode> {
    let FiguresArguments { quick, only, json, dir, binary, seed, strict } = arguments;
    let mut out = io::stdout().lock();
    // With JSON the rows still show on standard error that something is going on.
    let report = figures::run(Options { binary, dir, quick, only, seed }, |row| {
        if json { eprintln!("{row}") } else { println!("{row}") }
    })?;
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(if strict && !report.all_reached() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn put_load(arguments: &LoadArguments) -> io::Result<()> {
    let LoadArguments { addr, connections, in_flight, accounts, transfers, items, .. } = *arguments;
    // Those that are there are answered as they were first, or as existing.
    load::run(addr, Plan::all(64, 4), &mut Accounts::new(accounts))?;
    let pairs = if arguments.hot { Pairs::Hot } else { Pairs::Random(accounts) };
    let seed = fastrand::u64(..);
    let time_max = Duration::from_secs(arguments.seconds);
    let outcome = match arguments.mode {
        Mode::Single => {
            let plan = Plan { in_flight, ..Plan::timed(connections, time_max) };
            load::run(addr, plan, &mut Transfers::new(pairs, 0, seed))?
        }
        Mode::Batches => {
            let plan = Plan::all(connections, in_flight);
            load::run(addr, plan, &mut Batches::new(pairs, transfers, items, seed))?
        }
        Mode::Stream => stream::run(addr, stream::Plan { pairs, transfers, items, in_flight, seed })?,
        Mode::Ndjson => ndjson::run(addr, pairs, transfers, items * in_flight as u64, seed)?,
    };
    print(&outcome);
    Ok(())
}

fn print(outcome: &Outcome) {
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|quantile| outcome.quantile_ms(quantile));
    println!("{:.0} transfers/s: {} in {:.1?}", outcome.per_second(), outcome.transfers, outcome.elapsed);
    println!("latency p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, max {max:.3} ms");
    if let Some(first) = &outcome.first_failure {
        println!("{} of {} answers were failures, the first: {first}", outcome.failures, outcome.requests);
    }
}

fn replay_retail(arguments: RetailArguments) -> io::Result<()> {
    let data = arguments.data.unwrap_or_else(retail::data);
    let binary = arguments.binary.map_or_else(release_binary, Ok)?;
    println!("data       {}", data.display());
    println!("{}", retail::run(&binary, &data, arguments.seed)?);
    Ok(())
}

fn serve(arguments: &ServiceArguments) -> io::Result<()> {
    let ServiceArguments { service, listen, ref data, without_inbox, hold } = *arguments;
    let trade = match service {
        Service::Stock => Trade::Stock,
        Service::Payment => Trade::Payment,
        Service::Shipping => Trade::Shipping,
        Service::Notification => Trade::Notification,
        Service::Desk => return accidents::desk::run(listen, data, hold),
    };
    shop::service::run(trade, listen, data, !without_inbox)
}
