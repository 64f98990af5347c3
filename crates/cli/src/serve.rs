//! `tertium dev` and `tertium serve`: a server in this process, until SIGTERM or control-C.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use crate::exit::Failure;
use crate::output::print;
use crate::settings::SettingsArgs;

/// Run a server to try things out: everything on defaults, data in ./tertium-data
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tertium dev")]
pub(crate) struct DevArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Run a server
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tertium serve --data /var/lib/tertium --listen 127.0.0.1:7700
  tertium serve --config /etc/tertium.toml")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl DevArgs {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let loaded = self.settings.load()?;
        let is_open = !loaded.config.authentication;
        let scheme = scheme(&loaded.config);
        Ok(ExitCode::from(server::run(loaded.config, Box::new(move |at| greet(at, scheme, is_open)))))
    }
}

impl ServeArgs {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let loaded = self.settings.load()?;
        let scheme = scheme(&loaded.config);
        Ok(ExitCode::from(server::run(
            loaded.config,
            Box::new(move |at| say(format_args!("tertium: serving on {scheme}://{at}"))),
        )))
    }
}

fn scheme(config: &server::config::Config) -> &'static str {
    if config.tls_certificate.is_some() { "https" } else { "http" }
}

/// Three commands to try, in an order that works, and again and again: each has its key.
fn greet(at: SocketAddr, scheme: &str, is_open: bool) {
    let url = format!("{scheme}://{at}");
    let elsewhere = if url == "http://127.0.0.1:7700" { String::new() } else { format!(" --server {url}") };
    let keys = "\nCallers need an API key: `tertium keys create NAME`, and set TERTIUM_API_KEY.\n";
    say(format_args!(
        "tertium: serving on {url}; control-C stops it. In another terminal, try:

  tertium account open world --unit GBP --no-floor --key try-1{elsewhere}
  tertium account open alice --unit GBP --key try-2{elsewhere}
  tertium transfer make world alice 2500 --key try-3{elsewhere}
{}",
        if is_open { "" } else { keys }
    ));
}

/// Prints to standard output, where whoever started the server may wait for it. A server that nobody listens to serves
/// all the same.
fn say(text: impl std::fmt::Display) {
    let _ = print(text);
}
