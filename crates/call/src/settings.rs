//! What can be set, for the process and for each destination, with the defaults.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::core::backoff::Backoff;
use crate::core::balance::RotationSettings;
use crate::core::breaker::BreakerSettings;
use crate::core::budget::BudgetSettings;
use crate::core::verdict::Meanings;
use crate::layer::bulkhead::BulkheadSettings;
use crate::layer::deadline::ATTEMPT_MIN;
use crate::layer::health::HealthSettings;
use crate::origin::destination_name;
use crate::transport::TransportSettings;
use crate::transport::address::{AddressPolicy, LoopbackOnly};

/// Of a client, and so of a process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which addresses may be called. Default only this machine.
    pub addresses: Arc<dyn AddressPolicy>,
    /// The budget over all destinations together.
    pub budget: BudgetSettings,
    /// So many destinations are known at a time; the one used longest ago makes room, and is forgotten. Default 1,024.
    pub destinations_max: usize,
    /// Of destinations that `destinations` does not name.
    pub destination: DestinationSettings,
    /// By `host` or `host:port`, as [`destination_name`] has it; the longer one goes first.
    pub destinations: HashMap<String, DestinationSettings>,
    /// How TLS is spoken. Default: by the system's roots, without a client certificate.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            addresses: Arc::new(LoopbackOnly),
            budget: BudgetSettings { floor_again: 100, ..BudgetSettings::default() },
            destinations_max: 1_024,
            destination: DestinationSettings::default(),
            destinations: HashMap::new(),
            tls: None,
        }
    }
}

/// Of one destination: a scheme, a host and a port.
#[derive(Clone, PartialEq, Debug)]
pub struct DestinationSettings {
    /// What its answers mean, where the table leaves it open.
    pub meanings: Meanings,
    /// How it is spoken to, and how much of an answer is read.
    pub transport: TransportSettings,
    /// How many calls at a time.
    pub bulkhead: BulkheadSettings,
    /// Its own budget.
    pub budget: BudgetSettings,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// When an endpoint is left alone; `None` = never.
    pub breaker: Option<BreakerSettings>,
    /// Which of its endpoints are asked.
    pub rotation: RotationSettings,
    /// Health checks. Default none: strangers have not been asked for a path.
    pub health: Option<HealthSettings>,
    /// After how long a read is asked a second time. Default never.
    pub hedge_after: Option<Duration>,
    /// No attempt begins with less time than this. Default 1 ms.
    pub attempt_min: Duration,
    /// How long the addresses of its name are believed. Default 30 s.
    pub resolve_every: Duration,
}

impl Default for DestinationSettings {
    fn default() -> Self {
        Self {
            meanings: Meanings::default(),
            transport: TransportSettings::default(),
            bulkhead: BulkheadSettings::default(),
            budget: BudgetSettings::default(),
            backoff: Backoff::default(),
            breaker: Some(BreakerSettings::default()),
            rotation: RotationSettings::default(),
            health: None,
            hedge_after: None,
            attempt_min: ATTEMPT_MIN,
            resolve_every: Duration::from_secs(30),
        }
    }
}

/// Settings that cannot be: all of them at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    /// Each with its name, its value and what would be right.
    pub problems: Vec<String>,
}

impl Settings {
    /// # Errors
    /// [`SettingsError`].
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let mut problems = Vec::new();
        if self.destinations_max == 0 {
            problems.push("destinations_max is 0; at least 1".to_owned());
        }
        check_budget("budget", &self.budget, &mut problems);
        self.destination.check("destination", &mut problems);
        for (name, destination) in &self.destinations {
            let right = destination_name(name);
            if *name != right {
                problems.push(format!("destinations has `{name}`; it is called `{right}`"));
            }
            destination.check(name, &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    pub(crate) fn of(&self, host: &str, port: u16) -> &DestinationSettings {
        let host = destination_name(host);
        let exact = self.destinations.get(&format!("{host}:{port}"));
        exact.or_else(|| self.destinations.get(&host)).unwrap_or(&self.destination)
    }
}

impl DestinationSettings {
    fn check(&self, name: &str, problems: &mut Vec<String>) {
        check_budget(name, &self.budget, problems);
        if self.bulkhead.concurrency_max == 0 || self.bulkhead.concurrency_max > CONCURRENCY_MAX {
            problems.push(format!(
                "{name}.bulkhead.concurrency_max is {}; 1 to {CONCURRENCY_MAX}",
                self.bulkhead.concurrency_max
            ));
        }
        if let Some(breaker) = &self.breaker
            && !(1..=100).contains(&breaker.failures_percent)
        {
            problems.push(format!("{name}.breaker.failures_percent is {}; 1 to 100", breaker.failures_percent));
        }
        if let Some(health) = &self.health
            && (!health.path.starts_with('/') || health.every.is_zero())
        {
            problems.push(format!("{name}.health is `{}`; a path that starts with / and a period", health.path));
        }
    }
}

/// What a semaphore can count.
const CONCURRENCY_MAX: usize = 1 << 20;

fn check_budget(name: &str, budget: &BudgetSettings, problems: &mut Vec<String>) {
    if budget.percent > 100 {
        problems.push(format!("{name}.percent is {}; at most 100", budget.percent));
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_at_once() {
        let mut settings = Settings { destinations_max: 0, ..Settings::default() };
        assert!(Settings::default().check().is_ok());
        settings.budget.percent = 101;
        settings.destination.bulkhead.concurrency_max = 0;
        settings.destinations.insert("Pay.example".to_owned(), DestinationSettings::default());
        let error = settings.check().unwrap_err();
        assert_eq!(error.problems.len(), 4, "{error}");
    }

    #[test]
    fn the_longer_name_goes_first() {
        let with = |attempt_min| DestinationSettings { attempt_min, ..DestinationSettings::default() };
        let ms = Duration::from_millis;
        let settings = Settings {
            destinations: HashMap::from([("a.example".into(), with(ms(7))), ("a.example:81".into(), with(ms(8)))]),
            ..Settings::default()
        };
        assert_eq!(settings.of("A.example", 81).attempt_min, ms(8));
        assert_eq!(settings.of("a.example", 80).attempt_min, ms(7));
        assert_eq!(settings.of("b.example", 80).attempt_min, ATTEMPT_MIN);
    }
}
