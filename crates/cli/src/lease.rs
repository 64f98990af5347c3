//! `tertium lease`: acquire, renew, release, and who holds what.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Lease, NewLease};

use crate::account::WriteArgs;
use crate::exit::{Ended, Exit};
use crate::output::{Fields, Format, print, print_answer, print_json, print_more};
use crate::remote::{Remote, parse_duration};

/// Hold leases, and see who holds them
#[derive(Args, Debug)]
pub(crate) struct LeaseArgs {
    #[command(subcommand)]
    command: LeaseCommand,
}

#[derive(Subcommand, Debug)]
enum LeaseCommand {
    /// Acquire a lease, waiting in line for it until shortly before the deadline
    #[command(after_help = "Examples:
  tertium lease acquire reports --owner host-a --ttl 60s
  tertium lease acquire licences --owner host-a --ttl 10m --capacity 3 --wait 0s")]
    Acquire(AcquireArgs),
    /// Keep a lease for as long again
    #[command(after_help = "Example:
  tertium lease renew reports --token 17 --ttl 60s")]
    Renew(RenewArgs),
    /// Give a lease back
    #[command(after_help = "Example:
  tertium lease release reports --token 17")]
    Release(ReleaseArgs),
    /// Show who holds a lease
    #[command(after_help = "Example:
  tertium lease show reports")]
    Show(ShowArgs),
    /// List the leases in use, by name
    #[command(after_help = "Example:
  tertium lease list")]
    List(ListArgs),
}

#[derive(Args, Debug)]
struct AcquireArgs {
    /// The lease: a name that nobody holds is free
    name: String,
    /// Who holds it, for people to read
    #[arg(long)]
    owner: String,
    /// For how long, like 60s; 1ms to 24h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Duration,
    /// How many may hold it at a time, the same for all who use it
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    capacity: u64,
    /// How long to wait in line; until shortly before the deadline unless given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct RenewArgs {
    /// The lease
    name: String,
    /// The token it is held under
    #[arg(long)]
    token: u64,
    /// For how long from now on, like 60s; 1ms to 24h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Duration,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ReleaseArgs {
    /// The lease
    name: String,
    /// The token it is held under
    #[arg(long)]
    token: u64,
    #[command(flatten)]
    write: WriteArgs,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// The lease
    name: String,
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

impl LeaseArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        match self.command {
            LeaseCommand::Acquire(args) => acquire(args, format).await,
            LeaseCommand::Renew(RenewArgs { name, token, ttl, write, remote }) => {
                let client = remote.client()?;
                let answer = write.apply(client.renew_lease(&name, token, ms(ttl))).await;
                print_answer(format, answer, |renewed, fields| {
                    fields.add("lease", &renewed.name).add("owner", &renewed.owner).add("token", renewed.token);
                    fields.add("expires", &renewed.expires_at);
                })
            }
            LeaseCommand::Release(ReleaseArgs { name, token, write, remote }) => {
                let client = remote.client()?;
                let answer = write.apply(client.release_lease(&name, token)).await;
                print_answer(format, answer, |released, fields| {
                    fields.add("lease", &released.name).add("owner", &released.owner).add("token", released.token);
                })
            }
            LeaseCommand::Show(ShowArgs { name, remote }) => {
                let lease = remote.client()?.lease(&name).await?.value;
                match format {
                    Format::Json => print_json(&lease)?,
                    Format::Human => show(&lease)?,
                }
                Ok(Exit::Done)
            }
            LeaseCommand::List(ListArgs { limit, remote }) => list(limit, &remote, format).await,
        }
    }
}

async fn acquire(args: AcquireArgs, format: Format) -> Ended {
    let AcquireArgs { name, owner, ttl, capacity, wait, write, remote } = args;
    let client = remote.client()?;
    let wish = NewLease { capacity: Some(capacity), wait_ms: wait.map(ms), ..NewLease::new(owner, ms(ttl)) };
    let answer = write.apply(client.acquire_lease(&name, &wish)).await;
    print_answer(format, answer, |granted, fields| {
        fields.add("lease", &granted.name).add("owner", &granted.owner).add("token", granted.token);
        fields.add("expires", &granted.expires_at);
    })
}

async fn list(limit: u16, remote: &Remote, format: Format) -> Ended {
    let page = remote.client()?.leases(limit, None).await?.value;
    if format == Format::Json {
        print_json(&page)?;
        return Ok(Exit::Done);
    }
    if page.items.is_empty() {
        print("no lease is held")?;
    }
    page.items.iter().try_for_each(show)?;
    if page.next.is_some() {
        print_more()?;
    }
    Ok(Exit::Done)
}

fn show(lease: &Lease) -> Result<(), crate::exit::Failure> {
    let Lease { name, capacity, holders, waiting } = lease;
    let Some(capacity) = capacity else { return print(format_args!("{name} is free")) };
    let mut fields = Fields::default();
    fields.add("held by", format_args!("{} of {capacity}", holders.len())).add("waiting", waiting);
    for holder in holders {
        fields.add("holder", &holder.owner).add("token", holder.token).add("expires", &holder.expires_at);
    }
    print(format_args!("{name}\n{fields}"))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
