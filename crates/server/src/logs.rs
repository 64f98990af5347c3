//! Log lines on stderr, for people or machines, with the trace id of the request they are about.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{Config, LogFormat};

/// Starts writing log lines. A process has one log: where it has one already, that one is kept.
pub(crate) fn start(config: &Config) {
    // The text was checked when the configuration was read.
    let targets: Targets =
        config.log_level.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    // Colours are for eyes, not for files.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Pretty => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // An error means that there is a log already, as in tests that run several servers.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
}
