//! Steps: run one after the other, each timed, each ending in one of three outcomes.

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::house::House;
use crate::packages;
use crate::process;
use crate::tally::Tally;

const EXCERPT_LINES_AFTER: usize = 8;
const EXCERPT_LINES_MAX: usize = 120;

/// What became of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It ran and found nothing. The tally is what test runners in it reported.
    Passed(Tally),
    /// It ran and found something.
    Failed(Failure),
    /// It could not be run here; the reason.
    NotRun(String),
}

/// Why a step failed, and the tests that failed in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    why: String,
    tally: Tally,
    /// What it printed about that.
    excerpt: Vec<String>,
}

impl Outcome {
    /// Passed; no test runner was involved.
    pub(crate) fn passed() -> Self {
        Self::Passed(Tally::default())
    }

    /// Failed; no test runner was involved.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(Failure { why: why.into(), tally: Tally::default(), excerpt: Vec::new() })
    }

    /// What it adds to the last line. A step that failed without a failed test (it did not even compile) counts as one
    /// failure and a step not run as one skip, so that the last line alone tells whether all is well.
    fn tally(&self) -> Tally {
        match self {
            Self::Passed(tally) => *tally,
            Self::Failed(failure) => Tally { failed: failure.tally.failed.max(1), ..failure.tally },
            Self::NotRun(_) => Tally { skipped: 1, ..Tally::default() },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(tally) if tally.ran() > 0 => write!(f, "passed: {tally}"),
            Self::Passed(_) => write!(f, "passed"),
            Self::Failed(failure) => write!(f, "FAILED: {}", failure.why),
            Self::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}

/// How a step is carried out.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// `cargo <arguments>`; its exit code decides.
    Cargo(&'static [&'static str]),
    /// Tests chosen by these arguments, with cargo-nextest if it is there, else with `cargo test`. At least one must run.
    Tests(&'static [&'static str]),
    /// As `Cargo`, of a test that says `not run: <why>` where the machine does not allow it.
    Rehearsed(&'static [&'static str]),
    /// Code of this program.
    Call(fn(&House) -> Outcome),
}

/// One line of a table of steps.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its name in the output and for `--only`.
    pub(crate) name: &'static str,
    /// Whether `--quick` runs it too.
    pub(crate) quick: bool,
    /// How.
    pub(crate) action: Action,
    /// It is killed after so many minutes.
    pub(crate) limit_minutes: u64,
    /// Additional environment.
    pub(crate) environment: &'static [(&'static str, &'static str)],
}

/// Runs the steps in order, all of them, and prints the summary. Whether nothing failed and some test ran.
pub(crate) fn run_all(house: &House, steps: &[Step]) -> bool {
    let mut done = Vec::new();
    let mut sum = Tally::default();
    let started = Instant::now();
    for step in steps {
        println!("==> {}", step.name);
        let step_started = Instant::now();
        let outcome = step.run(house);
        println!("<== {}: {outcome} ({})", step.name, seconds(step_started.elapsed()));
        sum += outcome.tally();
        done.push((step.name, outcome, step_started.elapsed()));
    }
    println!("\nSummary, {} in all", seconds(started.elapsed()));
    for (name, outcome, took) in &done {
        println!("  {name:12} {:>8}  {outcome}", seconds(*took));
    }
    let failures = done.iter().filter_map(|(name, outcome, _)| match outcome {
        Outcome::Failed(failure) => Some((name, failure)),
        _ => None,
    });
    let mut failed = false;
    for (name, failure) in failures {
        failed = true;
        // Again, at the end: whoever sees only the end of a long run must see what it failed of.
        println!("\n{name} said:");
        failure.excerpt.iter().for_each(|line| println!("  {line}"));
    }
    let tested = sum.ran() > 0;
    if !tested {
        println!("no test was run");
    }
    println!("{sum}");
    tested && !failed
}

impl Step {
    fn run(&self, house: &House) -> Outcome {
        let runner: &[&str] = match self.action {
            Action::Tests(_) if house.program("cargo-nextest").is_some() => &["nextest", "run", "--no-fail-fast"],
            Action::Tests(_) => &["test", "--no-fail-fast"],
            _ => &[],
        };
        let (arguments, is_tests) = match self.action {
            Action::Call(call) => return call(house),
            Action::Cargo(arguments) => (arguments, false),
            Action::Tests(arguments) | Action::Rehearsed(arguments) => (arguments, true),
        };
        let arguments = [runner, arguments].concat();
        println!("    cargo {}", arguments.join(" "));
        let mut command = house.cargo(&arguments);
        command.envs(self.environment.iter().copied());
        judge(&mut command, Duration::from_secs(60 * self.limit_minutes), is_tests)
    }
}

/// Runs a command and turns what it did into an outcome. `is_tests`: it must report at least one test.
pub(crate) fn judge(command: &mut Command, limit: Duration, is_tests: bool) -> Outcome {
    let ran = match process::run(command, limit) {
        Ok(ran) => ran,
        Err(why) => return Outcome::failed(why),
    };
    let tally = Tally::of(&ran.output);
    if let Some(why) = ran.output.lines().find_map(|line| line.strip_prefix("not run: ")).filter(|_| tally.ran() == 0) {
        return Outcome::NotRun(why.to_owned());
    }
    if !ran.success || tally.failed > 0 {
        return Outcome::Failed(Failure { why: ran.why, tally, excerpt: excerpt_of(&ran.output) });
    }
    if is_tests && tally.ran() == 0 {
        return Outcome::failed("no test was run");
    }
    Outcome::Passed(tally)
}

/// What a failed step printed about its failure: its panics and errors with what follows them, or else its last lines.
fn excerpt_of(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().collect();
    let tells = |line: &str| ["panicked at ", "FAIL [", "error: ", "error["].iter().any(|sign| line.contains(sign));
    let mut near = 0;
    let mut told: Vec<&str> = Vec::new();
    for line in &lines {
        near = if tells(line) { EXCERPT_LINES_AFTER } else { near };
        if near > 0 && told.len() < EXCERPT_LINES_MAX {
            told.push(line);
            near -= 1;
        }
    }
    if told.is_empty() {
        told.extend(&lines[lines.len().saturating_sub(EXCERPT_LINES_AFTER)..]);
    }
    told.into_iter().map(str::to_owned).collect()
}

/// `cargo xtask sim`
pub(crate) fn sim(house: &House, arguments: &[String]) -> Result<bool, String> {
    release(house, "tertium-sim", arguments)
}

/// `cargo xtask bench`
pub(crate) fn bench(house: &House, arguments: &[String]) -> Result<bool, String> {
    if let Err(why) = packages::provide(house, packages::POSTGRESQL) {
        println!("the comparison with PostgreSQL cannot be run: {why}");
    }
    release(house, "tertium-bench", arguments)
}

/// `cargo xtask lab`
pub(crate) fn lab(house: &House, arguments: &[String]) -> Result<bool, String> {
    for need in [packages::POSTGRESQL, packages::IP, packages::NFT, packages::FAKETIME] {
        if let Err(why) = packages::provide(house, need) {
            println!("not all of the lab can be had: {why}");
        }
    }
    if std::env::var_os("TERTIUM_BIN").is_some() {
        return release(house, "tertium-lab", arguments);
    }
    if !finish(&mut house.cargo(&["build", "--release", "--package", "tertium"]))? {
        return Ok(false);
    }
    let mut command = house.cargo(&["run", "--release", "--package", "tertium-lab", "--"]);
    finish(command.env("TERTIUM_BIN", house.target.join("release/tertium")).args(arguments))
}

/// Runs a member's program in release. It keeps the terminal, for progress bars, and has no bound: somebody watches it.
fn release(house: &House, package: &str, arguments: &[String]) -> Result<bool, String> {
    finish(house.cargo(&["run", "--release", "--package", package, "--"]).args(arguments))
}

fn finish(command: &mut Command) -> Result<bool, String> {
    let status = command.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    Ok(status.success())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, is_tests: bool) -> Outcome {
        judge(Command::new("sh").args(["-c", script]), Duration::from_secs(60), is_tests)
    }

    #[test]
    fn a_runner_that_ran_nothing_failed() {
        assert_eq!(shell("true", true), Outcome::failed("no test was run"));
        assert_eq!(
            shell("echo 'test result: ok. 0 passed; 0 failed; 0 ignored'", true),
            Outcome::failed("no test was run")
        );
        assert_eq!(shell("true", false), Outcome::passed());
    }

    #[test]
    fn what_the_machine_does_not_allow_is_not_run() {
        assert_eq!(shell("echo 'not run: no loop devices'", true), Outcome::NotRun("no loop devices".into()));
        let passed = "echo 'not run: an aside'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
        assert_eq!(shell(passed, true), Outcome::Passed(Tally { passed: 1, ..Tally::default() }));
    }

    #[test]
    fn the_last_line_is_not_green_unless_all_is() {
        assert_eq!(shell("exit 1", true).tally(), Tally { failed: 1, ..Tally::default() });
        assert_eq!(shell("exit 1", false).tally(), Tally { failed: 1, ..Tally::default() });
        assert_eq!(Outcome::NotRun(String::new()).tally(), Tally { skipped: 1, ..Tally::default() });
        let failed = shell("echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'; exit 101", true);
        assert_eq!(failed.tally(), Tally { passed: 3, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_failure_is_told_again() {
        let script = "echo before; echo \"thread 'a' panicked at b.rs:1:\"; echo why; exit 1";
        let Outcome::Failed(failure) = shell(script, false) else { panic!("it fails") };
        assert_eq!(failure.excerpt, ["thread 'a' panicked at b.rs:1:", "why"]);
        let Outcome::Failed(failure) = shell("echo something; exit 1", false) else { panic!("it fails") };
        assert_eq!(failure.excerpt, ["something"]);
    }

    #[test]
    fn a_failed_test_counts_whatever_the_exit_code_says() {
        let outcome = shell("echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'", true);
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome}");
    }
}
