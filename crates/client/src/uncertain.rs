//! What nobody knows, and saying by hand what became of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Write;
use crate::client::Client;
use crate::read::Read;
use crate::transport::{and_cursor, segment};

/// A page of what is uncertain, oldest first.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct UncertainPage {
    /// The calls.
    pub items: Vec<UncertainCall>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A durable call of which nobody knows whether it was done.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct UncertainCall {
    /// What it is resolved by.
    pub id: String,
    /// Its operation's key.
    pub key: String,
    /// Where it goes.
    pub url: String,
    /// Since when, RFC 3339.
    pub uncertain_since: String,
    /// For how long, in milliseconds.
    pub age_ms: u64,
    /// Whether a person has the next move.
    pub escalated: bool,
    /// What is done next: `call`, `resend`, `probe`, `compensate`, or `person`.
    pub next: String,
    /// Everything else that the server says of it, the attempts among it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What was decided by hand.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct Resolved {
    /// The call.
    pub id: String,
    /// `committed` or `refused`.
    pub outcome: String,
}

#[derive(Serialize)]
struct Decree<'a> {
    outcome: &'a str,
    by: &'a str,
    note: &'a str,
}

impl Client {
    /// Reads what is uncertain, oldest first, up to `limit` (1 to 1000) from where the page before ended.
    pub fn uncertain(&self, limit: u16, cursor: Option<&str>) -> Read<'_, UncertainPage> {
        Read::new(self, format!("/v1/uncertain?limit={limit}{}", and_cursor(cursor)))
    }

    /// Says what became of an uncertain call. `by` says so, and `note` says how they know; both are kept with the end.
    pub fn resolve(&self, id: &str, committed: bool, by: &str, note: &str) -> Write<'_, Resolved> {
        let outcome = if committed { "committed" } else { "refused" };
        Write::new(self, format!("/v1/uncertain/{}/resolve", segment(id)), &Decree { outcome, by, note })
    }
}
