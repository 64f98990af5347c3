//! Words for humans: the `tertium` command, which runs a server, speaks to one and looks after its data.

mod account;
mod backup;
mod bench;
mod check;
mod config;
mod errors;
mod exit;
mod import;
mod keys;
mod lease;
mod log;
mod nodes;
mod operation;
mod output;
mod progress;
mod remote;
mod run;
mod saga;
mod serve;
mod settings;
mod subscription;
mod topic;
mod transfer;
mod uncertain;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::json;

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Format, print, print_json};

/// Every request allocates a little on one thread and frees it on another, which this allocator does at less cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A failure-first transaction server: every operation is committed, refused or uncertain, and never applied twice
#[derive(Parser, Debug)]
#[command(name = "tertium", version, after_help = exit::HELP, arg_required_else_help = true, max_term_width = 110)]
struct Cli {
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Dev(serve::DevArgs),
    Serve(serve::ServeArgs),
    Account(account::AccountArgs),
    Transfer(transfer::TransferArgs),
    Op(operation::OperationArgs),
    Saga(saga::SagaArgs),
    Run(run::RunArgs),
    Uncertain(uncertain::UncertainArgs),
    Lease(Box<lease::LeaseArgs>),
    Topic(topic::TopicArgs),
    Subscription(Box<subscription::SubscriptionArgs>),
    Nodes(nodes::NodesArgs),
    Import(Box<import::ImportArgs>),
    Bench(bench::BenchArgs),
    Check(check::CheckArgs),
    Log(log::LogArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Keys(keys::KeysArgs),
    Config(config::ConfigArgs),
    Errors(errors::ErrorsArgs),
    /// Print the completions of a shell
    #[command(after_help = "Example:
  tertium completions bash > ~/.local/share/bash-completion/completions/tertium")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::Human };
    let ended = match cli.command {
        Command::Dev(args) => return end(args.run()),
        Command::Serve(args) => return end(args.run()),
        command => run(command, format),
    };
    end(ended.map(ExitCode::from))
}

fn run(command: Command, format: Format) -> Ended {
    match command {
        // Both give the process's exit code themselves, and do so before this.
        Command::Dev(_) | Command::Serve(_) => unreachable!("main runs them"),
        Command::Account(args) => remote::block_on(args.run(format))?,
        Command::Transfer(args) => remote::block_on(args.run(format))?,
        Command::Op(args) => remote::block_on(args.run(format))?,
        Command::Saga(args) => remote::block_on(args.run(format))?,
        Command::Run(args) => remote::block_on(args.run(format))?,
        Command::Uncertain(args) => remote::block_on(args.run(format))?,
        Command::Lease(args) => remote::block_on(args.run(format))?,
        Command::Topic(args) => remote::block_on(args.run(format))?,
        Command::Subscription(args) => remote::block_on(args.run(format))?,
        Command::Nodes(args) => remote::block_on(args.run(format))?,
        Command::Import(args) => remote::block_on(args.run(format))?,
        Command::Bench(args) => remote::block_on(args.run(format))?,
        Command::Check(args) => args.run(format),
        Command::Log(args) => args.run(format),
        Command::Backup(args) => args.run(format),
        Command::Restore(args) => args.run(format),
        Command::Keys(args) => args.run(format),
        Command::Config(args) => args.run(format),
        Command::Errors(args) => args.run(format),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tertium", &mut io::stdout());
            Ok(Exit::Done)
        }
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            match format {
                Format::Json => print_json(&json!({"name": "tertium", "version": version}))?,
                Format::Human => print(format_args!("tertium {version}"))?,
            }
            Ok(Exit::Done)
        }
    }
}

fn end(ended: Result<ExitCode, Failure>) -> ExitCode {
    match ended {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit_code()
        }
    }
}
