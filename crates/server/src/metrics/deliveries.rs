//! What is told of the events that the server delivers, and of how far each subscription is.

use std::fmt::Error;
use std::sync::{Arc, Mutex, PoisonError};

use machine::SubscriptionView;
use outbox::{DELIVERY_BOUNDS_MS, DeliveryCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The most subscriptions that are told of, in the order of their names.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1_000;

/// A window on what deliveries came to.
#[derive(Debug)]
pub(super) struct Deliveries(pub(super) DeliveryCounts);

/// How far each subscription was when somebody last asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions(Arc<Mutex<Vec<SubscriptionView>>>);

/// What of a subscription is told.
type Value = fn(&SubscriptionView) -> u64;

impl Subscriptions {
    pub(super) fn set(&self, views: Vec<SubscriptionView>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }
}

impl Collector for Deliveries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let now = self.0.now();
        let help = "Attempts at deliveries, by what came of them";
        let mut attempts = encoder.encode_descriptor("deliveries", help, None, MetricType::Counter)?;
        for (outcome, count) in [("delivered", now.delivered), ("failed", now.failed), ("gone", now.gone)] {
            ConstCounter::new(count).encode(attempts.encode_family(&[("outcome", outcome)])?)?;
        }
        let help = "How long attempts at deliveries took";
        let unit = Unit::Seconds;
        let mut took = encoder.encode_descriptor("delivery_duration", help, Some(&unit), MetricType::Histogram)?;
        let bounds = DELIVERY_BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(now.took).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        took.encode_histogram::<NoLabelSet>(now.took_us as f64 / 1e6, count, &buckets, None)
    }
}

impl Collector for Subscriptions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gauges: [(&str, &str, Value); 3] = [
            ("subscription_behind", "Records that a subscription has still to look at", |view| view.behind),
            ("subscription_parked", "Events that wait to be tried again, or behind one that does", |view| view.parked),
            ("subscription_dead_letters", "Events that were given up and wait for a person", |view| view.dead_letters),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &*views {
                let value = i64::try_from(value(view)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&[("subscription", &*view.name)])?)?;
            }
        }
        Ok(())
    }
}
