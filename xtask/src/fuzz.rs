//! The fuzz targets, run by cargo-fuzz on a nightly compiler.
//!
//! Their corpora are also replayed by the ordinary tests of `fuzz/replay`, which need neither.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::house::House;
use crate::packages;
use crate::steps::{self, Outcome};

pub(crate) const HELP: &str = "\
cargo xtask fuzz [--seconds N] [TARGET]...

Runs each target (or those named) for N seconds (60), starting from fuzz/corpus. Needs a nightly toolchain
(`rustup toolchain install nightly`) and a C++ compiler; builds cargo-fuzz into target/tools if it is missing.
What is found is kept under fuzz/artifacts; a new input that belongs to the corpus is copied there by hand.";

const CARGO_FUZZ_VERSION: &str = "0.13.2";
const TARGETS: [&str; 4] = ["entry_decoder", "frame_decoder", "headers", "json"];
const SECONDS: u64 = 60;
const SMOKE_SECONDS: u64 = 30;

/// `cargo xtask fuzz`
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<bool, String> {
    let mut seconds = SECONDS;
    let mut targets = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let value = rest.next().ok_or("--seconds needs a number")?;
            seconds = value.parse().map_err(|_| format!("`{value}` is not a number of seconds"))?;
        } else if let Some(target) = TARGETS.iter().find(|target| *target == argument) {
            targets.push(*target);
        } else {
            return Err(format!("`{argument}` is no target; there are {}", TARGETS.join(", ")));
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let outcome = fuzz(house, &targets, seconds);
    println!("fuzz: {outcome}");
    Ok(!matches!(outcome, Outcome::Failed(_)))
}

/// Each target for a short while.
pub(crate) fn smoke(house: &House) -> Outcome {
    fuzz(house, &TARGETS, SMOKE_SECONDS)
}

fn fuzz(house: &House, targets: &[&str], seconds: u64) -> Outcome {
    if let Err(why) = provide(house) {
        return Outcome::NotRun(format!("{why} (the corpora are replayed by the tests of fuzz/replay all the same)"));
    }
    for target in targets {
        let outcome = fuzz_one(house, target, seconds);
        println!("    {target}: {outcome}");
        if outcome != Outcome::passed() {
            return outcome;
        }
    }
    Outcome::passed()
}

fn provide(house: &House) -> Result<(), String> {
    let rustup = house.program("rustup").ok_or("a nightly toolchain is needed, and there is no rustup")?;
    let toolchains = Command::new(rustup).args(["toolchain", "list"]).output().map_err(|error| error.to_string())?;
    if !String::from_utf8_lossy(&toolchains.stdout).lines().any(|line| line.starts_with("nightly")) {
        return Err("there is no nightly toolchain".into());
    }
    packages::provide(house, packages::CXX)?;
    house.install("cargo-fuzz", CARGO_FUZZ_VERSION).map(drop)
}

fn fuzz_one(house: &House, target: &str, seconds: u64) -> Outcome {
    let found = house.target.join("fuzz-found").join(target);
    if let Err(error) = fs::create_dir_all(&found) {
        return Outcome::failed(format!("{}: {error}", found.display()));
    }
    let Some(cargo_fuzz) = house.program("cargo-fuzz") else { return Outcome::failed("cargo-fuzz is not there") };
    let mut command = Command::new("rustup");
    // Its cargo must be the nightly one, whatever this program was started with.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").current_dir(&house.root);
    command.env_remove("CARGO_TARGET_DIR").args(["run", "nightly"]).arg(cargo_fuzz);
    command.args(["fuzz", "run", "--target-dir"]).arg(house.target.join("fuzz")).arg(target);
    // The first directory takes what is new, so that the corpus in the work tree stays small.
    command.arg(found).arg(format!("fuzz/corpus/{target}"));
    command.args([
        "--",
        &format!("-max_total_time={seconds}"),
        "-timeout=10",
        "-rss_limit_mb=4096",
        "-verbosity=0",
        "-print_final_stats=1",
    ]);
    steps::judge(&mut command, Duration::from_secs(seconds + 1200), false)
}
