//! The verdicts on histories of other systems, each of which is known: `TERTIUM_HISTORIES` names their directory, or they
//! are beside the workspace. `expected.json` in it says of each file whether it is linearizable.
//!
//! They are not part of the project. Where they are not there it says `not run`, never `ok`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use check::{Bounds, Format, Verdict};

/// All of them together.
const TIME_MAX: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    // The standard harness's way to ask what there is. A runner that knows only "ok" and "failed" cannot say of this one
    // that it was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let dir = directory();
    let expected = match expected(&dir) {
        Ok(expected) => expected,
        Err(error) => {
            println!("not run: no histories in TERTIUM_HISTORIES or beside the workspace: {error}");
            println!("test histories ... ignored, not run\n\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            return ExitCode::SUCCESS;
        }
    };
    let begun = Instant::now();
    let wrong: Vec<String> = expected.iter().filter_map(|(name, legal)| check(&dir, name, *legal).err()).collect();
    let took = begun.elapsed();
    let is_well = wrong.is_empty() && took < TIME_MAX && !expected.is_empty();
    println!("{} histories in {:.2} s", expected.len(), took.as_secs_f64());
    wrong.iter().for_each(|what| println!("error: {what}"));
    let (word, passed, failed) = if is_well { ("ok", 1, 0) } else { ("FAILED", 0, 1) };
    println!("test histories ... {word}\n\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored");
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn directory() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/histories");
    std::env::var_os("TERTIUM_HISTORIES").map_or_else(beside, PathBuf::from)
}

fn expected(dir: &Path) -> io::Result<BTreeMap<String, bool>> {
    let text = std::fs::read(dir.join("expected.json"))?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

fn check(dir: &Path, name: &str, is_legal: bool) -> Result<(), String> {
    let format = if name.starts_with("etcd/") { Format::Etcd } else { Format::KeyValue };
    let file = File::open(dir.join(name)).map_err(|error| format!("{name}: {error}"))?;
    let history = check::read(BufReader::new(file), format, None).map_err(|error| format!("{name}: {error}"))?;
    let begun = Instant::now();
    let report = check::check(&history, Bounds::default(), &mut |_| ControlFlow::Continue(()));
    let (word, as_expected) = match &report.verdict {
        Verdict::Legal => ("legal".to_owned(), is_legal),
        Verdict::Illegal(offence) => (format!("illegal by {}", offence.operations.len()), !is_legal),
        Verdict::Undecided { limit, .. } => (format!("undecided: {limit:?}"), false),
    };
    println!(
        "{name}: {word}; {} operations, {} configurations, {:.1} ms",
        report.operations,
        report.configurations,
        begun.elapsed().as_secs_f64() * 1_000.0
    );
    if as_expected { Ok(()) } else { Err(format!("{name} is {}legal", if is_legal { "" } else { "not " })) }
}
