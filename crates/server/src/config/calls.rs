//! Whom the server may call, and what their answers mean.

use std::collections::HashMap;
use std::sync::Arc;

use call::{
    AddressPolicy, AllowList, BulkheadSettings, DestinationSettings, LoopbackOnly, Meanings, NotDone, Settings,
};

/// Settings of the calls that the server makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Hosts, addresses and networks that may be called; `None` = loopback where only loopback is listened on, else
    /// nothing.
    pub allow: Option<Vec<String>>,
    /// Calls under way at one destination.
    pub concurrency_max: usize,
    /// Destinations whose 408, 429 and 503 mean that nothing was done.
    pub not_done: Vec<String>,
    /// Destinations whose `Tertium-Outcome` is believed.
    pub trusted: Vec<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { allow: None, concurrency_max: 256, not_done: Vec::new(), trusted: Vec::new() }
    }
}

impl Calls {
    /// Which addresses may be called by a server that listens on loopback only, or not.
    pub(crate) fn policy(&self, listens_on_loopback: bool) -> Arc<dyn AddressPolicy> {
        match &self.allow {
            None if listens_on_loopback => Arc::new(LoopbackOnly),
            None => Arc::new(AllowList::default()),
            // Read when it was set.
            Some(items) => Arc::new(AllowList::new(items.iter().map(String::as_str)).unwrap_or_default()),
        }
    }

    /// As the call layers take it.
    pub(crate) fn settings(&self, addresses: Arc<dyn AddressPolicy>) -> Settings {
        let bulkhead = BulkheadSettings { concurrency_max: self.concurrency_max, waiting_max: outbox::WAITING_MAX };
        let usual = DestinationSettings { bulkhead, ..DestinationSettings::default() };
        let mut destinations: HashMap<String, DestinationSettings> = HashMap::new();
        for name in &self.not_done {
            let not_done = NotDone::new(&[408, 429, 503]).unwrap_or_default();
            destinations.entry(name.clone()).or_insert_with(|| usual.clone()).meanings.not_done = not_done;
        }
        for name in &self.trusted {
            let Meanings { outcome_trusted, .. } =
                &mut destinations.entry(name.clone()).or_insert_with(|| usual.clone()).meanings;
            *outcome_trusted = true;
        }
        Settings { addresses, destination: usual, destinations, ..Settings::default() }
    }
}

/// A list of destinations for people.
pub(super) fn show(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(",") }
}

/// Items between commas; `none` is the empty list.
pub(super) fn allow(text: &str) -> Result<Vec<String>, String> {
    let items = items(text)?;
    AllowList::new(items.iter().map(String::as_str)).map_err(|error| {
        format!("hosts, addresses or networks like `pay.example:443,10.0.0.0/8`; not `{}`", error.item)
    })?;
    Ok(items)
}

/// Hosts between commas, each perhaps with its port; `none` is the empty list.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let items = items(text)?;
    let is_host = |item: &String| item.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if items.iter().all(is_host) { Ok(items) } else { Err("hosts like `pay.example` or `127.0.0.1:9000`".to_owned()) }
}

fn items(text: &str) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let items: Vec<String> = text.split(',').map(|item| item.trim().to_ascii_lowercase()).collect();
    if items.iter().any(String::is_empty) {
        return Err("items between commas, or `none`".to_owned());
    }
    Ok(items)
}
