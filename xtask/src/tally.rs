//! What the test runners reported, summed: a run that tested nothing must not look like one that passed.

use std::fmt;
use std::ops::AddAssign;

/// Tests counted by outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Finds the summary lines of `cargo test` and `cargo nextest` in their output. Where nextest sums up, the lines of
    /// single test programs are those it shows of failures, and counted by it.
    pub(crate) fn of(output: &str) -> Self {
        let mut of_programs = Self::default();
        let mut of_nextest = Self::default();
        for line in output.lines() {
            let line = without_colours(line);
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix("test result: ") {
                of_programs += Self::of_counts(rest, &["passed", "failed", "ignored"]);
            } else if line.starts_with("Summary [") {
                of_nextest += Self::of_nextest(line);
            }
        }
        if of_nextest == Self::default() { of_programs } else { of_nextest }
    }

    /// `Summary [ 1.2s] 12/14 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped`
    fn of_nextest(line: &str) -> Self {
        let Some((_, counts)) = line.split_once("run: ") else { return Self::default() };
        let mut tally = Self::of_counts(counts, &["passed", "failed", "skipped"]);
        for also_failed in ["timed out", "exec failed"] {
            tally.failed += count_before(counts, also_failed);
        }
        tally
    }

    fn of_counts(text: &str, names: &[&str; 3]) -> Self {
        let [passed, failed, skipped] = names.map(|name| count_before(text, name));
        Self { passed, failed, skipped }
    }

    /// How many tests ran.
    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number directly before `name`, where they stand between separators.
fn count_before(text: &str, name: &str) -> u64 {
    text.split([',', ';', '.', '(', ')'])
        .filter_map(|part| part.trim().strip_suffix(name)?.trim_end().parse::<u64>().ok())
        .sum()
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        assert_eq!(Tally::of(output).to_string(), expected);
    }

    #[test]
    fn each_runner_is_understood() {
        check(
            "running 3 tests\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s\n",
            "3 passed, 0 failed, 1 skipped",
        );
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured", "3 passed, 2 failed, 0 skipped");
        check("     Summary [   0.036s] 3 tests run: 3 passed, 0 skipped", "3 passed, 0 failed, 0 skipped");
        check(
            "\u{1b}[32;1m     Summary\u{1b}[0m [ 9.0s] 12/14 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
            "10 passed, 2 failed, 3 skipped",
        );
        check("nothing of the kind", "0 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn what_nextest_shows_of_a_failure_is_not_counted_again() {
        check(
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored\n     Summary [ 0.2s] 35 tests run: 34 passed, 1 failed, 0 skipped\n",
            "34 passed, 1 failed, 0 skipped",
        );
    }

    #[test]
    fn several_are_summed() {
        check(
            "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: ok. 4 passed; 0 failed; 0 ignored\n",
            "7 passed, 0 failed, 0 skipped",
        );
    }
}
