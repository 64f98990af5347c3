//! `tertium log`: reading a log without a server, beside a running one or where one refuses to start.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use disk::RealDisk;
use log_file::{Dumped, DumpedKind, Verified};
use machine::{Command, Corrupt, Entry, Op};
use serde_json::{Value, json};

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Fields, Format, grouped, print, print_json};
use crate::progress;

/// Read a log without a server
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand, Debug)]
enum LogCommand {
    /// Check every frame and the chain of digests
    #[command(after_help = "Example:
  tertium log verify --data /var/lib/tertium")]
    Verify(DataArgs),
    /// Show the entries, decoded
    #[command(after_help = "Examples:
  tertium log dump --from 1 --to 20
  tertium log dump --json | jq 'select(.commands[].key == \"order-17\")'")]
    Dump(DumpArgs),
}

#[derive(Args, Debug)]
struct DataArgs {
    /// The data directory
    #[arg(long, value_name = "DIR", env = "TERTIUM_DATA", default_value = "./tertium-data")]
    data: PathBuf,
}

#[derive(Args, Debug)]
struct DumpArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The first index to show
    #[arg(long, value_name = "INDEX", default_value_t = 1)]
    from: u64,
    /// The last index to show
    #[arg(long, value_name = "INDEX", default_value_t = u64::MAX, hide_default_value = true)]
    to: u64,
}

impl LogArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        match self.command {
            LogCommand::Verify(args) => verify(&args, format),
            LogCommand::Dump(args) => dump(&args, format),
        }
    }
}

/// Opens a directory for reading only.
pub(crate) fn open(data: &std::path::Path) -> Result<RealDisk, Failure> {
    if data.join(server::LOG_ID_FILE).exists() {
        let what = format!("the log of {} is in PostgreSQL: look at it there, and back it up there", data.display());
        return Err(Failure::new(what));
    }
    if !data.join(log_file::DIR).is_dir() {
        return Err(Failure::new(format!("there is no log in {}", data.display())));
    }
    RealDisk::read_only(data).map_err(|error| Failure::new(format!("{}: {error}", data.display())))
}

/// Verifies the log of a directory, with a bar.
pub(crate) fn verify_with_bar(disk: &RealDisk) -> Result<Verified, Failure> {
    let bar = progress::bar(0, "segments");
    let verified = log_file::verify(disk, None, &mut |progress| {
        bar.set_length(progress.segments as u64);
        bar.set_position(progress.segments_done as u64);
        bar.set_message(format!("{} entries", progress.entries));
    });
    bar.finish_and_clear();
    verified.map_err(failure)
}

fn verify(args: &DataArgs, format: Format) -> Ended {
    let verified = verify_with_bar(&open(&args.data)?)?;
    let cut = verified.cut.as_ref();
    match format {
        Format::Json => print_json(&json!({
            "segments": verified.segments,
            "entries": verified.entries,
            "first": verified.first,
            "tail": verified.tail.to_string(),
            "digest": format!("{:016x}", verified.digest),
            "sealed": verified.sealed,
            "cut": cut.map(|cut| json!({"file": cut.file, "offset": cut.offset, "bytes": cut.bytes})),
        }))?,
        Format::Human => {
            let mut fields = Fields::default();
            fields.add("segments", grouped(verified.segments)).add("entries", grouped(verified.entries));
            fields.add("first", verified.first).add("tail", verified.tail);
            fields.add("digest", format_args!("{:016x}", verified.digest));
            fields.add_some("sealed", verified.sealed.then_some("yes"));
            fields.add_some(
                "torn",
                cut.map(|cut| {
                    format!(
                        "{} bytes of {} at {}: an append on its way, or one a start will cut off",
                        cut.bytes, cut.file, cut.offset
                    )
                }),
            );
            print(format_args!("the log is whole\n{fields}"))?;
        }
    }
    Ok(Exit::Done)
}

fn dump(args: &DumpArgs, format: Format) -> Ended {
    let disk = open(&args.data.data)?;
    let mut failed = None;
    let mut visit = |frame: Dumped<'_>| match show(&frame, format) {
        Ok(()) => ControlFlow::Continue(()),
        Err(failure) => {
            failed = Some(failure);
            ControlFlow::Break(())
        }
    };
    log_file::dump(&disk, args.from, args.to, &mut visit).map_err(failure)?;
    failed.map_or(Ok(Exit::Done), Err)
}

fn show(frame: &Dumped<'_>, format: Format) -> Result<(), Failure> {
    let kind = match frame.kind {
        DumpedKind::Entry => "entry",
        DumpedKind::Mark => "mark",
        DumpedKind::Seal => "seal",
    };
    let decoded = if frame.kind == DumpedKind::Entry { decode(frame.entry) } else { Ok((0, Vec::new())) };
    match format {
        Format::Json => {
            let mut line = json!({
                "kind": kind,
                "position": frame.position.to_string(),
                "file": frame.file,
                "offset": frame.offset,
                "digest": format!("{:016x}", frame.digest),
            });
            match decoded {
                Ok((stamp_us, commands)) if frame.kind == DumpedKind::Entry => {
                    line["stamp_us"] = json!(stamp_us);
                    line["commands"] = json!(commands);
                }
                Ok(_) => {}
                Err(error) => line["error"] = json!(error.to_string()),
            }
            print_json(&line)
        }
        Format::Human => {
            let (position, file, offset) = (frame.position, frame.file, frame.offset);
            let bytes = frame.entry.len();
            print(format_args!("{position} {kind} {bytes} bytes, {file} at {offset}"))?;
            match decoded {
                Ok((_, commands)) => commands.iter().try_for_each(|command| print(human(command))),
                Err(error) => print(format_args!("  {error}")),
            }
        }
    }
}

/// The entry's stamp in microseconds since 1970, and its commands.
fn decode(entry: &[u8]) -> Result<(u64, Vec<Value>), Corrupt> {
    let entry = Entry::decode(entry)?;
    let commands = entry.commands().map(|command| command.and_then(|command| as_json(&command)));
    Ok((entry.stamp.micros(), commands.collect::<Result<_, _>>()?))
}

fn human(command: &Value) -> String {
    let text = |name: &str| command[name].as_str().unwrap_or_default();
    let principal = if text("principal").is_empty() { String::new() } else { format!(" by {}", text("principal")) };
    let rest: Vec<String> = command["op"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| *name != "kind" && !value.is_null() && *value != &json!(""))
        .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let key = if text("key").is_empty() { "-" } else { text("key") };
    format!("  {} {key}{principal} {}", command["op"]["kind"].as_str().unwrap_or_default(), rest.join(" "))
}

fn as_json(command: &Command<'_>) -> Result<Value, Corrupt> {
    Ok(json!({
        "key": command.key,
        "principal": command.principal,
        "expires_us": command.expires.micros(),
        "op": op_as_json(&command.op)?,
    }))
}

fn op_as_json(op: &Op<'_>) -> Result<Value, Corrupt> {
    Ok(match op {
        Op::Claim { epoch, node, continues } => {
            json!({"kind": "claim", "epoch": epoch, "node": node, "continues": continues})
        }
        Op::HandOver { to } => json!({"kind": "hand_over", "to": to}),
        Op::Configure { key_retention_ms } => json!({"kind": "configure", "key_retention_ms": key_retention_ms}),
        Op::OpenAccount(account) => json!({
            "kind": "open-account", "id": account.id, "unit": account.unit,
            "floor": account.floor.map(|floor| floor.to_string()), "metadata": account.metadata,
        }),
        Op::Transfer(order) => order_as_json(order),
        Op::Capture { transfer, amount } => json!({
            "kind": "capture", "transfer": transfer.to_string(), "amount": amount.map(|amount| amount.to_string()),
        }),
        Op::Void { transfer } => json!({"kind": "void", "transfer": transfer.to_string()}),
        Op::Reverse { transfer, amount } => json!({
            "kind": "reverse", "transfer": transfer.to_string(), "amount": amount.map(|amount| amount.to_string()),
        }),
        Op::Batch { mode, items } => {
            let mode = match mode {
                machine::BatchMode::Each => "each",
                machine::BatchMode::Atomic => "atomic",
                machine::BatchMode::Stream => "stream",
            };
            let items = items.iter().map(|item| {
                let item = item?;
                let mut order = order_as_json(&item.order);
                order["key"] = json!(item.key);
                Ok(order)
            });
            json!({"kind": "batch", "mode": mode, "items": items.collect::<Result<Vec<_>, Corrupt>>()?})
        }
        Op::Settle => json!({"kind": "settle"}),
        Op::Call(order) => json!({
            "kind": "call", "method": order.method, "url": order.url, "deadline_ms": order.deadline_ms,
            "on_uncertain": order.doubt.as_str(), "way_out": order.way_out.as_str(), "body_bytes": order.body.len(),
        }),
        Op::Tried(tried) => json!({
            "kind": "tried", "call": tried.call, "attempt": tried.attempt, "found": tried.finding.as_str(),
            "evidence": tried.evidence, "status": tried.status,
        }),
        Op::Resolve(resolved) => json!({
            "kind": "resolve", "call": resolved.call, "committed": resolved.committed, "by": resolved.by,
            "note": resolved.note,
        }),
        Op::Topic(asked) => topic_as_json(asked)?,
        Op::Saga(asked) => saga_as_json(asked),
        Op::Lease(asked) => lease_as_json(asked),
    })
}

fn lease_as_json(asked: &machine::LeaseOp<'_>) -> Value {
    use machine::{Acquire, LeaseOp};
    match *asked {
        LeaseOp::Acquire(Acquire { name, owner, ttl_ms, capacity, wait_ms, metadata }) => json!({
            "kind": "acquire", "lease": name, "owner": owner, "ttl_ms": ttl_ms, "capacity": capacity,
            "wait_ms": wait_ms, "metadata": metadata,
        }),
        LeaseOp::Renew { name, token, ttl_ms } => {
            json!({"kind": "renew", "lease": name, "token": token, "ttl_ms": ttl_ms})
        }
        LeaseOp::Release { name, token } => json!({"kind": "release", "lease": name, "token": token}),
    }
}

fn saga_as_json(asked: &machine::SagaOp<'_>) -> Value {
    use machine::{SagaOp, StepFound};
    match *asked {
        SagaOp::Define { name, document, .. } => json!({"kind": "define", "name": name, "document": document}),
        SagaOp::Start { saga, input, delay_ms, deadline_ms } => json!({
            "kind": "start", "saga": saga, "input": input, "delay_ms": delay_ms, "deadline_ms": deadline_ms,
        }),
        SagaOp::Control { run, control } => json!({"kind": control.as_str(), "run": run}),
        SagaOp::ControlMany { control, saga, state, after, limit } => json!({
            "kind": control.as_str(), "saga": saga, "state": state.map(machine::RunState::as_str), "after": after,
            "limit": limit,
        }),
        SagaOp::RestartMany { saga, from, before, limit } => json!({
            "kind": "restart", "saga": saga, "from": from, "before": before, "limit": limit,
        }),
        SagaOp::Step(report) => json!({
            "kind": "step", "run": report.run, "step": report.step, "attempt": report.attempt,
            "found": match report.found {
                StepFound::Do(_) => "operation",
                StepFound::Publish(_) => "event",
                StepFound::Wait { .. } => "wait",
                StepFound::Start { .. } => "run",
                StepFound::Output(_) => "output",
                StepFound::Failed { .. } => "failed",
            },
        }),
    }
}

fn topic_as_json(asked: &machine::TopicOp<'_>) -> Result<Value, Corrupt> {
    use machine::TopicOp;
    Ok(match *asked {
        TopicOp::Publish { topic, messages } => {
            let events = messages.iter().map(|message| {
                let message = message?;
                Ok(json!({"type": message.kind, "key": message.key, "subject": message.subject, "data": message.data}))
            });
            json!({"kind": "publish", "topic": topic, "events": events.collect::<Result<Vec<_>, Corrupt>>()?})
        }
        TopicOp::Keep { topic, retention } => {
            json!({"kind": "keep", "topic": topic, "retention_ms": retention.ms, "bytes_max": retention.bytes_max})
        }
        TopicOp::Subscribe { name, settings, start } => json!({
            "kind": "subscribe", "name": name, "topics": settings.topics.iter().collect::<Vec<_>>(),
            "types": settings.prefixes.iter().collect::<Vec<_>>(), "url": settings.url,
            "secrets": settings.secrets.iter().collect::<Vec<_>>(), "pause_after_ms": settings.pause_after_ms,
            "paused": settings.paused, "start": start.map(|start| format!("{start:?}").to_lowercase()),
        }),
        TopicOp::Unsubscribe { name } => json!({"kind": "unsubscribe", "name": name}),
        TopicOp::Acknowledge { name, offset } => json!({"kind": "acknowledge", "name": name, "offset": offset}),
        TopicOp::Letters { name, offset, replay } => {
            json!({"kind": if replay { "replay" } else { "drop" }, "name": name, "offset": offset})
        }
        TopicOp::Delivered(reports) => {
            let reports = reports.iter().map(|report| {
                let report = report?;
                Ok(json!({
                    "subscription": report.subscription, "below": report.below,
                    "done": report.done.iter().collect::<Vec<_>>(),
                    "missed": report.missed.iter().map(|miss| miss.offset).collect::<Vec<_>>(),
                }))
            });
            json!({"kind": "delivered", "reports": reports.collect::<Result<Vec<_>, Corrupt>>()?})
        }
    })
}

fn order_as_json(order: &machine::Order<'_>) -> Value {
    json!({
        "kind": "transfer", "from": order.from, "to": order.to, "amount": order.amount.to_string(),
        "hold_ms": order.hold_ms, "memo": order.memo, "metadata": order.metadata,
    })
}

fn failure(error: ::log::LogError) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Failure::new(format!("{error}{cause}"))
}
