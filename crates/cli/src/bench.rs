//! `tertium bench`: a quick load from here against a server, to see what a machine can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use client::{Client, NewAccount, NewTransfer, Outcome, RetryOptions};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Fields, Format, grouped, print, print_json};
use crate::progress;
use crate::remote::{Remote, build, parse_duration};

/// Put a quick load on a server: one transfer per request, over so many connections
#[derive(Args, Debug)]
#[command(after_help = "\
The client shares this machine with the server, so that both have less of it; `cargo xtask bench` measures with care.
The accounts and transfers stay in the ledger, in a unit of their own.

Example:
  tertium bench --connections 64 --duration 10s")]
pub(crate) struct BenchArgs {
    /// How many requests are in flight at once, each on its own connection
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Between how many accounts
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(2..))]
    accounts: u32,
    #[command(flatten)]
    remote: Remote,
}

/// The slowest answer that is told apart: an hour, in microseconds.
const LATENCY_US_MAX: u64 = 3_600_000_000;

#[derive(Debug, Default)]
struct Counts {
    committed: AtomicU64,
    refused: AtomicU64,
    uncertain: AtomicU64,
    attempts: AtomicU64,
}

impl BenchArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        let retry = RetryOptions { retries_max: 0, ..RetryOptions::default() };
        let builder = self.remote.builder()?.settle_within(Duration::ZERO).retry(retry);
        let client = build(builder.idle_connections_max(usize::from(self.connections)))?;
        let run = format!("bench/{}", uuid::Uuid::now_v7().simple());
        self.open_accounts(&client, &run).await?;
        let counts = Arc::new(Counts::default());
        let begun = Instant::now();
        let until = begun + self.duration;
        let mut workers = tokio::task::JoinSet::new();
        for worker in 0..self.connections {
            let (client, counts, run, accounts) = (client.clone(), Arc::clone(&counts), run.clone(), self.accounts);
            workers.spawn(async move { work(&client, &counts, &run, u64::from(worker), accounts, until).await });
        }
        let bar = progress::spinner("answers");
        let mut latencies = histogram()?;
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        while !workers.is_empty() {
            tokio::select! {
                _ = tick.tick() => bar.set_position(counts.committed.load(Ordering::Relaxed)),
                Some(ended) = workers.join_next() => {
                    let part = ended.map_err(|error| Failure::new(error.to_string()))??;
                    latencies.add(part).map_err(|error| Failure::new(error.to_string()))?;
                }
            }
        }
        bar.finish_and_clear();
        report(&counts, &latencies, begun.elapsed(), &self, format)
    }

    async fn open_accounts(&self, client: &Client, run: &str) -> Result<(), Failure> {
        let bar = progress::bar(u64::from(self.accounts), "accounts");
        let mut opening = tokio::task::JoinSet::new();
        for n in 0..self.accounts {
            if opening.len() >= usize::from(self.connections) {
                finish_one(&mut opening).await?;
            }
            let (client, account) = (client.clone(), NewAccount::new(format!("{run}/{n}"), "bench").without_floor());
            opening.spawn(async move { client.open_account(&account).await.into_result() });
            bar.inc(1);
        }
        while !opening.is_empty() {
            finish_one(&mut opening).await?;
        }
        bar.finish_and_clear();
        Ok(())
    }
}

async fn finish_one(
    opening: &mut tokio::task::JoinSet<Result<client::Account, client::NotCommitted>>,
) -> Result<(), Failure> {
    match opening.join_next().await {
        Some(Ok(Err(error))) => Err(Failure::new(format!("an account could not be opened: {error}"))),
        Some(Err(error)) => Err(Failure::new(error.to_string())),
        _ => Ok(()),
    }
}

/// One connection's load. The latencies are in microseconds, those of answers only.
async fn work(
    client: &Client,
    counts: &Counts,
    run: &str,
    worker: u64,
    accounts: u32,
    until: Instant,
) -> Result<Histogram<u64>, Failure> {
    let mut latencies = histogram()?;
    let mut random = fastrand::Rng::with_seed(worker);
    for n in 0u64.. {
        if Instant::now() >= until {
            break;
        }
        let from = random.u32(0..accounts);
        let to = (from + random.u32(1..accounts)) % accounts;
        let transfer = NewTransfer::new(format!("{run}/{from}"), format!("{run}/{to}"), 1);
        let sent = Instant::now();
        let answer = client.transfer(&transfer).key(format!("{run}/{worker}/{n}")).await;
        let took_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.attempts.fetch_add(u64::from(answer.attempts), Ordering::Relaxed);
        let count = match answer.outcome {
            Outcome::Committed(_) => {
                latencies.saturating_record(took_us);
                &counts.committed
            }
            Outcome::Refused(_) => &counts.refused,
            Outcome::Uncertain(_) => &counts.uncertain,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(latencies)
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(|error| Failure::new(error.to_string()))
}

fn report(counts: &Counts, latencies: &Histogram<u64>, took: Duration, args: &BenchArgs, format: Format) -> Ended {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (committed, refused, uncertain) = (of(&counts.committed), of(&counts.refused), of(&counts.uncertain));
    let per_second = committed as f64 / took.as_secs_f64();
    let quantiles = [0.5, 0.99, 0.999].map(|q| latencies.value_at_quantile(q));
    match format {
        Format::Json => print_json(&json!({
            "server": args.remote.server(),
            "connections": args.connections,
            "accounts": args.accounts,
            "duration_ms": took.as_millis() as u64,
            "committed": committed,
            "refused": refused,
            "uncertain": uncertain,
            "requests": of(&counts.attempts),
            "per_second": per_second.round(),
            "latency_us": {"p50": quantiles[0], "p99": quantiles[1], "p999": quantiles[2], "max": latencies.max()},
        }))?,
        Format::Human => {
            let ms = |us: u64| format!("{:.2} ms", us as f64 / 1_000.0);
            let mut fields = Fields::default();
            fields
                .add("committed", grouped(committed))
                .add("refused", grouped(refused))
                .add("uncertain", grouped(uncertain));
            fields.add("per second", grouped(per_second.round() as u64));
            fields.add("p50", ms(quantiles[0])).add("p99", ms(quantiles[1])).add("p99.9", ms(quantiles[2]));
            fields.add("slowest", ms(latencies.max()));
            print(format_args!("{} connections for {:.1} s\n{fields}", args.connections, took.as_secs_f64()))?;
        }
    }
    if committed == 0 {
        return Err(Failure::new("nothing committed: is the server there?"));
    }
    Ok(if uncertain > 0 { Exit::Uncertain } else { Exit::Done })
}
