//! `cargo xtask test`: the table of what must hold.

use crate::house::House;
use crate::steps::{self, Action, Step};
use crate::{deny, fuzz, packages, purity, tidy};

pub(crate) const HELP: &str = "\
cargo xtask test [--quick] [--only STEP[,STEP]...] [--list]

Runs everything that must hold, and installs what that needs where it may (as root, with apt-get).
  --quick   only what takes seconds: formatting, lints, house rules, unit tests, a few simulated worlds
  --only    only these steps
  --list    names the steps";

/// How many simulated worlds, each from its own seed: what takes about three minutes on two cores.
const SIM_SEEDS_FULL: &str = "15000";
const SIM_SEEDS_QUICK: &str = "500";

const SIM_QUICK: &str = "sim-quick";

const NONE: &[(&str, &str)] = &[];

/// In the order of what fails soonest for the least work.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        quick: true,
        action: Action::Cargo(&["fmt", "--all", "--check"]),
        limit_minutes: 5,
        environment: NONE,
    },
    Step { name: "tidy", quick: true, action: Action::Call(tidy::step), limit_minutes: 5, environment: NONE },
    Step {
        name: "clippy",
        quick: true,
        action: Action::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "unit",
        quick: true,
        action: Action::Tests(&["--workspace", "--lib", "--bins"]),
        limit_minutes: 30,
        environment: NONE,
    },
    // Before the tests that kill it, so that none of them waits for a compiler.
    Step {
        name: "release",
        quick: false,
        action: Action::Cargo(&["build", "--release", "--package", "tertium"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "integration",
        quick: false,
        action: Action::Tests(&["--workspace", "--test", "*"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "power-cut",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-bench", "--test", "power_cut"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "postgresql",
        quick: false,
        action: Action::Call(packages::postgresql),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "inbox-sql",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-inbox-sql", "--test", "postgres"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "log-postgres",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-log-postgres", "--test", "postgres"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "server-on-postgresql",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-bench", "--test", "log_postgres"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "nodes",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-bench", "--test", "nodes"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "network",
        quick: false,
        action: Action::Call(packages::network),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "lab",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-lab", "--test", "guide"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "histories",
        quick: false,
        action: Action::Rehearsed(&["test", "--package", "tertium-check", "--test", "histories"]),
        limit_minutes: 10,
        environment: NONE,
    },
    Step {
        name: "doctests",
        quick: false,
        action: Action::Cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "doc",
        quick: false,
        action: Action::Cargo(&["doc", "--workspace", "--no-deps"]),
        limit_minutes: 30,
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Step { name: "deny", quick: false, action: Action::Call(deny::check), limit_minutes: 30, environment: NONE },
    Step { name: "purity", quick: false, action: Action::Call(purity::prove), limit_minutes: 30, environment: NONE },
    Step {
        name: SIM_QUICK,
        quick: true,
        action: Action::Cargo(&["run", "--release", "--package", "tertium-sim", "--", "--seeds", SIM_SEEDS_QUICK]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "sim",
        quick: false,
        action: Action::Cargo(&["run", "--release", "--package", "tertium-sim", "--", "--seeds", SIM_SEEDS_FULL]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "sim-twice",
        quick: false,
        action: Action::Cargo(&["run", "--release", "--package", "tertium-sim", "--", "--seeds", "200", "--twice"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step {
        name: "canaries",
        quick: false,
        action: Action::Cargo(&["run", "--release", "--package", "tertium-sim", "--", "--canary", "all"]),
        limit_minutes: 30,
        environment: NONE,
    },
    Step { name: "fuzz", quick: false, action: Action::Call(fuzz::smoke), limit_minutes: 30, environment: NONE },
];

/// `cargo xtask test` and `cargo xtask ci`
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<bool, String> {
    let mut quick = false;
    let mut only: Option<Vec<&str>> = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--only" => only = Some(rest.next().ok_or("--only needs the names of steps")?.split(',').collect()),
            "--list" => {
                STEPS.iter().for_each(|step| println!("{}{}", step.name, if step.quick { " (quick)" } else { "" }));
                return Ok(true);
            }
            other => return Err(format!("unknown argument `{other}`; see cargo xtask test --help")),
        }
    }
    if let Some(unknown) = only.iter().flatten().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        return Err(format!("there is no step `{unknown}`; see cargo xtask test --list"));
    }
    let chosen: Vec<Step> = STEPS
        .iter()
        .filter(|step| match &only {
            Some(names) => names.contains(&step.name),
            // The full run has more seeds of the same.
            None if !quick => step.name != SIM_QUICK,
            None => step.quick,
        })
        .copied()
        .collect();
    Ok(steps::run_all(house, &chosen))
}
