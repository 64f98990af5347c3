//! The server's settings as flags, made from the server's own table.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use server::config::{Loaded, SETTINGS, load};

use crate::exit::Failure;

/// Every setting as a flag, and the file to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsArgs {
    file: Option<PathBuf>,
    flags: Vec<(String, String)>,
}

const HEADING: &str = "Settings (rising order: default, file, environment, flag)";

impl SettingsArgs {
    /// The configuration they give, or everything that is wrong with it.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        let environment: Vec<(String, String)> = std::env::vars().collect();
        load(self.file.as_deref(), &environment, &self.flags)
            .map_err(|errors| Failure::usage(format!("the configuration is wrong\n{errors}")))
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("TERTIUM_CONFIG")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file (TOML). Default: tertium.toml in the data directory, if it is there");
        let command = command.next_help_heading(HEADING).arg(file);
        SETTINGS.iter().fold(command, |command, setting| {
            let default = setting.default();
            let default = if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
            command.arg(
                Arg::new(setting.name)
                    .long(setting.flag())
                    .value_name(setting.unit.to_ascii_uppercase())
                    .help(format!("{}{default}", setting.meaning)),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SETTINGS.iter().filter_map(|setting| {
            let value = matches.get_one::<String>(setting.name)?;
            Some((setting.name.to_owned(), value.clone()))
        });
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), flags: flags.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
