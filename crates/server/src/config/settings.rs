//! The one table of settings. File keys, environment variables, flags and their help all come from it.

use std::path::PathBuf;
use std::time::Duration;

use log::Durability;
use words::{CellName, check_id};

use super::parse::{
    advertise, bytes, consistency, count, duration, show_bytes, show_consistency, show_duration, switch,
};
use super::{Config, LogFormat, Promotion, calls};
use crate::log::LogChoice;

/// One setting. In the file it is `name`, in the environment `TERTIUM_NAME`, as a flag `--name` with hyphens.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, in snake case.
    pub name: &'static str,
    /// What its value is written as.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Puts the value of a text into a configuration, or says what would be right.
    pub set: fn(&mut Config, &str) -> Result<(), String>,
    /// The value as a text; empty if there is none.
    pub show: fn(&Config) -> String,
}

impl Setting {
    /// The environment variable.
    pub fn environment(&self) -> String {
        format!("TERTIUM_{}", self.name.to_ascii_uppercase())
    }

    /// The flag, without its two hyphens.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// What it is if nobody sets it.
    pub fn default(&self) -> String {
        (self.show)(&Config::default())
    }
}

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const TICK: Duration = Duration::from_millis(250);
const GIB: u64 = 1 << 30;

/// A segment has whole blocks of every size a disk may want.
const SEGMENT_BYTES_STEP: u64 = 64 << 10;

/// A limit on waiting.
macro_rules! waiting {
    ($name:literal, $($field:ident).+, $meaning:literal) => {
        Setting {
            name: $name,
            unit: "duration",
            meaning: $meaning,
            set: |c, text| duration(text, TICK..=HOUR).map(|value| c.$($field).+ = value),
            show: |c| show_duration(c.$($field).+),
        }
    };
}

/// A number of things.
macro_rules! counted {
    ($name:literal, $($field:ident).+ : $type:ty, $range:expr, $meaning:literal) => {
        Setting {
            name: $name,
            unit: "count",
            meaning: $meaning,
            set: |c, text| {
                let value = count(text, $range)?;
                c.$($field).+ = <$type>::try_from(value).map_err(|_| "a smaller number".to_owned())?;
                Ok(())
            },
            show: |c| c.$($field).+.to_string(),
        }
    };
}

/// A number of bytes.
macro_rules! sized {
    ($name:literal, $($field:ident).+ : $type:ty, $range:expr, $meaning:literal) => {
        Setting {
            name: $name,
            unit: "bytes",
            meaning: $meaning,
            set: |c, text| {
                let value = bytes(text, $range)?;
                c.$($field).+ = <$type>::try_from(value).map_err(|_| "a smaller number".to_owned())?;
                Ok(())
            },
            // A size fits 64 bits on every machine this runs on.
            show: |c| show_bytes(c.$($field).+ as u64),
        }
    };
}

/// All settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "data",
        unit: "path",
        meaning: "Directory of the log, the checkpoints and the archive. Made if it is not there.",
        set: |c, text| some_path(text).map(|path| c.data = path),
        show: |c| c.data.display().to_string(),
    },
    Setting {
        name: "log",
        unit: "embedded/URL",
        meaning: "The log: `embedded` in data, or in PostgreSQL: postgres://USER@HOST[:PORT]/DATABASE[?sslmode=verify-full&sslrootcert=FILE&passfile=FILE]. The password is in PGPASSWORD or a password file, never in the URL.",
        set: |c, text| LogChoice::parse(text).map(|choice| c.log = choice),
        show: |c| c.log.show(),
    },
    Setting {
        name: "log_schema",
        unit: "name",
        meaning: "The schema of a log in PostgreSQL, one for each cell.",
        set: |c, text| match log_postgres::is_schema_name(text) {
            true => {
                c.log_schema = text.to_owned();
                Ok(())
            }
            false => Err("a-z, 0-9 and _, up to 40 characters, not beginning with a digit or pg_".to_owned()),
        },
        show: |c| c.log_schema.clone(),
    },
    Setting {
        name: "log_durability",
        unit: "one/quorum",
        meaning: "What an acknowledged write survives in a log in PostgreSQL: the crash of one server, or, with synchronous_standby_names set there, the loss of a minority.",
        set: |c, text| {
            c.log_durability = match text {
                "one" => Durability::OneNode,
                "quorum" => Durability::Quorum,
                _ => return Err("`one` or `quorum`".to_owned()),
            };
            Ok(())
        },
        show: |c| match c.log_durability {
            Durability::OneNode => "one".to_owned(),
            Durability::Quorum => "quorum".to_owned(),
        },
    },
    Setting {
        name: "listen",
        unit: "address:port",
        meaning: "Where to listen. Beyond loopback only with TLS and authentication. Port 0 picks a free one.",
        set: |c, text| {
            let address = text.parse().map_err(|_| "an IP address and a port, like `127.0.0.1:7700`".to_owned())?;
            c.listen = address;
            Ok(())
        },
        show: |c| c.listen.to_string(),
    },
    Setting {
        name: "tls_certificate",
        unit: "path",
        meaning: "PEM file with the certificate chain; with tls_key it turns TLS on.",
        set: |c, text| some_path(text).map(|path| c.tls_certificate = Some(path)),
        show: |c| show_path(c.tls_certificate.as_ref()),
    },
    Setting {
        name: "tls_key",
        unit: "path",
        meaning: "PEM file with the private key of the certificate.",
        set: |c, text| some_path(text).map(|path| c.tls_key = Some(path)),
        show: |c| show_path(c.tls_key.as_ref()),
    },
    Setting {
        name: "authentication",
        unit: "on/off",
        meaning: "Whether callers must present an API key (`Authorization: Bearer`).",
        set: |c, text| switch(text).map(|on| c.authentication = on),
        show: |c| if c.authentication { "on" } else { "off" }.to_owned(),
    },
    Setting {
        name: "keys",
        unit: "path",
        meaning: "File of API keys, kept by `tertium keys`; read again when it changes. Default: keys.toml in data.",
        set: |c, text| some_path(text).map(|path| c.keys = Some(path)),
        show: |c| show_path(c.keys.as_ref()),
    },
    Setting {
        name: "webhook_secrets",
        unit: "path",
        meaning: "File of the secrets that sign deliveries, for its owner's eyes only; read again when it changes. Default: webhook-secrets.toml in data.",
        set: |c, text| some_path(text).map(|path| c.webhook_secrets = Some(path)),
        show: |c| show_path(c.webhook_secrets.as_ref()),
    },
    Setting {
        name: "call_secrets",
        unit: "path",
        meaning: "File of the secrets that durable calls name as `${secret:name}` in headers, likewise. Default: call-secrets.toml in data.",
        set: |c, text| some_path(text).map(|path| c.call_secrets = Some(path)),
        show: |c| show_path(c.call_secrets.as_ref()),
    },
    Setting {
        name: "hosts",
        unit: "list",
        meaning: "Names that requests may be sent to besides those of loopback, where no API key is asked for. Without ports.",
        set: |c, text| match calls::hosts(text)? {
            items if items.iter().any(|item| item.contains(':')) => {
                Err("names without ports, like `tertium.internal`".to_owned())
            }
            items => {
                c.hosts = items;
                Ok(())
            }
        },
        show: |c| calls::show(&c.hosts),
    },
    Setting {
        name: "consistency",
        unit: "level",
        meaning: "The level of reads that name none: linearizable, bounded=<ms> or eventual.",
        set: |c, text| consistency(text).map(|level| c.consistency = level),
        show: |c| show_consistency(c.consistency),
    },
    Setting {
        name: "cell",
        unit: "name",
        meaning: "The cell's name, part of every position; fixed once data exists.",
        set: |c, text| {
            let name = CellName::new(text).map_err(|_| "1 to 32 characters of a-z 0-9 -".to_owned())?;
            c.cell.cell = name;
            Ok(())
        },
        show: |c| c.cell.cell.to_string(),
    },
    Setting {
        name: "node",
        unit: "id",
        meaning: "Who this node is: written into the log when it leads, and answered as Tertium-Served-By.",
        set: |c, text| {
            c.cell.node = check_id(text).map_err(|error| error.to_string())?.to_owned();
            Ok(())
        },
        show: |c| c.cell.node.clone(),
    },
    Setting {
        name: "advertise",
        unit: "URL",
        meaning: "Where other nodes of the cell reach this one, like https://a.example:7700; http only on loopback. With it this node takes turns with others on the log in PostgreSQL.",
        set: |c, text| advertise(text).map(|url| c.advertise = Some(url)),
        show: |c| c.advertise.clone().unwrap_or_default(),
    },
    Setting {
        name: "promotion",
        unit: "auto/manual/region",
        meaning: "When this node leads by itself after the leader fell silent: always, never, or if the leader was in its region. `tertium nodes promote` works with all.",
        set: |c, text| {
            c.promotion = match text {
                "auto" => Promotion::Auto,
                "manual" => Promotion::Manual,
                "region" => Promotion::Region,
                _ => return Err("`auto`, `manual` or `region`".to_owned()),
            };
            Ok(())
        },
        show: |c| {
            match c.promotion {
                Promotion::Auto => "auto",
                Promotion::Manual => "manual",
                Promotion::Region => "region",
            }
            .to_owned()
        },
    },
    Setting {
        name: "region",
        unit: "id",
        meaning: "Where this node is, for `promotion = region`.",
        set: |c, text| {
            c.region = check_id(text).map_err(|error| error.to_string())?.to_owned();
            Ok(())
        },
        show: |c| c.region.clone(),
    },
    Setting {
        name: "heartbeat_ms",
        unit: "milliseconds",
        meaning: "A leader that appended nothing for so long appends a sign of life. The same for all nodes.",
        set: |c, text| count(text, 10..=60_000).map(|ms| c.turns.heartbeat_ms = ms),
        show: |c| c.turns.heartbeat_ms.to_string(),
    },
    Setting {
        name: "lease_ms",
        unit: "milliseconds",
        meaning: "A follower claims the lead only after the leader was silent for so long and is suspicious. The same for all nodes.",
        set: |c, text| count(text, 100..=600_000).map(|ms| c.turns.lease_ms = ms),
        show: |c| c.turns.lease_ms.to_string(),
    },
    Setting {
        name: "key_retention",
        unit: "duration",
        meaning: "How long decided idempotency keys are kept.",
        set: |c, text| {
            let value = duration(text, HOUR..=DAY * 366)?;
            c.cell.key_retention_ms = value.as_millis() as u64;
            Ok(())
        },
        show: |c| show_duration(Duration::from_millis(c.cell.key_retention_ms)),
    },
    counted!("queue_commands_max", cell.queue_commands_max: usize, 1..=10_000_000,
        "Writes that may wait to be appended; more are turned away with 503."),
    sized!("queue_bytes_max", cell.queue_bytes_max: usize, 32 << 20..=16 * GIB,
        "Bytes of writes that may wait to be appended, likewise."),
    sized!("entry_bytes_max", cell.entry_bytes_max: usize, 4 << 10..=16 << 20,
        "The largest log entry that writes are joined into."),
    Setting {
        name: "segment_bytes",
        unit: "bytes",
        meaning: "The size of one log segment.",
        set: |c, text| {
            let value = bytes(text, 1 << 20..=GIB)?;
            if !value.is_multiple_of(SEGMENT_BYTES_STEP) {
                return Err(format!("a multiple of {}", show_bytes(SEGMENT_BYTES_STEP)));
            }
            c.cell.segment_bytes = value;
            Ok(())
        },
        show: |c| show_bytes(c.cell.segment_bytes),
    },
    sized!("checkpoint_bytes", cell.checkpoint_bytes: u64, 1 << 20..=64 * GIB,
        "A checkpoint begins after this many bytes of log."),
    sized!("log_retention_bytes", cell.log_retention_bytes: u64, 0..=1024 * GIB,
        "Bytes of log kept behind the checkpoints, for looking at what was asked."),
    counted!("connections_max", limits.connections_max: usize, 1..=1_000_000,
        "Connections open at once; more wait to be accepted."),
    sized!("header_bytes_max", limits.header_bytes_max: usize, 1 << 10..=1 << 20,
        "All headers of one request."),
    counted!("headers_max", limits.headers_max: usize, 8..=1_000,
        "Headers of one request."),
    sized!("body_bytes_max", limits.body_bytes_max: usize, 1 << 10..=64 << 20,
        "The body of one request that is not a stream."),
    // No less than the largest that `body_bytes_max` can be.
    sized!("bodies_bytes_max", limits.bodies_bytes_max: usize, 64 << 20..=64 * GIB,
        "The bodies of all requests together; more are turned away with 503."),
    counted!("http2_streams_max", limits.http2_streams_max: u32, 1..=100_000,
        "Requests open at once on one HTTP/2 connection."),
    waiting!("header_timeout", limits.header_timeout, "From the first byte of a request's head to its last."),
    waiting!("body_idle_timeout", limits.body_idle_timeout, "Between two parts of a body."),
    waiting!("keep_alive_timeout", limits.keep_alive_timeout, "Between two requests on a connection."),
    waiting!("write_timeout", limits.write_timeout, "How long a client may take nothing of what is sent to it."),
    waiting!("stop_grace", limits.stop_grace, "How long requests in flight may take to finish when the server stops."),
    sized!("stream_line_bytes_max", streams.line_bytes_max: usize, 256..=1 << 20,
        "One line of an NDJSON stream."),
    counted!("stream_batch_items_max", streams.batch_items_max: usize, 1..=machine::BATCH_ITEMS_MAX as u64,
        "Items of a stream that are joined into one command."),
    counted!("stream_in_flight_max", streams.in_flight_max: usize, 1..=1_000,
        "Commands of one stream that may be undecided at once; reading waits beyond that."),
    sized!("grpc_message_bytes_max", streams.message_bytes_max: usize, 64 << 10..=64 << 20,
        "One gRPC message."),
    Setting {
        name: "calls_allow",
        unit: "list",
        meaning: "Whom durable calls may reach: hosts, addresses, networks, or none. Default: loopback where only loopback \
                  is listened on, else none.",
        set: |c, text| calls::allow(text).map(|items| c.calls.allow = Some(items)),
        show: |c| match &c.calls.allow {
            Some(items) => calls::show(items),
            None => String::new(),
        },
    },
    counted!("calls_concurrency_max", calls.concurrency_max: usize, 1..=100_000,
        "Calls under way at one destination; more wait for their turn."),
    counted!("calls_again_floor", calls.again_floor: u32, 1..=100_000,
        "Resends, probes and redeliveries that one destination is sent in any 10 s however few calls are made there."),
    counted!("calls_again_floor_all", calls.again_floor_all: u32, 1..=1_000_000,
        "The same over all destinations, beyond a tenth of the calls made at each."),
    Setting {
        name: "calls_not_done",
        unit: "list",
        meaning: "Destinations, as host or host:port, whose 408, 429 and 503 mean that nothing was done.",
        set: |c, text| calls::hosts(text).map(|items| c.calls.not_done = items),
        show: |c| calls::show(&c.calls.not_done),
    },
    Setting {
        name: "calls_trusted",
        unit: "list",
        meaning: "Destinations, likewise, whose own word about the outcome (Tertium-Outcome) is believed.",
        set: |c, text| calls::hosts(text).map(|items| c.calls.trusted = items),
        show: |c| calls::show(&c.calls.trusted),
    },
    counted!("open_calls_max", cell.open_calls_max: u64, 1..=1_000_000,
        "Durable calls that may be open at once; more are turned away with 503."),
    Setting {
        name: "log_format",
        unit: "pretty/json",
        meaning: "How log lines on stderr look.",
        set: |c, text| {
            c.log_format = match text {
                "pretty" => LogFormat::Pretty,
                "json" => LogFormat::Json,
                _ => return Err("`pretty` or `json`".to_owned()),
            };
            Ok(())
        },
        show: |c| match c.log_format {
            LogFormat::Pretty => "pretty".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
    },
    Setting {
        name: "log_level",
        unit: "filter",
        meaning: "Which log lines are written: error, warn, info, debug, trace, or a filter like `info,tertium_edge=debug`.",
        set: |c, text| {
            text.parse::<tracing_subscriber::filter::Targets>().map_err(|_| {
                "error, warn, info, debug, trace, or a filter like `info,tertium_edge=debug`".to_owned()
            })?;
            c.log_level = text.to_owned();
            Ok(())
        },
        show: |c| c.log_level.clone(),
    },
    counted!("worker_threads", worker_threads: usize, 0..=1_024,
        "Threads that serve connections; 0 = one fewer than there are processors, and at least one."),
];

fn some_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn show_path(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}
