//! What is told of the calls that the server makes, and of what is uncertain of them.

use std::fmt::Error;
use std::time::SystemTime;

use call::{BreakerState, Client, DestinationStatus};
use cell::{CellHandle, SETTLED_BOUNDS_MS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A window on what is uncertain.
#[derive(Debug)]
pub(super) struct Doubts(pub(super) CellHandle);

/// What of a destination is counted.
type Count = fn(&DestinationStatus) -> u64;

/// A window on the destinations that were called.
#[derive(Debug)]
pub(super) struct Destinations(pub(super) Client);

impl Collector for Doubts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let status = self.0.status();
        let gauges = [
            ("open_calls", "Durable calls that have not ended", status.calls),
            ("uncertain_calls", "Of these, calls of which nobody knows whether they were done", status.uncertain),
            ("open_runs", "Runs of sagas that have not ended", status.runs),
            ("leases", "Leases that are held or waited for", status.leases),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let unit = Unit::Seconds;
        let now_us =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let age_us = status.uncertain_oldest.map_or(0, |since| now_us.saturating_sub(since.micros()));
        let help = "Age of the oldest uncertain call";
        let age = encoder.encode_descriptor("uncertain_oldest_age", help, Some(&unit), MetricType::Gauge)?;
        ConstGauge::new(age_us as f64 / 1e6).encode(age)?;
        let help = "How long calls were uncertain that now have an end";
        let mut settled = encoder.encode_descriptor("uncertain_duration", help, Some(&unit), MetricType::Histogram)?;
        let bounds = SETTLED_BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(status.counters.settled).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        settled.encode_histogram::<NoLabelSet>(status.counters.settled_us as f64 / 1e6, count, &buckets, None)
    }
}

impl Collector for Destinations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.0.status();
        let counts: [(&str, &str, Count); 3] = [
            ("calls", "Calls made, by destination", |one| one.requests),
            ("call_retries", "Tries and attempts after the first, by destination", |one| one.retries),
            (
                "call_budget_refusals",
                "Retries that the budget refused and turns waited for in vain, by destination",
                |one| one.budget_refusals,
            ),
        ];
        for (name, help, value) in counts {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for one in &all {
                ConstCounter::new(value(one))
                    .encode(family.encode_family(&[("destination", one.destination.as_str())])?)?;
            }
        }
        let help = "Endpoints whose breaker is not closed, by destination";
        let mut open = encoder.encode_descriptor("call_breakers_open", help, None, MetricType::Gauge)?;
        for one in &all {
            let count = one.endpoints.iter().filter(|endpoint| endpoint.breaker != BreakerState::Closed).count();
            ConstGauge::new(count as i64).encode(open.encode_family(&[("destination", one.destination.as_str())])?)?;
        }
        let help = "Calls under way, by destination";
        let mut under_way = encoder.encode_descriptor("calls_under_way", help, None, MetricType::Gauge)?;
        for one in &all {
            let labels = [("destination", one.destination.as_str())];
            ConstGauge::new(one.under_way as i64).encode(under_way.encode_family(&labels)?)?;
        }
        let help = "Suspicion that an endpoint is gone (phi accrual), the highest of a destination";
        let mut phi = encoder.encode_descriptor("call_phi", help, None, MetricType::Gauge)?;
        for one in &all {
            let most = one.endpoints.iter().map(|endpoint| endpoint.rotation.phi).fold(0.0, f64::max);
            ConstGauge::new(most).encode(phi.encode_family(&[("destination", one.destination.as_str())])?)?;
        }
        Ok(())
    }
}
