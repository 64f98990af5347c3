//! Whom the server may call, and what their answers mean.

use std::collections::HashMap;
use std::sync::Arc;

use call::{
    AddressPolicy, AllowList, BudgetSettings, BulkheadSettings, DestinationSettings, LoopbackOnly, Meanings, NotDone,
    Settings, destination_name,
};

/// Settings of the calls that the server makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Hosts, addresses and networks that may be called; `None` = loopback where only loopback is listened on, else
    /// nothing.
    pub allow: Option<Vec<String>>,
    /// Calls under way at one destination.
    pub concurrency_max: usize,
    /// Later attempts at one destination in any 10 s, however few calls are made there.
    pub again_floor: u32,
    /// Likewise, at all destinations together, beyond what each is allowed for the calls made there.
    pub again_floor_all: u32,
    /// Destinations whose 408, 429 and 503 mean that nothing was done.
    pub not_done: Vec<String>,
    /// Destinations whose `Tertium-Outcome` is believed.
    pub trusted: Vec<String>,
}

impl Default for Calls {
    fn default() -> Self {
        let (again_floor, again_floor_all) = (10, 100);
        let (not_done, trusted) = (Vec::new(), Vec::new());
        Self { allow: None, concurrency_max: 256, again_floor, again_floor_all, not_done, trusted }
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
        let budget = |floor_again| BudgetSettings { floor_again, ..BudgetSettings::default() };
        let usual =
            DestinationSettings { bulkhead, budget: budget(self.again_floor), ..DestinationSettings::default() };
        let mut destinations: HashMap<String, DestinationSettings> = HashMap::new();
        for name in &self.not_done {
            let not_done = NotDone::new(&[408, 429, 503]).unwrap_or_default();
            destinations.entry(destination_name(name)).or_insert_with(|| usual.clone()).meanings.not_done = not_done;
        }
        for name in &self.trusted {
            let Meanings { outcome_trusted, .. } =
                &mut destinations.entry(destination_name(name)).or_insert_with(|| usual.clone()).meanings;
            *outcome_trusted = true;
        }
        let budget = budget(self.again_floor_all);
        Settings { addresses, budget, destination: usual, destinations, ..Settings::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_the_call_layers_take() {
        let (again_floor, again_floor_all) = (7, 70);
        let not_done = vec!["pay.example.:443".to_owned()];
        let trusted = vec!["[0:0::1]:81".to_owned(), "pay.example:443".to_owned()];
        let calls = Calls { again_floor, again_floor_all, not_done, trusted, ..Calls::default() };
        let settings = calls.settings(Arc::new(LoopbackOnly));
        assert_eq!((settings.destination.budget.floor_again, settings.budget.floor_again), (7, 70));
        let mut names: Vec<_> = settings.destinations.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        let [(local, of_local), (pay, of_pay)] = names[..] else { panic!("{names:?}") };
        assert_eq!((local.as_str(), pay.as_str()), ("[::1]:81", "pay.example:443"));
        assert!(of_local.meanings.outcome_trusted && of_pay.meanings.outcome_trusted);
        assert_eq!((of_pay.budget.floor_again, of_pay.meanings.not_done), (7, NotDone::new(&[408, 429, 503]).unwrap()));
        assert!(call::Client::new(settings).is_ok(), "no name is wrong");
    }
}
