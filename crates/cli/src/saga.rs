//! `tertium saga`: define, list, show, run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{DefinitionLanguage, NewRun};
use serde_json::Value;

use crate::account::WriteArgs;
use crate::exit::{Ended, Exit, Failure};
use crate::output::{Format, print, print_answer, print_json, print_more};
use crate::remote::{Remote, parse_duration};

/// Define sagas, and run them
#[derive(Args, Debug)]
pub(crate) struct SagaArgs {
    #[command(subcommand)]
    command: SagaCommand,
}

#[derive(Subcommand, Debug)]
enum SagaCommand {
    /// Define a saga, or give it a new definition; open runs keep theirs
    #[command(after_help = "Example:
  tertium saga define checkout.saga.yaml")]
    Define(DefineArgs),
    /// List the sagas, by name
    #[command(after_help = "Example:
  tertium saga list")]
    List(ListArgs),
    /// Show a definition, as JSON
    #[command(after_help = "Example:
  tertium saga show checkout --version 2")]
    Show(ShowArgs),
    /// Start a run, and wait for its end
    #[command(after_help = "Examples:
  tertium saga run checkout --input '{\"cart\":\"c-1\",\"customer\":\"ada\",\"total\":1250,\"items\":[]}' --key order/c-1
  tertium saga run reminder --delay 2h --no-wait")]
    Run(RunArgs),
}

#[derive(Args, Debug)]
struct DefineArgs {
    /// The definition: JSON if the file's name ends in .json, else YAML
    file: PathBuf,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ListArgs {
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The saga
    name: String,
    /// Which definition; the newest if absent
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The saga
    name: String,
    /// Its input, as JSON
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    input: Option<Value>,
    /// Wait that long before the first step, like 2h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// How long it may go forward, if not as long as its definition says
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    forward: Option<Duration>,
    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

impl SagaArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            SagaCommand::Define(args) => define(args, format).await,
            SagaCommand::List(ListArgs { limit, remote }) => {
                let page = remote.client()?.sagas(limit, None).await?.value;
                match format {
                    Format::Json => print_json(&page)?,
                    Format::Human if page.items.is_empty() => print("no saga is defined")?,
                    Format::Human => {
                        for saga in &page.items {
                            let (name, version) = (&saga.name, saga.version);
                            let (steps, runs) = (saga.steps, saga.open_runs);
                            print(format_args!("{name}  version {version}, steps: {steps}, open runs: {runs}"))?;
                        }
                        if page.next.is_some() {
                            print_more()?;
                        }
                    }
                }
                Ok(Exit::Done)
            }
            SagaCommand::Show(ShowArgs { name, version, remote }) => {
                let saga = remote.client()?.saga(&name, version).await?.value;
                match format {
                    Format::Json => print_json(&saga)?,
                    Format::Human => {
                        print(format_args!("{} version {}, defined {}", saga.name, saga.version, saga.defined_at))?;
                        print(format_args!("{:#}", saga.definition))?;
                    }
                }
                Ok(Exit::Done)
            }
            SagaCommand::Run(args) => {
                let RunArgs { name, input, delay, forward, no_wait, write, remote } = args;
                let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let run = NewRun { input, delay_ms: delay.map(ms), deadline_ms: forward.map(ms) };
                let client = remote.client()?;
                if no_wait {
                    let answer = write.apply(client.begin_run(&name, &run)).await;
                    return print_answer(format, answer, |run, fields| {
                        fields.add("run", &run.id).add("next", format_args!("tertium run show {}", run.id));
                    });
                }
                print_answer(format, write.apply(client.run_saga(&name, &run)).await, |run, fields| {
                    fields.add("run", &run.id).add("state", &run.state);
                    fields.add_some("output", (!run.output.is_null()).then_some(&run.output));
                })
            }
        }
    }
}

async fn define(args: DefineArgs, format: Format) -> Ended {
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::new(format!("{}: {error}", args.file.display())))?;
    let language = match args.file.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("json") => DefinitionLanguage::Json,
        _ => DefinitionLanguage::Yaml,
    };
    let name = name_of(&text, language).ok_or_else(|| no_name(&args.file))?;
    let client = args.remote.client()?;
    let answer = args.write.apply(client.define_saga(&name, language, &text)).await;
    print_answer(format, answer, |saga, fields| {
        fields.add("saga", &saga.name).add("version", saga.version);
    })
}

/// The name that a definition gives itself: the server checks all the rest.
fn name_of(text: &str, language: DefinitionLanguage) -> Option<String> {
    if language == DefinitionLanguage::Json {
        let definition: Value = serde_json::from_str(text).ok()?;
        return definition.get("name")?.as_str().map(str::to_owned);
    }
    let line = text.lines().find_map(|line| line.strip_prefix("name:"))?;
    let name = line.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| name.to_owned())
}

fn no_name(file: &Path) -> Failure {
    Failure::usage(format!("{}: a definition has a `name` at its top, on a line of its own", file.display()))
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, language, name) in [
            ("# x\nname: checkout\nsteps: []", DefinitionLanguage::Yaml, Some("checkout")),
            ("name: \"a/b\" # why\n", DefinitionLanguage::Yaml, Some("a/b")),
            ("steps:\n  name: x", DefinitionLanguage::Yaml, None),
            (r#"{"name":"x"}"#, DefinitionLanguage::Json, Some("x")),
            ("{", DefinitionLanguage::Json, None),
        ] {
            assert_eq!(name_of(text, language).as_deref(), name, "{text}");
        }
    }
}
