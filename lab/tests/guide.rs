//! What docs/lab.md tells, done in a lab as it is printed: the staleness window, a zombie, an uncertain COMMIT, failovers and a wrong clock.
//!
//! `TERTIUM_BIN` names the server. Where there may be no network namespaces, or a package is missing, it says `not run`, never `ok`.

use std::io;
use std::process::ExitCode;

use tertium_bench::process::release_binary;
use tertium_lab::{Command, Lab, Options};

const GUIDE: &str = include_str!("../../docs/lab.md");

const NAME: &str = "the_guide_does_what_it_says";

/// What a line of the guide must print: the heading it stands under, the line, which time it comes there, and a part of its
/// answer.
const EXPECTED: &[(&str, &str, usize, &str)] = &[
    ("The staleness window", "t transfer make world alice 250", 0, "committed"),
    ("The staleness window", "t@c account show alice --consistency eventual", 0, "balance    500 GBP"),
    ("The staleness window", "t@c account show alice --consistency eventual", 1, "balance    500 GBP"),
    ("The staleness window", "t@c account show alice --consistency linearizable", 0, "consistency-unavailable"),
    ("The staleness window", "t@c account show alice --consistency linearizable", 1, "balance    750 GBP"),
    ("A zombie", "t@b transfer make world alice 1", 0, "committed"),
    ("A zombie", "t@a transfer make world alice 1", 0, "committed"),
    (
        "An uncertain COMMIT, resolved",
        "t transfer make world alice 7 --key k --deadline 2s --no-settle",
        0,
        "uncertain",
    ),
    ("A database fails over", "t transfer make world alice 3", 0, "committed"),
    ("A clock is an hour off", "t transfer make world alice 4", 0, "committed"),
    ("A clock is an hour off", "t@b transfer make world alice 5", 0, "committed"),
];

fn main() -> ExitCode {
    // The standard harness's way to ask what there is: a runner that knows only "ok" and "failed" cannot say of this one that it
    // was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => {
            println!("test {NAME} ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored");
            ExitCode::SUCCESS
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            println!("not run: {error}\ntest {NAME} ... ignored, not run");
            println!("\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}\ntest {NAME} ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let options =
        Options { binary: release_binary()?, prefix: format!("tl{:x}", std::process::id()), dir: std::env::temp_dir() };
    let mut lab = Lab::start(&options, &mut |what| println!("starting {what}"))?;
    let (mut checked, mut made_s) = (0, None);
    for (heading, lines) in stories() {
        println!("== {heading}");
        for (at, line) in lines.iter().enumerate() {
            let command = Command::parse(line).map_err(io::Error::other)?;
            let told = lab.perform(&command)?;
            println!("lab> {line}\n{told}");
            made_s = require_steady_time(made_s, &told)?;
            let time = lines[..at].iter().filter(|before| *before == line).count();
            let expected = EXPECTED.iter().filter(|(of, one, which, _)| (*of, *one, *which) == (heading, *line, time));
            for (.., part) in expected {
                checked += 1;
                if !told.contains(part) {
                    return Err(io::Error::other(format!("`{line}` was to tell `{part}`")));
                }
            }
        }
        require_settled(&mut lab, heading)?;
    }
    if checked != EXPECTED.len() {
        return Err(io::Error::other(format!("{checked} of {} expectations were met in the guide", EXPECTED.len())));
    }
    Ok(())
}

/// The stories of the guide: each with its heading, and its lines.
fn stories() -> Vec<(&'static str, Vec<&'static str>)> {
    let sections = GUIDE.split("\n## ").skip(1);
    let story = |section: &'static str| {
        let (heading, text) = section.split_once('\n')?;
        let block = text.split("```\n").nth(1)?;
        Some((heading, block.lines().collect()))
    };
    sections.filter_map(story).collect()
}

/// Between two transfers of the guide, whoever made them, less than five minutes passed. Gives when this one was made, in seconds of
/// the day, or else the one before.
fn require_steady_time(before_s: Option<i64>, told: &str) -> io::Result<Option<i64>> {
    const DAY_S: i64 = 86_400;
    let Some(made) = told.lines().find_map(|line| line.trim_start().strip_prefix("made")) else { return Ok(before_s) };
    let time = made.trim().split('T').nth(1).and_then(|time| time.get(..8)).unwrap_or_default();
    let parts: Vec<i64> = time.split(':').filter_map(|part| part.parse().ok()).collect();
    let [hours, minutes, seconds] = parts[..] else { return Err(io::Error::other(format!("no instant: {made}"))) };
    let made_s = (hours * 60 + minutes) * 60 + seconds;
    match before_s {
        Some(before_s) if (made_s - before_s).rem_euclid(DAY_S) >= 300 => {
            Err(io::Error::other(format!("made at {time}, {} s after the one before", made_s - before_s)))
        }
        _ => Ok(Some(made_s)),
    }
}

/// What a story left uncertain is definite at its end, and each node agrees on the money there is.
fn require_settled(lab: &mut Lab, heading: &str) -> io::Result<()> {
    let mut balances = Vec::new();
    for node in ["a", "b", "c"] {
        let line = format!("t@{node} account show alice --consistency linearizable");
        let told = lab.perform(&Command::parse(&line).map_err(io::Error::other)?)?;
        let balance = told.lines().find(|line| line.trim_start().starts_with("balance")).map(str::to_owned);
        balances.push(balance.ok_or_else(|| io::Error::other(format!("after `{heading}`, of {node}: {told}")))?);
    }
    if balances.iter().any(|balance| *balance != balances[0]) {
        return Err(io::Error::other(format!("after `{heading}` the nodes do not agree: {balances:?}")));
    }
    Ok(())
}
