//! `tertium check`: whether what clients saw of a register, a map, a ledger or a set can be explained.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use check::{Bounds, History, ModelKind, Offence, Report, Verdict};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Format, grouped, print, print_json};
use crate::progress;
use crate::remote::parse_duration;

/// Say whether a history of calls and answers is linearizable, and which part of it is not
#[derive(Args, Debug)]
#[command(after_help = "\
Ends with 0 where the history is legal, with 40 where it is illegal, and with 41 where the bounds
were reached before that was decided. docs/check.md has the form of a history.

Examples:
  tertium check history.jsonl
  tertium check --format etcd --json etcd_000.log")]
pub(crate) struct CheckArgs {
    /// The history; - reads standard input
    file: PathBuf,
    /// How it is written: a line of JSON for each operation, or as Jepsen logs a register or texts under keys
    #[arg(long, value_enum, default_value_t = HistoryFormat::Jsonl)]
    format: HistoryFormat,
    /// What it is of, if its first line does not say so
    #[arg(long, value_enum)]
    model: Option<ModelName>,
    /// After how long it counts as undecided
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    time_max: Duration,
    /// With how much memory for what was tried it counts as undecided
    #[arg(long, value_name = "MIB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    memory_mib_max: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum HistoryFormat {
    Jsonl,
    Etcd,
    Kv,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ModelName {
    Register,
    Map,
    Ledger,
    Set,
}

/// Progress is shown of what takes longer.
const QUIET_FOR: Duration = Duration::from_secs(1);

impl CheckArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        let history = self.read()?;
        let begun = Instant::now();
        let mut bar: Option<ProgressBar> = None;
        let mut watch = |configurations: u64| {
            let took = begun.elapsed();
            if took >= QUIET_FOR {
                bar.get_or_insert_with(|| progress::spinner("configurations tried")).set_position(configurations);
            }
            if took < self.time_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let memory_bytes_max = usize::try_from(u64::from(self.memory_mib_max) << 20).unwrap_or(usize::MAX);
        let report = check::check(&history, Bounds { memory_bytes_max, ..Bounds::default() }, &mut watch);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        match format {
            Format::Json => print_json(&as_json(&history, &report, begun.elapsed()))?,
            Format::Human => print(human(&history, &report).trim_end())?,
        }
        Ok(match report.verdict {
            Verdict::Legal => Exit::Done,
            Verdict::Illegal(_) => Exit::Illegal,
            Verdict::Undecided { .. } => Exit::Undecided,
        })
    }

    fn read(&self) -> Result<History, Failure> {
        let input: Box<dyn BufRead> = if self.file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(&self.file).map_err(|error| self.failure(&error))?;
            Box::new(BufReader::new(file))
        };
        let format = match self.format {
            HistoryFormat::Jsonl => check::Format::JsonLines,
            HistoryFormat::Etcd => check::Format::Etcd,
            HistoryFormat::Kv => check::Format::KeyValue,
        };
        let model = self.model.map(|model| match model {
            ModelName::Register => ModelKind::Register,
            ModelName::Map => ModelKind::Map,
            ModelName::Ledger => ModelKind::Ledger,
            ModelName::Set => ModelKind::Set,
        });
        check::read(input, format, model).map_err(|error| match error {
            check::HistoryError::Io(error) => self.failure(&error),
            check::HistoryError::Model(what) => Failure::usage(what),
            error => self.failure(&error),
        })
    }

    fn failure(&self, error: &dyn std::error::Error) -> Failure {
        Failure::new(format!("{}: {error}", self.file.display()))
    }
}

fn human(history: &History, report: &Report) -> String {
    let operations = grouped(report.operations);
    match &report.verdict {
        Verdict::Legal => {
            let parts = if report.parts == 1 { String::new() } else { format!(", in {} parts", grouped(report.parts)) };
            format!("legal: {operations} operations of a {}{parts}", history.model().kind().as_str())
        }
        Verdict::Illegal(offence) => {
            let timeline = check::timeline(history, &offence.operations);
            format!("{}\n\n{timeline}", blame(offence, &operations))
        }
        Verdict::Undecided { part, limit } => format!(
            "undecided: {part}, after {} configurations: {}",
            grouped(report.configurations),
            match limit {
                check::Limit::Memory => "no more memory; see --memory-mib-max",
                check::Limit::Stopped | check::Limit::Configurations => "no more time; see --time-max",
            }
        ),
    }
}

fn blame(offence: &Offence, operations: &str) -> String {
    match offence.operations.len() {
        1 => format!("illegal: {}, by one of {operations} operations, whatever became of the others", offence.part),
        count => format!(
            "illegal: {}, by {} of {operations} operations, which contradict one another whatever became of the others",
            offence.part,
            grouped(count)
        ),
    }
}

fn as_json(history: &History, report: &Report, took: Duration) -> Value {
    let (verdict, more) = match &report.verdict {
        Verdict::Legal => ("legal", json!({})),
        Verdict::Illegal(offence) => {
            let operations = offence.operations.iter().map(|at| {
                let operation = &history.operations()[*at];
                json!({
                    "line": operation.line,
                    "client": operation.client,
                    "call": operation.call,
                    "return": operation.returned(),
                    "what": operation.to_string(),
                })
            });
            ("illegal", json!({"part": offence.part, "offence": operations.collect::<Vec<_>>()}))
        }
        Verdict::Undecided { part, limit } => {
            let limit = match limit {
                check::Limit::Memory => "memory",
                check::Limit::Configurations => "configurations",
                check::Limit::Stopped => "time",
            };
            ("undecided", json!({"part": part, "limit": limit}))
        }
    };
    let mut value = json!({
        "verdict": verdict,
        "model": history.model().kind().as_str(),
        "operations": report.operations,
        "parts": report.parts,
        "configurations": report.configurations,
        "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}
