//! `tertium nodes`: who leads, who follows and how far, and who is to lead.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::exit::{Ended, Exit};
use crate::output::{Format, print, print_answer, print_json};
use crate::remote::Remote;

/// See the nodes of a cell, and choose who leads
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:
  tertium nodes
  tertium nodes promote b",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct NodesArgs {
    #[command(subcommand)]
    command: Option<NodesCommand>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Subcommand, Debug)]
enum NodesCommand {
    /// Hand the lead to a node; where nobody leads, ask that node itself, and it claims
    #[command(after_help = "Example:
  tertium nodes promote b --server https://b.example:7700")]
    Promote(PromoteArgs),
}

#[derive(Args, Debug)]
struct PromoteArgs {
    /// The node that is to lead
    node: String,
    #[command(flatten)]
    remote: Remote,
}

impl NodesArgs {
    pub(crate) async fn run(self, format: Format) -> Ended {
        let Some(NodesCommand::Promote(PromoteArgs { node, remote })) = self.command else {
            return list(&self.remote, format).await;
        };
        let client = remote.client()?;
        print_answer(format, client.promote_node(&node).settle_within(Duration::ZERO).await, |promoted, fields| {
            fields.add("node", &promoted.node).add("state", &promoted.state);
        })
    }
}

async fn list(remote: &Remote, format: Format) -> Ended {
    let page = remote.client()?.nodes().await?.value;
    if format == Format::Json {
        print_json(&page)?;
        return Ok(Exit::Done);
    }
    for node in &page.items {
        let place = [node.region.as_deref(), node.advertise.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        let (name, role, position, ago) = (&node.node, &node.role, &node.position, node.seen_ms_ago);
        print(format_args!("{name}  {role}  {position}  {}  {ago} ms ago", place.join(" ")))?;
    }
    Ok(Exit::Done)
}
