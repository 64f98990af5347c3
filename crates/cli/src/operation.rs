//! `tertium op`: what became of a key, and making it definite.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::Operation;

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Fields, Format, print, print_json};
use crate::remote::{Remote, parse_deadline};

/// Ask what became of an operation, or make it definite
#[derive(Args, Debug)]
pub(crate) struct OperationArgs {
    #[command(subcommand)]
    command: OperationCommand,
}

#[derive(Subcommand, Debug)]
enum OperationCommand {
    /// Show what became of a key; the exit code tells the outcome
    #[command(after_help = "Example:
  tertium op show salary/2026-11/alice")]
    Show(KeyArgs),
    /// Make a key definite: what was decided stays, what was not is barred for good; the exit code tells the outcome
    #[command(after_help = "Example:
  tertium op settle salary/2026-11/alice")]
    Settle(KeyArgs),
}

#[derive(Args, Debug)]
struct KeyArgs {
    /// The idempotency key
    key: String,
    /// How long to wait, like 250ms or 30s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_deadline)]
    deadline: Duration,
    #[command(flatten)]
    remote: Remote,
}

impl OperationArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        let found = match self.command {
            OperationCommand::Show(args) => {
                let seen = args.remote.client()?.operation(&args.key).deadline(args.deadline).await;
                seen.map(|seen| seen.value)
            }
            OperationCommand::Settle(args) => args.remote.client()?.settle(&args.key).deadline(args.deadline).await,
        };
        let operation = found.map_err(|error| Failure::of_question(&error))?;
        match format {
            Format::Json => print_json(&operation)?,
            Format::Human => print(describe(&operation))?,
        }
        Ok(match operation.outcome.as_str() {
            "committed" => Exit::Done,
            "refused" => Exit::Refused,
            _ => Exit::Uncertain,
        })
    }
}

fn describe(operation: &Operation) -> String {
    let mut fields = Fields::default();
    fields.add("key", &operation.key);
    fields.add("status", operation.status);
    fields.add_some("code", operation.code.as_ref().or(None));
    fields.add_some("position", operation.position.as_ref());
    for (name, value) in operation.more.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fields.add(&name.replace('_', " "), text);
    }
    fields.add_some("answer", (!operation.body.is_null()).then_some(&operation.body));
    format!("{}\n{fields}", operation.outcome)
}
