//! `tertium keys`: who may call. The file holds hashes of tokens, never tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use edge::{Keys, KeysError, Role};
use serde_json::json;

use crate::backup::create_private_dir;
use crate::exit::{Ended, Exit, Failure};
use crate::output::{Fields, Format, print, print_json};

/// Make, list and revoke API keys
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand, Debug)]
enum KeysCommand {
    /// Make a key and print its token, which is shown this once and kept nowhere
    #[command(
        visible_alias = "add",
        after_help = "Examples:
  tertium keys create till-1 --role write
  tertium keys create auditor --role read --keys /var/lib/tertium/keys.toml"
    )]
    Create(CreateArgs),
    /// List the keys, revoked ones included
    List(FileArgs),
    /// Shut a key's owner out; a running server notices within a second
    #[command(after_help = "Example:
  tertium keys revoke till-1")]
    Revoke(RevokeArgs),
}

#[derive(Args, Debug)]
struct FileArgs {
    /// The file of keys
    #[arg(long, value_name = "FILE", env = "TERTIUM_KEYS", default_value = "./tertium-data/keys.toml")]
    keys: PathBuf,
}

#[derive(Args, Debug)]
struct CreateArgs {
    /// What people call it
    name: String,
    /// Whose idempotency keys its requests use: callers of one service share a principal. Default: the name
    #[arg(long)]
    principal: Option<String>,
    /// What it may do
    #[arg(long, value_parser = parse_role, default_value = "write", value_name = "read|write|admin")]
    role: Role,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Args, Debug)]
struct RevokeArgs {
    /// What people call it
    name: String,
    #[command(flatten)]
    file: FileArgs,
}

impl KeysArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        match self.command {
            KeysCommand::Create(args) => create(&args, format),
            KeysCommand::List(args) => list(&args, format),
            KeysCommand::Revoke(args) => revoke(&args, format),
        }
    }
}

fn create(args: &CreateArgs, format: Format) -> Ended {
    let path = &args.file.keys;
    let principal = args.principal.as_ref().unwrap_or(&args.name);
    if let Some(directory) = path.parent() {
        create_private_dir(directory)?;
    }
    let token = Keys::change(path, |keys| keys.add(&args.name, principal, args.role)).map_err(failure)?;
    match format {
        Format::Json => print_json(&json!({
            "name": args.name, "principal": principal, "role": word(args.role), "token": token.reveal(),
        }))?,
        Format::Human => {
            let mut fields = Fields::default();
            fields.add("key", &args.name).add("principal", principal).add("role", word(args.role));
            fields.add("token", token.reveal());
            print(format_args!(
                "{fields}\n\nThis is the only time the token is shown. Give it to the client as TERTIUM_API_KEY."
            ))?;
        }
    }
    Ok(Exit::Done)
}

fn list(args: &FileArgs, format: Format) -> Ended {
    for key in Keys::load(&args.keys).map_err(failure)?.iter() {
        let state = if key.revoked { "revoked" } else { "active" };
        match format {
            Format::Json => print_json(&json!({
                "name": key.name, "principal": key.principal, "role": word(key.role),
                "created_at": key.created_at, "revoked": key.revoked,
            }))?,
            Format::Human => {
                let (name, principal, role, made) = (&key.name, &key.principal, word(key.role), &key.created_at);
                print(format_args!("{name:<24} {principal:<24} {role:<6} {state:<8} {made}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn revoke(args: &RevokeArgs, format: Format) -> Ended {
    Keys::change(&args.file.keys, |keys| keys.revoke(&args.name)).map_err(failure)?;
    match format {
        Format::Json => print_json(&json!({"name": args.name, "revoked": true}))?,
        Format::Human => print(format_args!("`{}` is revoked", args.name))?,
    }
    Ok(Exit::Done)
}

fn failure(error: KeysError) -> Failure {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = format!("{error}{cause}");
    match error {
        KeysError::NameTaken(_) | KeysError::NameUnknown(_) | KeysError::NotAnId { .. } => Failure::usage(message),
        _ => Failure::new(message),
    }
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    [Role::Read, Role::Write, Role::Admin]
        .into_iter()
        .find(|role| word(*role) == text)
        .ok_or_else(|| "a role is read, write or admin".to_owned())
}
