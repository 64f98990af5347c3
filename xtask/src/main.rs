//! What the project does for itself: tests, house rules, the map, the fuzzers, the proof that the machine is pure.
//!
//! Each command prints its steps as they run and ends with what ran, what failed and what was not run, and why. Its exit
//! code is 0 only if nothing failed.

mod deny;
mod fuzz;
mod house;
mod packages;
mod process;
mod purity;
mod steps;
mod tally;
mod test;
mod tidy;
mod wasm;

use std::process::ExitCode;

use house::House;

/// One subcommand.
struct Subcommand {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&House, &[String]) -> Result<bool, String>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "test",
        summary: "everything that must hold before a change is kept",
        help: test::HELP,
        run: test::run,
    },
    Subcommand {
        name: "ci",
        summary: "what .ci/run runs: test, on a machine that is new",
        help: test::HELP,
        run: test::run,
    },
    Subcommand {
        name: "sim",
        summary: "simulated worlds, each drawn from a seed",
        help: "cargo xtask sim [--seeds N] [--seed S] ...\n\nRuns the simulator in release; all arguments are its own. `cargo xtask sim -- --help` lists them.",
        run: steps::sim,
    },
    Subcommand {
        name: "bench",
        summary: "the figures, each as a ratio taken in one run",
        help: "cargo xtask bench ...\n\nInstalls PostgreSQL 15 if it is missing (as root), then runs the bench in release; all arguments are its own.\n`cargo xtask bench -- --help` lists them.",
        run: steps::bench,
    },
    Subcommand {
        name: "lab",
        summary: "three nodes and a replicated database, to break on purpose",
        help: "cargo xtask lab ...\n\nAs root: installs what is missing (PostgreSQL, iproute2, nftables, libfaketime), builds the server and starts the lab in\nnetwork namespaces of its own. Commands are read from standard input; `help` lists them, and docs/lab.md tells what to try.\n`cargo xtask lab -- --help` lists its arguments.",
        run: steps::lab,
    },
    Subcommand {
        name: "tidy",
        summary: "the house rules that a machine can check",
        help: "cargo xtask tidy [--rules]\n\nChecks the rules that neither rustc nor clippy knows. `--rules` lists them with their reasons.",
        run: tidy::run,
    },
    Subcommand {
        name: "map",
        summary: "writes ARCHITECTURE.md's map from the crates' first lines",
        help: "cargo xtask map\n\nRewrites the map in ARCHITECTURE.md: one line for each member, in the workspace's order, from its first `//!` line.",
        run: tidy::write_map,
    },
    Subcommand { name: "fuzz", summary: "runs the fuzz targets", help: fuzz::HELP, run: fuzz::run },
    Subcommand {
        name: "purity",
        summary: "proves that the machine needs nothing from its host",
        help: purity::HELP,
        run: purity::run,
    },
    Subcommand {
        name: "deny",
        summary: "licences, bans and sources of what is linked in",
        help: "cargo xtask deny\n\nRuns cargo-deny over deny.toml without its advisories; builds cargo-deny into target/tools if it is missing.",
        run: deny::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print_help();
        return ExitCode::from(2);
    };
    if ["--help", "-h", "help"].contains(&name.as_str()) {
        print_help();
        return ExitCode::SUCCESS;
    }
    let Some(subcommand) = SUBCOMMANDS.iter().find(|s| s.name == name) else {
        eprintln!("xtask: there is no `{name}`");
        print_help();
        return ExitCode::from(2);
    };
    if rest.first().is_some_and(|first| first == "--help" || first == "-h") {
        println!("{}", subcommand.help);
        return ExitCode::SUCCESS;
    }
    let rest = if rest.first().is_some_and(|first| first == "--") { &rest[1..] } else { rest };
    match House::find().and_then(|house| (subcommand.run)(&house, rest)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_help() {
    println!("cargo xtask <subcommand> [--help]\n");
    for subcommand in SUBCOMMANDS {
        println!("  {:8}{}", subcommand.name, subcommand.summary);
    }
}
