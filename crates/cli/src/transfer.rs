//! `tertium transfer`: make, show, capture, void, reverse.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{NewTransfer, Transfer};
use serde_json::Value;

use crate::account::{WriteArgs, parse_metadata};
use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, print, print_answer, print_json};
use crate::remote::{Remote, parse_duration};

/// Move money, or set it aside
#[derive(Args, Debug)]
pub(crate) struct TransferArgs {
    #[command(subcommand)]
    command: TransferCommand,
}

#[derive(Subcommand, Debug)]
enum TransferCommand {
    /// Move an amount from one account to another, or hold it
    #[command(after_help = "Examples:
  tertium transfer make world alice 2500 --key salary/2026-11/alice
  tertium transfer make alice shop 250 --hold 30m --memo 'order 17'")]
    Make(MakeArgs),
    /// Show a transfer as it is now
    Show(ShowArgs),
    /// Post a held transfer: all of it, or part, and the rest is released
    #[command(after_help = "Example:
  tertium transfer capture 019a9f3e-7c00-7000-8000-00000000002a --amount 200")]
    Capture(PartArgs),
    /// Release a held transfer
    Void(VoidArgs),
    /// Move a posted transfer's money back: all that is left of it, or part
    #[command(after_help = "Example:
  tertium transfer reverse 019a9f3e-7c00-7000-8000-00000000002a --amount 50")]
    Reverse(PartArgs),
}

#[derive(Args, Debug)]
struct MakeArgs {
    /// The account it is taken from
    from: String,
    /// The account it goes to
    to: String,
    /// How much, in the unit's smallest part
    amount: u128,
    /// Set it aside for that long instead of posting it, like 30m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    hold: Option<Duration>,
    /// A note for people
    #[arg(long)]
    memo: Option<String>,
    /// A JSON object to keep with it
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Value>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The transfer's id
    id: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct PartArgs {
    /// The transfer's id
    id: String,
    /// How much of it; all if left out
    #[arg(long, value_name = "UNITS")]
    amount: Option<u128>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct VoidArgs {
    /// The transfer's id
    id: String,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

impl TransferArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            TransferCommand::Make(args) => {
                let client = args.remote.client()?;
                let mut transfer = NewTransfer::new(args.from, args.to, args.amount);
                if let Some(hold) = args.hold {
                    transfer = transfer.hold(hold);
                }
                transfer.memo = args.memo;
                transfer.metadata = args.metadata;
                print_answer(format, args.write.apply(client.transfer(&transfer)).await, describe)
            }
            TransferCommand::Show(args) => {
                let client = args.remote.client()?;
                let seen = client.transfer_by_id(&args.id).await?;
                match format {
                    Format::Json => print_json(&seen.value)?,
                    Format::Human => {
                        let mut fields = Fields::default();
                        describe(&seen.value, &mut fields);
                        print(fields)?;
                    }
                }
                Ok(Exit::Done)
            }
            TransferCommand::Capture(args) => {
                let client = args.remote.client()?;
                print_answer(format, args.write.apply(client.capture(&args.id, args.amount)).await, describe)
            }
            TransferCommand::Void(args) => {
                let client = args.remote.client()?;
                print_answer(format, args.write.apply(client.void(&args.id)).await, describe)
            }
            TransferCommand::Reverse(args) => {
                let client = args.remote.client()?;
                print_answer(format, args.write.apply(client.reverse(&args.id, args.amount)).await, describe)
            }
        }
    }
}

fn describe(transfer: &Transfer, fields: &mut Fields) {
    let after = |units: Option<i128>| units.map_or(String::new(), |units| format!(" (balance {units})"));
    let balance = transfer.balance_after;
    fields.add("transfer", &transfer.id);
    fields.add("amount", format_args!("{} {}", transfer.amount, transfer.unit));
    fields.add("from", format_args!("{}{}", transfer.from, after(balance.map(|balance| balance.from))));
    fields.add("to", format_args!("{}{}", transfer.to, after(balance.map(|balance| balance.to))));
    fields.add("state", &transfer.state);
    fields.add_some("memo", transfer.memo.as_ref().filter(|memo| !memo.is_empty()));
    let has_metadata = !transfer.metadata.is_null() && transfer.metadata != serde_json::json!({});
    fields.add_some("metadata", has_metadata.then_some(&transfer.metadata));
    for (name, value) in transfer.more.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fields.add(&name.replace('_', " "), text);
    }
    fields.add("made", &transfer.created_at);
}
