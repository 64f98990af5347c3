//! Where the server is and who is asking: the flags of every command that speaks to one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{ApiKey, Client, ClientBuilder};

use crate::exit::Failure;

/// Flags of a command that speaks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct Remote {
    /// The server to speak to
    #[arg(long, value_name = "URL", env = "TERTIUM_SERVER", default_value = "http://127.0.0.1:7700")]
    server: String,

    /// A file that holds the API key (or set TERTIUM_API_KEY; a key is never an argument, for others could see it)
    #[arg(long, value_name = "FILE", env = "TERTIUM_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,

    /// Trust only the certificate authorities in this PEM file, not those of the system
    #[arg(long, value_name = "FILE", env = "TERTIUM_CA_FILE")]
    ca_file: Option<PathBuf>,
}

impl Remote {
    /// A client of that server, to be described further.
    pub(crate) fn builder(&self) -> Result<ClientBuilder, Failure> {
        let mut builder = Client::builder(&self.server);
        if let Some(key) = self.api_key()? {
            builder = builder.api_key(key);
        }
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            builder = builder.trust_only(pem);
        }
        Ok(builder)
    }

    /// A client of that server.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        build(self.builder()?)
    }

    /// The server's URL, as given.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    fn api_key(&self) -> Result<Option<ApiKey>, Failure> {
        let found = match (std::env::var("TERTIUM_API_KEY"), &self.api_key_file) {
            (Ok(text), _) if !text.is_empty() => ApiKey::new(&text).map(Some),
            (_, Some(path)) => ApiKey::from_file(path).map(Some),
            _ => Ok(None),
        };
        found.map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The client, or what is wrong with how it was described.
pub(crate) fn build(builder: ClientBuilder) -> Result<Client, Failure> {
    builder.build().map_err(|error| Failure::usage(error.to_string()))
}

/// Runs a command that speaks to a server.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no threads to be had: {error}")))?;
    Ok(runtime.block_on(future))
}

/// A length of time, as `250ms`, `30s`, `10m` or `2h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit_ms = match &text[at..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a length of time is a whole number of ms, s, m or h, like 250ms or 30s".to_owned()),
    };
    let count: u64 = text[..at].parse().map_err(|_| "a length of time begins with a whole number".to_owned())?;
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

/// A deadline: a length of time a request may name.
pub(crate) fn parse_deadline(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_millis(words::DEADLINE_MS_MAX);
    match parse_duration(text)? {
        deadline if deadline.is_zero() => Err("a deadline is at least 1ms".to_owned()),
        deadline if deadline > longest => Err(format!("a deadline is at most {}s", longest.as_secs())),
        deadline => Ok(deadline),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, ms) in [("250ms", 250), ("2s", 2_000), ("10m", 600_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "5", "ms", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "9999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
        assert!(parse_deadline("2h").is_err() && parse_deadline("0ms").is_err());
    }
}
