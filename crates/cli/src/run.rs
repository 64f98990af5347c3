//! `tertium run`: show, list, cancel, pause, resume, restart.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Run, RunControl, RunStep};
use serde_json::Value;

use crate::account::WriteArgs;
use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, print, print_answer, print_json};
use crate::remote::{Remote, parse_deadline};

mod many;

use many::control_many;

/// Look at the runs of sagas, and change what is to become of them
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Subcommand, Debug)]
enum RunCommand {
    /// Show a run: each step with its attempts; the exit code tells how it ended
    #[command(after_help = "Example:
  tertium run show 019a9f3e-7c00-7000-8000-00000000002a --wait 30s")]
    Show(ShowArgs),
    /// List open runs, oldest first; or those that ended in a state, newest end first
    #[command(after_help = "Example:
  tertium run list --state escalated --saga checkout")]
    List(ListArgs),
    /// Have runs undo what they did: one, or all of a saga or in a state
    #[command(after_help = "Examples:
  tertium run cancel 019a9f3e-7c00-7000-8000-00000000002a
  tertium run cancel --saga checkout --state paused")]
    Cancel(ControlArgs),
    /// Have runs begin no more steps: one, or all of a saga or in a state
    #[command(after_help = "Example:
  tertium run pause --saga checkout")]
    Pause(ControlArgs),
    /// Have paused runs go on: one, or all of a saga or in a state
    #[command(after_help = "Example:
  tertium run resume --saga checkout")]
    Resume(ControlArgs),
    /// Have escalated runs go on from a step: that one and all that wait for it are done again; one run, or all of a saga
    #[command(after_help = "Examples:
  tertium run restart 019a9f3e-7c00-7000-8000-00000000002a --from ship
  tertium run restart --saga checkout --from ship
  tertium run restart --state escalated")]
    Restart(RestartArgs),
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The run's id
    id: String,
    /// Wait that long for its end, like 30s
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Where they are: delayed, running, paused, compensating, done, compensated or escalated
    #[arg(long)]
    state: Option<String>,
    /// Only runs of this saga
    #[arg(long)]
    saga: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// The cursor that the list before ended with
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ControlArgs {
    /// The run's id
    #[arg(conflicts_with_all = ["saga", "state"], required_unless_present_any = ["saga", "state"])]
    id: Option<String>,
    /// All runs of this saga
    #[arg(long)]
    saga: Option<String>,
    /// All runs in this state: delayed, running, paused or compensating
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct RestartArgs {
    /// The run's id
    #[arg(conflicts_with_all = ["saga", "state"], required_unless_present_any = ["saga", "state"], requires = "from")]
    id: Option<String>,
    /// The step to go on from; of many runs wherever each stopped, if it is not said
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// All escalated runs of this saga
    #[arg(long)]
    saga: Option<String>,
    /// All runs in this state: escalated
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

/// How far one command goes where many runs are meant.
#[derive(Args, Debug)]
struct PageArgs {
    /// Stop after so many runs; without it, after all
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "id")]
    limit: Option<u64>,
    /// The cursor that the command before ended with
    #[arg(long, conflicts_with = "id")]
    cursor: Option<String>,
}

impl RunArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            RunCommand::Show(args) => show(args, format).await,
            RunCommand::List(args) => list(args, format).await,
            RunCommand::Cancel(args) => control(args, RunControl::Cancel, format).await,
            RunCommand::Pause(args) => control(args, RunControl::Pause, format).await,
            RunCommand::Resume(args) => control(args, RunControl::Resume, format).await,
            RunCommand::Restart(RestartArgs { id, from, saga, state, pages, write, remote }) => {
                let step = from.clone().unwrap_or_default();
                let control = RunControl::Restart { from: &step };
                match id {
                    Some(id) => control_one(&remote.client()?, &id, control, &write, format).await,
                    None => control_many(&remote, control, (saga, state, from), pages, &write, format).await,
                }
            }
        }
    }
}

async fn show(args: ShowArgs, format: Format) -> Ended {
    let wait = args.wait.unwrap_or_default();
    let client = args.remote.client()?;
    // The answer needs its way back, after the wait.
    let deadline = (wait + Duration::from_secs(10)).min(Duration::from_millis(words::DEADLINE_MS_MAX));
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let run = client.run(&args.id, wait_ms).deadline(deadline).await?.value;
    match format {
        Format::Json => print_json(&run)?,
        Format::Human => print(describe(&run))?,
    }
    Ok(match run.state.as_str() {
        "done" => Exit::Done,
        "compensated" => Exit::Refused,
        _ => Exit::Uncertain,
    })
}

async fn list(args: ListArgs, format: Format) -> Ended {
    let ListArgs { state, saga, limit, cursor, remote } = args;
    let client = remote.client()?;
    let page = client.runs(state.as_deref(), saga.as_deref(), limit, cursor.as_deref()).await?.value;
    match format {
        Format::Json => print_json(&page)?,
        Format::Human => {
            if page.items.is_empty() && page.next.is_none() {
                print("there is no such run")?;
            }
            for run in &page.items {
                let why = run.why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
                print(format_args!("{}  {}  {}{why}", run.id, run.saga, run.state))?;
            }
            if let Some(next) = &page.next {
                print(format_args!("there may be more: --cursor {next}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn control(args: ControlArgs, control: RunControl<'_>, format: Format) -> Ended {
    let ControlArgs { id, saga, state, pages, write, remote } = args;
    match id {
        Some(id) => control_one(&remote.client()?, &id, control, &write, format).await,
        None => control_many(&remote, control, (saga, state, None), pages, &write, format).await,
    }
}

async fn control_one(client: &Client, id: &str, control: RunControl<'_>, write: &WriteArgs, format: Format) -> Ended {
    print_answer(format, write.apply(client.control_run(id, control)).await, |run, fields| {
        fields.add("run", &run.id).add("asked to", &run.control);
    })
}

fn describe(run: &Run) -> String {
    let mut fields = Fields::default();
    fields.add("saga", format_args!("{} version {}", run.saga, run.version));
    fields.add_some("why", run.why.as_ref()).add_some("failed step", run.failed_step.as_ref());
    fields.add("started", &run.started_at).add_some("ended", run.ended_at.as_ref());
    fields.add_some("output", run.more.get("output").filter(|output| !output.is_null()));
    let mut text = format!("{}  {}\n{fields}", run.id, run.state);
    for step in &run.steps {
        describe_step(&mut text, step);
    }
    for control in run.more.get("controls").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| control[name].as_str();
        let (at, asked) = (of("at").unwrap_or("-"), of("control").unwrap_or("-"));
        let from = of("from").map(|step| format!(" from {step}")).unwrap_or_default();
        let by = of("by").map(|who| format!(" by {who}")).unwrap_or_default();
        // Writing into a text cannot fail.
        let _ = write!(text, "\n  {at} {asked}{from}{by}");
    }
    text
}

fn describe_step(text: &mut String, step: &RunStep) {
    // Writing into a text cannot fail.
    let _ = write!(text, "\n  {} ({}): {}", step.id, step.kind, step.state);
    let made = step.more.get("made").and_then(Value::as_object);
    for (name, value) in made.into_iter().flatten() {
        let _ = write!(text, ", {name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    for tried in step.more.get("tried").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &str| tried[name].as_str().unwrap_or("-").to_owned();
        let _ = write!(text, "\n    {} attempt {}: {} ({})", of("at"), tried["attempt"], of("outcome"), of("evidence"));
    }
}
