//! `tertium topic`: publish events, read them, and say how long they are kept.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{NewEvent, Retention};
use serde_json::Value;

use crate::account::WriteArgs;
use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, grouped, print, print_answer, print_json, print_more};
use crate::remote::{Remote, parse_duration};

/// How long a reader that follows waits at the server for the next event.
const FOLLOW_WAIT_MS: u64 = 20_000;

/// How much longer than that it waits for the answer.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(30);

/// Publish events and read them
#[derive(Args, Debug)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Subcommand, Debug)]
enum TopicCommand {
    /// List topics by name, with what is kept of them
    #[command(after_help = "Example:
  tertium topic list")]
    List {
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        #[command(flatten)]
        remote: Remote,
    },
    /// Publish an event
    #[command(after_help = "Example:
  tertium topic publish orders --type order.paid --event-key order-17 --data '{\"total\":2500}'")]
    Publish(PublishArgs),
    /// Print events from an offset on, one CloudEvent per line
    #[command(after_help = "Examples:
  tertium topic read orders
  tertium topic read ledger --from 1042 --follow")]
    Read(ReadArgs),
    /// Say how long and how much of a topic is kept; it is made if there is none
    #[command(after_help = "Example:
  tertium topic keep orders --for 720h --bytes-max 1000000000")]
    Keep(KeepArgs),
}

#[derive(Args, Debug)]
struct PublishArgs {
    /// The topic
    topic: String,
    /// What happened, like order.paid
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Events with one key are in order with each other
    #[arg(long, value_name = "KEY")]
    event_key: Option<String>,
    /// What it happened to
    #[arg(long)]
    subject: Option<String>,
    /// What else there is to say, as JSON
    #[arg(long, value_name = "JSON", value_parser = parse_data)]
    data: Option<Value>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ReadArgs {
    /// The topic
    topic: String,
    /// The offset to begin at
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: u64,
    /// At most so many; without --follow, 100 unless said otherwise
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Wait for what comes, until interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct KeepArgs {
    /// The topic
    topic: String,
    /// How long, like 30m or 720h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    how_long: Duration,
    /// How many bytes at most; no bound unless given
    #[arg(long, value_name = "BYTES")]
    bytes_max: Option<u64>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

impl TopicArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            TopicCommand::List { limit, remote } => list(limit, &remote, format).await,
            TopicCommand::Publish(args) => publish(args, format).await,
            TopicCommand::Read(args) => read(args).await,
            TopicCommand::Keep(args) => keep(args, format).await,
        }
    }
}

async fn list(limit: u16, remote: &Remote, format: Format) -> Ended {
    let page = remote.client()?.topics(limit, None).await?.value;
    if format == Format::Json {
        print_json(&page)?;
        return Ok(Exit::Done);
    }
    if page.items.is_empty() {
        print("there are no topics yet besides the server's own: publishing makes one")?;
    }
    for topic in &page.items {
        let mut fields = Fields::default();
        fields.add("events", grouped(topic.events)).add("bytes", grouped(topic.bytes));
        fields.add("from offset", topic.first_offset);
        fields.add("kept for", format_args!("{} s", grouped(topic.retention_ms / 1_000)));
        fields.add_some("bytes at most", topic.bytes_max.map(grouped));
        print(format_args!("{}\n{fields}", topic.name))?;
    }
    if page.next.is_some() {
        print_more()?;
    }
    Ok(Exit::Done)
}

async fn publish(args: PublishArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let event = NewEvent { kind: args.kind, key: args.event_key, subject: args.subject, data: args.data };
    let answer = args.write.apply(client.publish(&args.topic, &event)).await;
    print_answer(format, answer, |published, fields| {
        fields.add("topic", &published.topic).add("offset", published.first_offset);
    })
}

/// Events are JSON for people and programs alike.
async fn read(args: ReadArgs) -> Ended {
    let client = args.remote.client()?;
    let mut left = args.limit.unwrap_or(if args.follow { u64::MAX } else { 100 });
    let mut from = args.from;
    while left > 0 {
        let limit = u16::try_from(left.min(1_000)).unwrap_or(1_000);
        let wait_ms = if args.follow { FOLLOW_WAIT_MS } else { 0 };
        let page = client.events(&args.topic, from, limit, wait_ms).deadline(FOLLOW_DEADLINE).await?.value;
        page.items.iter().try_for_each(print_json)?;
        left = left.saturating_sub(page.items.len() as u64);
        from = page.next_offset;
        if page.end && !args.follow {
            break;
        }
    }
    Ok(Exit::Done)
}

async fn keep(args: KeepArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let retention_ms = u64::try_from(args.how_long.as_millis()).unwrap_or(u64::MAX);
    let retention = Retention { retention_ms, bytes_max: args.bytes_max };
    let answer = args.write.apply(client.keep_topic(&args.topic, &retention)).await;
    print_answer(format, answer, |kept, fields| {
        fields.add("topic", &kept.topic);
        fields.add("kept for", format_args!("{} s", grouped(kept.retention_ms / 1_000)));
        fields.add_some("bytes at most", kept.bytes_max.map(grouped));
    })
}

fn parse_data(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}
