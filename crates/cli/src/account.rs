//! `tertium account`: open, show, list, history.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Account, NewAccount};
use serde_json::Value;

use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, print, print_answer, print_json};
use crate::remote::{Remote, parse_deadline};

/// Open accounts and look at them
#[derive(Args, Debug)]
pub(crate) struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand, Debug)]
enum AccountCommand {
    /// Open an account
    #[command(after_help = "Examples:
  tertium account open world --unit GBP --no-floor
  tertium account open alice --unit GBP --metadata '{\"name\":\"Alice\"}'")]
    Open(OpenArgs),
    /// Show an account, now or as it stood at a position
    #[command(after_help = "Examples:
  tertium account show alice
  tertium account show alice --consistency at=main:1:42")]
    Show(ShowArgs),
    /// List accounts in the order they were opened
    #[command(after_help = "Examples:
  tertium account list --unit GBP
  tertium account list --json --limit 1000")]
    List(ListArgs),
    /// List an account's transfers, newest first, with its balance after each
    #[command(after_help = "Examples:
  tertium account history alice --limit 20
  tertium account history alice --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z")]
    History(HistoryArgs),
}

#[derive(Args, Debug)]
struct OpenArgs {
    /// Its id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -
    id: String,
    /// What it counts, like GBP or seat
    #[arg(long)]
    unit: String,
    /// The lowest available balance a transfer may leave
    #[arg(long, value_name = "UNITS", default_value_t = 0, allow_negative_numbers = true)]
    floor: i128,
    /// It may fall as low as anyone likes: for the outside world
    #[arg(long, conflicts_with = "floor")]
    no_floor: bool,
    /// A JSON object to keep with it
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Value>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

/// Flags of every write.
#[derive(Args, Debug)]
pub(crate) struct WriteArgs {
    /// The idempotency key: sent again with the same key, it happens once. Default: a new one, which is printed
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// How long to wait, like 250ms or 30s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_deadline)]
    pub(crate) deadline: Duration,
    /// When time runs out, do not settle: leave it uncertain
    #[arg(long)]
    pub(crate) no_settle: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// Its id
    id: String,
    /// How fresh: linearizable, session, bounded=MS, eventual or at=POSITION. Default: the server's
    #[arg(long, value_name = "LEVEL", value_parser = parse_consistency)]
    consistency: Option<client::Consistency>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only of this unit
    #[arg(long)]
    unit: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct HistoryArgs {
    /// The account's id
    id: String,
    /// Only at or after this instant (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// Only before this instant (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

impl AccountArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            AccountCommand::Open(args) => open(args, format).await,
            AccountCommand::Show(args) => show(args, format).await,
            AccountCommand::List(args) => list(args, format).await,
            AccountCommand::History(args) => history(args, format).await,
        }
    }
}

async fn open(args: OpenArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let mut account = NewAccount::new(args.id, args.unit);
    account.floor = (!args.no_floor).then_some(args.floor);
    account.metadata = args.metadata;
    let answer = args.write.apply(client.open_account(&account)).await;
    print_answer(format, answer, describe)
}

async fn show(args: ShowArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let mut read = client.account(&args.id);
    if let Some(level) = args.consistency {
        read = read.consistency(level);
    }
    let seen = read.await?;
    match format {
        Format::Json => print_json(&seen.value)?,
        Format::Human => {
            let mut fields = Fields::default();
            describe(&seen.value, &mut fields);
            fields.add_some("position", seen.position);
            fields.add_some("staleness", seen.staleness_ms.map(|ms| format!("at most {ms} ms")));
            print(fields)?;
        }
    }
    Ok(Exit::Done)
}

async fn list(args: ListArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let mut accounts = client.accounts(args.unit.as_deref());
    if format == Format::Human {
        print(format_args!("{:<32} {:<8} {:>20} {:>20}", "account", "unit", "balance", "available"))?;
    }
    for _ in 0..args.limit {
        let Some(account) = accounts.next().await? else { break };
        match format {
            Format::Json => print_json(&account)?,
            Format::Human => {
                let Account { id, unit, balance, available, .. } = account;
                print(format_args!("{id:<32} {unit:<8} {balance:>20} {available:>20}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn history(args: HistoryArgs, format: Format) -> Ended {
    let client = args.remote.client()?;
    let mut history = client.history(&args.id);
    if let Some(from) = &args.from {
        history = history.from(from);
    }
    if let Some(to) = &args.to {
        history = history.to(to);
    }
    if format == Format::Human {
        print(format_args!("{:<27} {:<9} {:>16} {:>16}  {:<24} transfer", "at", "event", "moved", "balance", "with"))?;
    }
    for _ in 0..args.limit {
        let Some(movement) = history.next().await? else { break };
        match format {
            Format::Json => print_json(&movement)?,
            Format::Human => {
                let is_in = movement.to == args.id;
                let (sign, with) = if is_in { ("+", &movement.from) } else { ("-", &movement.to) };
                let moved = format!("{sign}{}", movement.amount);
                print(format_args!(
                    "{:<27} {:<9} {moved:>16} {:>16}  {with:<24} {}",
                    movement.at, movement.event, movement.balance_after, movement.id
                ))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn describe(account: &Account, fields: &mut Fields) {
    fields.add("account", &account.id);
    fields.add("balance", format_args!("{} {}", account.balance, account.unit));
    if account.held != 0 {
        fields.add("held", account.held);
        fields.add("available", account.available);
    }
    fields.add("floor", account.floor.map_or("none".to_owned(), |floor| floor.to_string()));
    let has_metadata = !account.metadata.is_null() && account.metadata != serde_json::json!({});
    fields.add_some("metadata", has_metadata.then_some(&account.metadata));
    fields.add("opened", &account.created_at);
}

impl WriteArgs {
    /// With the key, the deadline and the rest as the flags say.
    pub(crate) fn apply<'c, T: serde::de::DeserializeOwned + Send>(
        &self,
        write: client::Write<'c, T>,
    ) -> client::Write<'c, T> {
        let mut write = write.deadline(self.deadline);
        if let Some(key) = &self.key {
            write = write.key(key);
        }
        if self.no_settle {
            write = write.settle_within(Duration::ZERO);
        }
        write
    }
}

pub(crate) fn parse_metadata(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("metadata is a JSON object, like {\"order\":17}".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

fn parse_consistency(text: &str) -> Result<client::Consistency, String> {
    use client::Consistency;
    match text.split_once('=') {
        None if text == "linearizable" => Ok(Consistency::Linearizable),
        None if text == "session" => Ok(Consistency::Session),
        None if text == "eventual" => Ok(Consistency::Eventual),
        Some(("bounded", ms)) => ms
            .parse()
            .map(Consistency::BoundedMs)
            .map_err(|_| "bounded=MS takes a whole number of milliseconds, like bounded=50".to_owned()),
        Some(("at", position)) => {
            words::WirePosition::parse(position).map_err(|error| error.to_string())?;
            Ok(Consistency::At(position.to_owned()))
        }
        _ => Err("a level is linearizable, session, bounded=MS, eventual or at=POSITION".to_owned()),
    }
}
