//! `tertium config`: what the server would be run with, and where each value came from.

use clap::{Args, Subcommand};
use serde_json::json;
use server::config::{Source, Value};

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Format, print, print_json};
use crate::settings::SettingsArgs;

/// Look at the configuration
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Show each setting, its value and where that came from
    #[command(after_help = "Examples:
  tertium config show
  tertium config show --config /etc/tertium.toml --json")]
    Show(SettingsArgs),
    /// Say what is wrong with the configuration, all of it at once
    #[command(after_help = "Example:
  tertium config check --config /etc/tertium.toml")]
    Check(SettingsArgs),
}

impl ConfigArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        match self.command {
            ConfigCommand::Show(settings) => show(&settings, format),
            ConfigCommand::Check(settings) => check(&settings, format),
        }
    }
}

fn show(settings: &SettingsArgs, format: Format) -> Ended {
    let loaded = settings.load()?;
    let width = loaded.values.iter().map(|value| value.setting.name.len()).max().unwrap_or(0);
    let value_width = loaded.values.iter().map(|value| value.text.len()).max().unwrap_or(0).min(32);
    for Value { setting, text, source } in &loaded.values {
        match format {
            Format::Json => print_json(&json!({
                "name": setting.name,
                "value": text,
                "unit": setting.unit,
                "source": word(source),
                "where": source.to_string(),
                "default": setting.default(),
                "meaning": setting.meaning,
            }))?,
            Format::Human => {
                let shown = if text.is_empty() { "-" } else { text };
                print(format_args!("{:width$}  {shown:value_width$}  {source}", setting.name))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn check(settings: &SettingsArgs, format: Format) -> Ended {
    let loaded = settings.load()?;
    let keys = loaded.config.keys_path();
    if loaded.config.authentication {
        edge::Keys::load(&keys).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let file = loaded.file.as_ref().map(|path| path.display().to_string());
    match format {
        Format::Json => print_json(&json!({"ok": true, "file": file}))?,
        Format::Human => print(format_args!("the configuration is right ({})", file.as_deref().unwrap_or("no file")))?,
    }
    Ok(Exit::Done)
}

fn word(source: &Source) -> &'static str {
    match source {
        Source::Default => "default",
        Source::File { .. } => "file",
        Source::Environment(_) => "environment",
        Source::Flag(_) => "flag",
    }
}
