//! Leases as the server has them: acquired, renewed, released and looked at, each by one request.
//!
//! For work that must not go on without its lease take [`Client::hold_lease`]: it knows when to stop.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Write;
use crate::client::Client;
use crate::read::Read;
use crate::transport::{and_cursor, segment};

/// What lease is wanted, and how.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NewLease {
    /// Who, for people to read; it proves nothing, and the same owner may wait or hold more than once.
    pub owner: String,
    /// For how long from the grant on, in milliseconds: 1 to 24 h.
    pub ttl_ms: u64,
    /// How many may hold it at a time; 1 if absent. The same for all who use the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// How long to wait in line, in milliseconds: until shortly before the deadline if absent, not at all if 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// A JSON object for people, like a host's name: at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl NewLease {
    /// A lease for one holder, waited for as long as the caller waits.
    pub fn new(owner: impl Into<String>, ttl_ms: u64) -> Self {
        Self { owner: owner.into(), ttl_ms, capacity: None, wait_ms: None, metadata: None }
    }
}

/// A lease that was granted.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct LeaseGranted {
    /// Which.
    pub name: String,
    /// To whom.
    pub owner: String,
    /// The fencing token: greater than every one granted before.
    pub token: u64,
    /// Until when by the server's clock, RFC 3339. Not for a holder to compare with a clock of its own.
    pub expires_at: String,
    /// Everything else that the server says of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A lease that its holder has for longer.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct LeaseRenewed {
    /// Which.
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// Under which token: the same as before.
    pub token: u64,
    /// Until when by the server's clock, RFC 3339.
    pub expires_at: String,
}

/// A lease that was given back.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct LeaseReleased {
    /// Which.
    pub name: String,
    /// Who held it.
    pub owner: String,
    /// Under which token.
    pub token: u64,
}

/// A lease as it is now.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct Lease {
    /// Its name.
    pub name: String,
    /// How many may hold it at a time; `None` while nobody holds it or waits for it.
    pub capacity: Option<u64>,
    /// Who holds it.
    pub holders: Vec<LeaseHolder>,
    /// How many wait in line.
    pub waiting: u64,
}

/// Somebody who holds a lease.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct LeaseHolder {
    /// Who.
    pub owner: String,
    /// Under which token.
    pub token: u64,
    /// Since when, RFC 3339.
    pub granted_at: String,
    /// Until when, unless it is renewed.
    pub expires_at: String,
    /// What the holder said of itself.
    #[serde(default)]
    pub metadata: Value,
}

/// A page of leases in use.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct LeasePage {
    /// Sorted by name.
    pub items: Vec<Lease>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

#[derive(Serialize)]
struct Renew {
    token: u64,
    ttl_ms: u64,
}

#[derive(Serialize)]
struct Release {
    token: u64,
}

impl Client {
    /// Acquires a lease, waiting in line for it. Refused as `lease-held` where there was no room in time.
    pub fn acquire_lease(&self, name: &str, wish: &NewLease) -> Write<'_, LeaseGranted> {
        Write::new(self, format!("/v1/leases/{}/acquire", segment(name)), wish)
    }

    /// Lets a holder have a lease for `ttl_ms` from now on. Refused as `lease-lost` where the token is not in force.
    pub fn renew_lease(&self, name: &str, token: u64, ttl_ms: u64) -> Write<'_, LeaseRenewed> {
        Write::new(self, format!("/v1/leases/{}/renew", segment(name)), &Renew { token, ttl_ms })
    }

    /// Gives a lease back; whoever is first in line has it next.
    pub fn release_lease(&self, name: &str, token: u64) -> Write<'_, LeaseReleased> {
        Write::new(self, format!("/v1/leases/{}/release", segment(name)), &Release { token })
    }

    /// Reads who holds a lease and how many wait for it.
    pub fn lease(&self, name: &str) -> Read<'_, Lease> {
        Read::new(self, format!("/v1/leases/{}", segment(name)))
    }

    /// Reads the leases in use by name, up to `limit` (1 to 1000) from where the page before ended.
    pub fn leases(&self, limit: u16, cursor: Option<&str>) -> Read<'_, LeasePage> {
        Read::new(self, format!("/v1/leases?limit={limit}{}", and_cursor(cursor)))
    }
}
