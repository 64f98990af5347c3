//! Configuration: one table of settings, read from file, environment and flags, in that rising order.
//!
//! Whatever is wrong is reported at once, each with its name, its value, where it came from and what would be right.

mod calls;
mod error;
mod parse;
mod settings;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;

use cell::{Level, Turns};
use log::Durability;

use crate::log::LogChoice;

pub use calls::Calls;
pub use error::{ConfigError, ConfigErrors};
pub use settings::{SETTINGS, Setting};
pub use sources::{Loaded, Source, Value, load};

/// Everything that can be set, as values.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the data lives.
    pub data: PathBuf,
    /// Where to listen. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// PEM file of the certificate chain.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key: Option<PathBuf>,
    /// Whether callers must present an API key.
    pub authentication: bool,
    /// The file of API keys; `None` = `keys.toml` in `data`.
    pub keys: Option<PathBuf>,
    /// The file of the secrets that sign deliveries; `None` = `webhook-secrets.toml` in `data`.
    pub webhook_secrets: Option<PathBuf>,
    /// The file of the secrets that calls show their receivers; `None` = `call-secrets.toml` in `data`.
    pub call_secrets: Option<PathBuf>,
    /// Names that requests may be sent to besides those of loopback, where no API key is asked for.
    pub hosts: Vec<String>,
    /// How events are delivered.
    pub deliveries: outbox::DeliverySettings,
    /// The level of reads that name none.
    pub consistency: Level,
    /// What one client may take.
    pub limits: edge::Limits,
    /// What a bulk stream may take.
    pub streams: StreamLimits,
    /// Whom the server may call.
    pub calls: Calls,
    /// The cell.
    pub cell: cell::Options,
    /// Where other nodes of the cell reach this one; `None` = it has the cell alone.
    pub advertise: Option<String>,
    /// When this node may lead by itself.
    pub promotion: Promotion,
    /// Where this node is; empty = it does not say.
    pub region: String,
    /// How nodes take turns.
    pub turns: Turns,
    /// Its log.
    pub log: LogChoice,
    /// The schema of a log in PostgreSQL.
    pub log_schema: String,
    /// What an acknowledged entry of a log in PostgreSQL survives.
    pub log_durability: Durability,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as `tracing_subscriber::filter::Targets` reads it.
    pub log_level: String,
    /// Threads that serve connections; 0 = one fewer than there are processors, and at least one.
    pub worker_threads: usize,
}

/// Bounds of bulk streams, NDJSON and gRPC alike.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// One line of NDJSON, in bytes.
    pub line_bytes_max: usize,
    /// Items joined into one command.
    pub batch_items_max: usize,
    /// Commands of one stream that may be undecided at once; reading waits beyond that.
    pub in_flight_max: usize,
    /// One gRPC message, in bytes.
    pub message_bytes_max: usize,
}

/// When a follower may claim the lead because the leader is silent. A person can ask it to at any time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promotion {
    /// Whenever it is.
    Auto,
    /// Never.
    Manual,
    /// When the leader was in the same region.
    Region,
}

/// A node among others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub node: String,
    /// Where others reach it.
    pub advertise: String,
    /// Where it is.
    pub region: String,
    /// When it may lead by itself.
    pub promotion: Promotion,
    /// How they take turns.
    pub turns: Turns,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./tertium-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            tls_certificate: None,
            tls_key: None,
            authentication: false,
            keys: None,
            webhook_secrets: None,
            call_secrets: None,
            hosts: Vec::new(),
            deliveries: outbox::DeliverySettings::default(),
            consistency: Level::Linearizable,
            limits: edge::Limits::default(),
            streams: StreamLimits::default(),
            calls: Calls::default(),
            cell: cell::Options::default(),
            advertise: None,
            promotion: Promotion::Auto,
            region: String::new(),
            turns: Turns::default(),
            log: LogChoice::Embedded,
            log_schema: "tertium".to_owned(),
            log_durability: Durability::OneNode,
            log_format: LogFormat::Pretty,
            log_level: "info".to_owned(),
            worker_threads: 0,
        }
    }
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            batch_items_max: machine::BATCH_ITEMS_MAX,
            in_flight_max: 8,
            message_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Config {
    /// Where the API keys are.
    pub fn keys_path(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data.join("keys.toml"))
    }

    /// Where the secrets that sign deliveries are.
    pub fn secrets_path(&self) -> PathBuf {
        self.webhook_secrets.clone().unwrap_or_else(|| self.data.join("webhook-secrets.toml"))
    }

    /// Where the secrets are that calls show their receivers.
    pub fn call_secrets_path(&self) -> PathBuf {
        self.call_secrets.clone().unwrap_or_else(|| self.data.join("call-secrets.toml"))
    }

    /// This node among others, if it is not alone.
    pub fn node_config(&self) -> Option<NodeConfig> {
        self.advertise.as_ref().map(|advertise| NodeConfig {
            node: self.cell.node.clone(),
            advertise: advertise.clone(),
            region: self.region.clone(),
            promotion: self.promotion,
            turns: self.turns,
        })
    }

    /// What settings say together and none says alone.
    fn check_together(&self, errors: &mut Vec<ConfigError>) {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                errors.push(ConfigError::missing("tls_key", "tls_certificate is set: set both, or neither"))
            }
            (None, Some(_)) => {
                errors.push(ConfigError::missing("tls_certificate", "tls_key is set: set both, or neither"))
            }
            _ => {}
        }
        if self.advertise.is_some() && matches!(self.log, LogChoice::Embedded) {
            errors
                .push(ConfigError::missing("log", "advertise is set: nodes share a log in PostgreSQL, postgres://..."));
        }
        if self.turns.lease_ms < 2 * self.turns.heartbeat_ms {
            errors
                .push(ConfigError::missing("lease_ms", "at least twice heartbeat_ms: one late heartbeat is no death"));
        }
        if self.listen.ip().is_loopback() {
            return;
        }
        if self.tls_certificate.is_none() && self.tls_key.is_none() {
            errors.push(ConfigError::missing(
                "tls_certificate",
                "listening beyond loopback needs TLS: set tls_certificate and tls_key, or listen on 127.0.0.1",
            ));
        }
        if !self.authentication {
            errors.push(ConfigError::missing(
                "authentication",
                "listening beyond loopback needs it on (make keys with `tertium keys create`), or listen on 127.0.0.1",
            ));
        }
    }
}

#[cfg(test)]
mod tests;
