//! What the server counts, and how it is told: OpenMetrics, or the older Prometheus text.
//!
//! Counting a request is a few additions to atomics; everything else happens when somebody asks.

mod calls;
mod deliveries;

use std::fmt::{Error, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use call::Client;
use cell::CellHandle;
use edge::BodyRoom;
use machine::SubscriptionView;
use outbox::DeliveryCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use words::Outcome;

use crate::route::RouteName;

pub(crate) use deliveries::SUBSCRIPTIONS_MAX;

/// Upper bounds of the latency buckets, in microseconds: about three per decade from 100 us to 10 s.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 3_000_000,
    10_000_000,
];

/// The statuses this server answers; others are counted as 0, and there are none.
const STATUSES: [u16; 20] =
    [200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 500, 502, 503, 504, 304, 0];

const ROUTES: usize = RouteName::ALL.len();

/// Three outcomes, and reads, which have none.
const OUTCOMES: [&str; 4] = ["committed", "refused", "uncertain", ""];

/// The content type of OpenMetrics.
pub(crate) const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The content type of the Prometheus text format.
pub(crate) const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Arc<Requests>,
    subscriptions: deliveries::Subscriptions,
    registry: Registry,
}

#[derive(Debug)]
struct Requests {
    counts: [[[AtomicU64; OUTCOMES.len()]; STATUSES.len()]; ROUTES],
    latency: [Histogram; ROUTES],
    stream_items: AtomicU64,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Metrics {
    /// Counts of nothing so far, and a window on what the cell counts.
    pub(crate) fn new(cell: CellHandle, client: Client, bodies: BodyRoom, delivered: DeliveryCounts) -> Self {
        let requests = Arc::new(Requests {
            counts: std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0)))),
            latency: std::array::from_fn(|_| Histogram::default()),
            stream_items: AtomicU64::new(0),
        });
        let mut registry = Registry::with_prefix("tertium");
        registry.register_collector(Box::new(Arc::clone(&requests)));
        registry.register_collector(Box::new(calls::Doubts(cell.clone())));
        registry.register_collector(Box::new(calls::Destinations(client)));
        let subscriptions = deliveries::Subscriptions::default();
        registry.register_collector(Box::new(deliveries::Deliveries(delivered)));
        registry.register_collector(Box::new(subscriptions.clone()));
        registry.register_collector(Box::new(CellCounts(cell)));
        registry.register_collector(Box::new(Bodies(bodies)));
        Self { requests, subscriptions, registry }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: RouteName, status: u16, outcome: Option<Outcome>, took_us: u64) {
        let status_at = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        let outcome_at = match outcome {
            Some(Outcome::Committed) => 0,
            Some(Outcome::Refused) => 1,
            Some(Outcome::Uncertain) => 2,
            None => 3,
        };
        self.requests.counts[route as usize][status_at][outcome_at].fetch_add(1, Relaxed);
        self.requests.latency[route as usize].observe(took_us);
    }

    /// Counts items of bulk streams.
    pub(crate) fn streamed(&self, items: u64) {
        self.requests.stream_items.fetch_add(items, Relaxed);
    }

    /// Notes how far each subscription is, to be told with everything else.
    pub(crate) fn note_subscriptions(&self, views: Vec<SubscriptionView>) {
        self.subscriptions.set(views);
    }

    /// All metrics, as OpenMetrics if the caller takes that, else as Prometheus text; with the content type.
    pub(crate) fn render(&self, accept: Option<&str>) -> (&'static str, String) {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            (OPENMETRICS_TYPE, text)
        } else {
            (PROMETHEUS_TYPE, to_prometheus(&text))
        }
    }
}

/// The older format names a counter in `# TYPE` as its samples are named, and knows neither units nor an end.
fn to_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut held_help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        let comment = (words.next(), words.next(), words.next(), words.next());
        match comment {
            (Some("#"), Some("HELP"), Some(name), Some(help)) => held_help = Some((name, help)),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let total = if kind == "counter" { "_total" } else { "" };
                // Writing to a string cannot fail.
                if let Some((_, help)) = held_help.take().filter(|(of, _)| *of == name) {
                    let _ = writeln!(text, "# HELP {name}{total} {help}");
                }
                let _ = writeln!(text, "# TYPE {name}{total} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

impl Histogram {
    fn observe(&self, us: u64) {
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut counts = encoder.encode_descriptor("requests", "Requests answered", None, MetricType::Counter)?;
        for (route, statuses) in RouteName::ALL.iter().zip(&self.counts) {
            for (status, outcomes) in STATUSES.iter().zip(statuses) {
                for (outcome, count) in OUTCOMES.iter().zip(outcomes) {
                    let count = count.load(Relaxed);
                    if count > 0 {
                        let labels = [
                            ("route", route.as_str().to_owned()),
                            ("status", status.to_string()),
                            ("outcome", (*outcome).to_owned()),
                        ];
                        ConstCounter::new(count).encode(counts.encode_family(&labels)?)?;
                    }
                }
            }
        }
        let unit = Unit::Seconds;
        let help = "From the first byte of a request to its answer";
        let mut latency = encoder.encode_descriptor("request_duration", help, Some(&unit), MetricType::Histogram)?;
        for (route, histogram) in RouteName::ALL.iter().zip(&self.latency) {
            let buckets: Vec<(f64, u64)> = BOUNDS_US
                .iter()
                .map(|bound| *bound as f64 / 1e6)
                .chain([f64::INFINITY])
                .zip(histogram.buckets.iter().map(|count| count.load(Relaxed)))
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count > 0 {
                let sum = histogram.sum_us.load(Relaxed) as f64 / 1e6;
                let labels = [("route", route.as_str())];
                latency.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        let help = "Items of NDJSON and gRPC streams answered";
        let items = encoder.encode_descriptor("stream_items", help, None, MetricType::Counter)?;
        ConstCounter::new(self.stream_items.load(Relaxed)).encode(items)
    }
}

/// A window on the room that request bodies take.
#[derive(Debug)]
struct Bodies(BodyRoom);

impl Collector for Bodies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Bytes of request bodies held now";
        let bytes = i64::try_from(self.0.bytes_held()).unwrap_or(i64::MAX);
        let held = encoder.encode_descriptor("request_bodies", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(bytes).encode(held)
    }
}

/// A window on what the cell counts.
#[derive(Debug)]
struct CellCounts(CellHandle);

impl Collector for CellCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = self.0.status();
        let gauges = [
            ("position", "Index of the newest entry applied", status.position.index),
            ("epoch", "Epoch of the newest entry applied", status.position.epoch),
            ("writable", "1 if writes are accepted", u64::from(status.writable)),
            ("queued_commands", "Writes waiting to be appended", status.queued),
            ("accounts", "Accounts", status.accounts),
            ("open_holds", "Open holds", status.holds),
            ("records", "Records in the archive", status.records),
            ("checkpoint_index", "Index of the newest durable checkpoint", status.checkpoint),
            ("log_first_index", "Index of the oldest entry still in the log", status.log_first),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let counters = status.counters;
        let counts = [
            ("entries", "Log entries appended", counters.entries),
            ("entry_bytes", "Bytes of log entries appended", counters.entry_bytes),
            ("decided", "Commands decided, items of batches included", counters.decided),
            ("replays", "Answers given from the record", counters.replays),
            ("joins", "Requests that joined one in flight", counters.joins),
            ("rejected", "Writes turned away before anything was appended", counters.rejected),
            ("uncertain", "Writes left uncertain", counters.uncertain),
            ("expired_holds", "Holds expired", counters.expired_holds),
            ("checkpoints", "Checkpoints finished", counters.checkpoints),
        ];
        for (name, help, value) in counts {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let unit = Unit::Seconds;
        let times = [
            ("append", "Time spent in appends, write and sync", counters.append_us),
            ("apply", "Time spent applying entries", counters.apply_us),
        ];
        for (name, help, us) in times {
            let encoder = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Counter)?;
            ConstCounter::new(us as f64 / 1e6).encode(encoder)?;
        }
        let help = "Bytes written to disk since the start, by directory";
        let mut written = encoder.encode_descriptor("disk_written_bytes", help, None, MetricType::Counter)?;
        for (directory, bytes) in self.0.bytes_written() {
            ConstCounter::new(bytes).encode(written.encode_family(&[("directory", directory)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_names_counters_as_their_samples() {
        let openmetrics = "# HELP a Help.\n# TYPE a counter\na_total{x=\"y\"} 1\n# HELP b_seconds B.\n# TYPE b_seconds histogram\n\
                           # UNIT b_seconds seconds\nb_seconds_sum 0.5\n# EOF\n";
        let expect = "# HELP a_total Help.\n# TYPE a_total counter\na_total{x=\"y\"} 1\n# HELP b_seconds B.\n\
                      # TYPE b_seconds histogram\nb_seconds_sum 0.5\n";
        assert_eq!(to_prometheus(openmetrics), expect);
    }
}
