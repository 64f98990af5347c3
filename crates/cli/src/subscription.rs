//! `tertium subscription`: who is told of which events, how far they are, and what could not be delivered.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Subscription, SubscriptionSettings};
use serde_json::{Value, json};

use crate::account::WriteArgs;
use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, grouped, print, print_answer, print_json, print_more};
use crate::remote::{Remote, parse_duration};

/// Say who is told of which events, and look after what could not be delivered
#[derive(Args, Debug)]
pub(crate) struct SubscriptionArgs {
    #[command(subcommand)]
    command: SubscriptionCommand,
}

#[derive(Subcommand, Debug)]
enum SubscriptionCommand {
    /// List subscriptions by name
    #[command(after_help = "Example:
  tertium subscription list")]
    List {
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show how far a subscription is, and whether it rests
    #[command(after_help = "Example:
  tertium subscription show billing")]
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a subscription, or give the one of that name other settings, all of them at once
    #[command(after_help = "Examples:
  tertium subscription set billing --topic orders --url http://127.0.0.1:9000/hooks --secret billing
  tertium subscription set audit --topic ledger --start beginning")]
    Set(SetArgs),
    /// Let a subscription rest
    Pause(NamedArgs),
    /// Let a subscription that rests go on
    Resume(NamedArgs),
    /// Remove a subscription, and what it has not delivered
    Remove(NamedArgs),
    /// List the events that were given up, with what was seen last
    #[command(after_help = "Example:
  tertium subscription dead-letters billing")]
    DeadLetters {
        /// The subscription
        name: String,
        /// The offset to begin at
        #[arg(long, value_name = "OFFSET", default_value_t = 0)]
        from: u64,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,
        #[command(flatten)]
        remote: Remote,
    },
    /// Deliver dead letters again: all, or one
    #[command(after_help = "Example:
  tertium subscription replay billing --offset 1042")]
    Replay(LettersArgs),
    /// Forget dead letters: all, or one
    #[command(after_help = "Example:
  tertium subscription drop billing --offset 1042")]
    Drop(LettersArgs),
}

#[derive(Args, Debug)]
struct NamedArgs {
    /// The subscription
    name: String,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct LettersArgs {
    /// The subscription
    name: String,
    /// Only this one
    #[arg(long, value_name = "OFFSET")]
    offset: Option<u64>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct SetArgs {
    /// Its name
    name: String,
    /// A topic it is of; may be given several times
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// The beginning of types it wants; may be given several times. Default: all types
    #[arg(long = "type", value_name = "PREFIX")]
    types: Vec<String>,
    /// Where its events are sent. Without it its consumer fetches and acknowledges them
    #[arg(long)]
    url: Option<String>,
    /// The name of a secret that signs deliveries; may be given several times
    #[arg(long = "secret", value_name = "NAME", requires = "url")]
    secrets: Vec<String>,
    /// How long nothing may succeed before it rests, like 72h. Default: the server's
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pause_after: Option<Duration>,
    /// Where it begins: beginning, now, or an offset. Default: where it is; a new one now
    #[arg(long, value_name = "WHERE", value_parser = parse_start)]
    start: Option<Value>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

impl SubscriptionArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            SubscriptionCommand::List { limit, remote } => list(limit, &remote, format).await,
            SubscriptionCommand::Show { name, remote } => {
                let shown = remote.client()?.subscription(&name).await?.value;
                print_subscription(format, &shown)?;
                Ok(Exit::Done)
            }
            SubscriptionCommand::Set(args) => set(args, format).await,
            SubscriptionCommand::Pause(args) => rest(args, true, format).await,
            SubscriptionCommand::Resume(args) => rest(args, false, format).await,
            SubscriptionCommand::Remove(args) => {
                let client = args.remote.client()?;
                let answer = args.write.apply(client.unsubscribe(&args.name)).await;
                print_answer(format, answer, |removed, fields| {
                    fields.add("removed", &removed.name);
                })
            }
            SubscriptionCommand::DeadLetters { name, from, limit, remote } => {
                dead_letters(&remote.client()?, &name, from, limit, format).await
            }
            SubscriptionCommand::Replay(args) => letters(args, true, format).await,
            SubscriptionCommand::Drop(args) => letters(args, false, format).await,
        }
    }
}

async fn list(limit: u16, remote: &Remote, format: Format) -> Ended {
    let page = remote.client()?.subscriptions(limit, None).await?.value;
    match format {
        Format::Json => print_json(&page)?,
        Format::Human if page.items.is_empty() => print("there are no subscriptions")?,
        Format::Human => {
            page.items.iter().try_for_each(|one| print_subscription(format, one))?;
            if page.next.is_some() {
                print_more()?;
            }
        }
    }
    Ok(Exit::Done)
}

fn print_subscription(format: Format, subscription: &Subscription) -> Result<(), crate::exit::Failure> {
    if format == Format::Json {
        return print_json(subscription);
    }
    let mut fields = Fields::default();
    fields.add("topics", subscription.settings.topics.join(", "));
    let types = &subscription.settings.types;
    fields.add_some("types", (!types.is_empty()).then(|| types.join(", ")));
    fields.add("sent to", subscription.settings.url.as_deref().unwrap_or("nobody: its consumer fetches"));
    fields.add_some("rests", subscription.resting.as_ref());
    fields.add_some("failing since", subscription.failing_since.as_ref());
    fields.add("next offset", subscription.next_offset).add("records behind", grouped(subscription.records_behind));
    fields.add("delivered", grouped(subscription.delivered)).add("parked", grouped(subscription.parked));
    fields.add("dead letters", grouped(subscription.dead_letters));
    fields.add_some("forgotten", (subscription.forgotten > 0).then(|| grouped(subscription.forgotten)));
    print(format_args!("{}\n{fields}", subscription.name))
}

async fn set(args: SetArgs, format: Format) -> Ended {
    let settings = SubscriptionSettings {
        topics: args.topics,
        types: args.types,
        url: args.url,
        secrets: args.secrets,
        pause_after_ms: args.pause_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        paused: false,
        start: args.start,
    };
    put(&args.remote.client()?, &args.name, &settings, &args.write, format).await
}

/// A `PUT` is of all settings at once: the others stay as they are.
async fn rest(args: NamedArgs, paused: bool, format: Format) -> Ended {
    let client = args.remote.client()?;
    let now = client.subscription(&args.name).await?.value;
    let settings = SubscriptionSettings { paused, start: None, ..now.settings };
    put(&client, &args.name, &settings, &args.write, format).await
}

async fn put(client: &Client, name: &str, settings: &SubscriptionSettings, write: &WriteArgs, format: Format) -> Ended {
    let answer = write.apply(client.subscribe(name, settings)).await;
    print_answer(format, answer, |changed, fields| {
        fields.add("subscription", &changed.name).add_some("next offset", changed.next_offset);
    })
}

async fn dead_letters(client: &Client, name: &str, from: u64, limit: u16, format: Format) -> Ended {
    let page = client.dead_letters(name, from, limit).await?.value;
    match format {
        Format::Json => print_json(&page)?,
        Format::Human if page.items.is_empty() => print("there are no dead letters")?,
        Format::Human => {
            for letter in &page.items {
                let (offset, attempts, at, evidence) = (letter.offset, letter.attempts, &letter.at, &letter.evidence);
                print(format_args!("{offset}  given up at {at} after {attempts} attempts: {evidence}"))?;
            }
            if let Some(next) = page.next {
                print(format_args!("there are more: --from {next}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn letters(args: LettersArgs, again: bool, format: Format) -> Ended {
    let client = args.remote.client()?;
    let write = match again {
        true => client.replay_dead_letters(&args.name, args.offset),
        false => client.drop_dead_letters(&args.name, args.offset),
    };
    let answer = args.write.apply(write).await;
    print_answer(format, answer, |changed, fields| {
        fields.add("subscription", &changed.name);
        fields.add_some("delivered again", changed.replayed).add_some("dropped", changed.dropped);
    })
}

fn parse_start(text: &str) -> Result<Value, String> {
    match text {
        "beginning" | "now" => Ok(json!(text)),
        _ => match text.parse::<u64>() {
            Ok(offset) => Ok(json!(offset)),
            Err(_) => Err("it begins at `beginning`, `now`, or an offset".to_owned()),
        },
    }
}
