//! `tertium uncertain`: what nobody knows, and saying by hand what became of it.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use client::UncertainCall;
use serde_json::Value;

use crate::exit::{Ended, Exit};
use crate::output::{Format, grouped, print, print_answer, print_json, print_more};
use crate::remote::Remote;

/// List what nobody knows, or say what became of it
#[derive(Args, Debug)]
pub(crate) struct UncertainArgs {
    #[command(subcommand)]
    command: UncertainCommand,
}

#[derive(Subcommand, Debug)]
enum UncertainCommand {
    /// List the calls of which nobody knows whether they were done, oldest first, with what was tried
    #[command(after_help = "Example:
  tertium uncertain list")]
    List {
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        #[command(flatten)]
        remote: Remote,
    },
    /// Say what became of a call that nothing else can settle; it is kept who said so, and how they know
    #[command(after_help = "Example:
  tertium uncertain resolve 1042 committed --by ada --note 'on the bank statement of 11 November'")]
    Resolve {
        /// The id in the list
        id: String,
        /// What became of it
        outcome: Decree,
        /// Who says so
        #[arg(long, value_name = "NAME")]
        by: String,
        /// How they know
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// The idempotency key of this decision; made if absent
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Clone, Copy, ValueEnum, Debug)]
enum Decree {
    Committed,
    Refused,
}

impl UncertainArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            UncertainCommand::List { limit, remote } => {
                let page = remote.client()?.uncertain(limit, None).await?.value;
                match format {
                    Format::Json => print_json(&page)?,
                    Format::Human if page.items.is_empty() => print("nothing is uncertain")?,
                    Format::Human => {
                        page.items.iter().try_for_each(|call| print(describe(call)))?;
                        if page.next.is_some() {
                            print_more()?;
                        }
                    }
                }
                Ok(Exit::Done)
            }
            UncertainCommand::Resolve { id, outcome, by, note, key, remote } => {
                let client = remote.client()?;
                let mut write = client.resolve(&id, matches!(outcome, Decree::Committed), &by, &note);
                if let Some(key) = key {
                    write = write.key(key);
                }
                let answer = write.await;
                print_answer(format, answer, |resolved, fields| {
                    fields.add("id", &resolved.id).add("is now", &resolved.outcome);
                })
            }
        }
    }
}

fn describe(call: &UncertainCall) -> String {
    let next = match call.next.as_str() {
        "person" => "a person must decide".to_owned(),
        next => format!("next: {next}"),
    };
    let age = grouped(call.age_ms / 1_000);
    let mut text = format!("{}  {}  uncertain for {age} s, {next}\n  {}", call.id, call.key, call.url);
    for tried in call.more.get("tried").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| tried[name].as_str().unwrap_or("-").to_owned();
        // Writing into a text cannot fail.
        let _ = write!(text, "\n  {} {}: {} ({})", of("at"), of("asked_to"), of("found"), of("evidence"));
    }
    text
}
