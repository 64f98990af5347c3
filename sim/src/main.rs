//! Runs seeds of the simulation and says what they found.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tertium_sim::{Canary, Settings, Summary, run};

/// Runs the real machine, cell, log and archive in a simulated world with faults, and checks every answer.
#[derive(Parser, Debug)]
#[command(name = "tertium-sim", version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Run this one seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many clients there are.
    #[arg(long, default_value_t = 3)]
    clients: usize,
    /// For how long faults act in each seed, in seconds of simulated time.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Print what happened, line by line (with --seed).
    #[arg(long)]
    trace: bool,
    /// Plant a bug; `all` plants each in turn and requires that it is found within its number of seeds.
    #[arg(long)]
    canary: Option<String>,
    /// Run each seed twice and require the same trace.
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.canary.as_deref() {
        Some("all") => canaries(&arguments),
        Some(name) => match Canary::parse(name) {
            Some(canary) => seeds(&arguments, Some(canary)),
            None => {
                let names: Vec<_> = Canary::ALL.iter().map(|(canary, _)| canary.name()).collect();
                eprintln!("no canary `{name}`; there are: all, {}", names.join(", "));
                ExitCode::from(2)
            }
        },
        None => seeds(&arguments, None),
    }
}

fn settings(arguments: &Arguments, seed: u64, canary: Option<Canary>) -> Settings {
    Settings {
        clients: arguments.clients,
        faulty_us: arguments.seconds * 1_000_000,
        canary,
        trace: arguments.trace,
        ..Settings::of(seed)
    }
}

fn seeds(arguments: &Arguments, canary: Option<Canary>) -> ExitCode {
    let started = Instant::now();
    let mut summary = Summary::default();
    let range = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from + arguments.seeds,
    };
    for seed in range {
        let mut outcome = run(settings(arguments, seed, canary));
        for line in &outcome.lines {
            println!("{line}");
        }
        if arguments.twice {
            let again = run(settings(arguments, seed, canary));
            if again.trace_digest != outcome.trace_digest && outcome.violation.is_none() {
                outcome.violation = Some("the same seed gave another trace".to_owned());
            }
        }
        summary.add(&outcome);
    }
    println!("{summary}");
    let runs = if arguments.twice { 2.0 } else { 1.0 };
    let wall = started.elapsed().as_secs_f64();
    println!("simulated-per-wall: {:.0}", summary.total.simulated_us as f64 * runs / 1e6 / wall);
    let enough_seeds = canary.is_none() && arguments.seed.is_none() && arguments.seeds >= 100;
    let missed = enough_seeds && !summary.never().is_empty();
    if missed {
        println!("FAILED: a situation that should occur was never reached");
    }
    if summary.violations.is_empty() && !missed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn canaries(arguments: &Arguments) -> ExitCode {
    let mut missed = 0;
    for (canary, within) in Canary::ALL {
        let found = (arguments.from..arguments.from + within)
            .find_map(|seed| run(settings(arguments, seed, Some(canary))).violation.map(|what| (seed, what)));
        match found {
            Some((seed, what)) => {
                println!("found   {:<22} in seed {seed} of at most {within}: {what}", canary.name());
            }
            None => {
                println!("MISSED  {:<22} in {within} seeds", canary.name());
                missed += 1;
            }
        }
    }
    println!("{} canaries found, {missed} missed", Canary::ALL.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
