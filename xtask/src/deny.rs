//! cargo-deny without its advisories.

use std::process::Command;

use crate::house::House;
use crate::process;
use crate::steps::{self, Outcome};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// `cargo xtask deny`
pub(crate) fn run(house: &House, _arguments: &[String]) -> Result<bool, String> {
    let outcome = check(house);
    println!("deny: {outcome}");
    Ok(!matches!(outcome, Outcome::Failed(_)))
}

/// Bans, licences and sources.
pub(crate) fn check(house: &House) -> Outcome {
    let program = match house.install("cargo-deny", CARGO_DENY_VERSION) {
        Ok(program) => program,
        Err(why) => return Outcome::NotRun(why),
    };
    let mut command = Command::new(program);
    command.current_dir(&house.root).args([
        "--locked",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    println!("advisories are not checked: their database is fetched from the network at each run, and a test must not");
    println!("change its mind with it. By hand: cargo deny check advisories");
    steps::judge(&mut command, process::LIMIT_BUILD, false)
}
