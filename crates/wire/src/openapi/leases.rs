//! The paths and shapes of leases.

use machine::{LEASE_CAPACITY_MAX, LEASE_METADATA_BYTES_MAX, LEASE_TTL_MS_BOUNDS};
use serde_json::{Value, json};
use words::DEADLINE_MS_MAX;

use super::schemas::{array, nullable, object, page};
use super::{Operation, Path, reference};
use crate::codes::Code;
use crate::json::JSON_INTEGER_MAX;

pub(super) fn paths() -> Vec<Path> {
    let list = Operation::read("list_leases", "Leases in use, by name", "LeasePage", &[Code::CursorInvalid]);
    let get = Operation::read("get_lease", "Who holds a lease, and how many wait for it", "Lease", &[]);
    let acquire = "Acquires a lease, waiting in line for it until shortly before the deadline";
    let refusals = [Code::LeaseHeld, Code::LeaseCapacity, Code::LimitReached];
    let acquire = Operation::write("acquire_lease", acquire, "AcquireRequest", 201, "LeaseGranted", &refusals);
    let lost = [Code::LeaseLost];
    let renew = "Lets a holder have a lease for `ttl_ms` from now on";
    let renew = Operation::write("renew_lease", renew, "RenewRequest", 200, "LeaseRenewed", &lost);
    let release = "Gives a lease back; whoever is first in line has it next";
    let release = Operation::write("release_lease", release, "ReleaseRequest", 200, "LeaseReleased", &lost);
    vec![
        ("get", "/v1/leases", list.with(&["limit", "cursor"]).value()),
        ("get", "/v1/leases/{name}", get.with(&["lease"]).value()),
        ("post", "/v1/leases/{name}/acquire", acquire.with(&["lease"]).slow().value()),
        ("post", "/v1/leases/{name}/renew", renew.with(&["lease"]).value()),
        ("post", "/v1/leases/{name}/release", release.with(&["lease"]).value()),
    ]
}

pub(super) fn parameters() -> [(&'static str, &'static str, &'static str, &'static str, Value); 1] {
    [("lease", "name", "path", "The lease. A name needs no making.", reference("schemas", "Id"))]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let id = || reference("schemas", "Id");
    let held = [("name", id()), ("owner", id()), ("token", token())];
    let granted = [
        ("expires_at", instant()),
        ("granted_at", instant()),
        ("ttl_ms", ttl_ms()),
        ("capacity", capacity()),
        ("metadata", reference("schemas", "Metadata")),
    ];
    let holder = [
        ("owner", id()),
        ("token", token()),
        ("granted_at", instant()),
        ("expires_at", instant()),
        ("metadata", reference("schemas", "Metadata")),
    ];
    let waiting = json!({ "type": "integer", "minimum": 0, "description": "How many wait in line." });
    let lease =
        [("name", id()), ("capacity", nullable(capacity())), ("holders", array("LeaseHolder")), ("waiting", waiting)];
    vec![
        ("AcquireRequest", acquire_request()),
        ("RenewRequest", object(&[("token", token()), ("ttl_ms", ttl_ms())], &[])),
        ("ReleaseRequest", object(&[("token", token())], &[])),
        ("LeaseGranted", object(&[held.as_slice(), granted.as_slice()].concat(), &[])),
        ("LeaseRenewed", object(&[held.as_slice(), &[("expires_at", instant())]].concat(), &[])),
        ("LeaseReleased", object(&held, &[])),
        ("LeaseHolder", object(&holder, &[])),
        ("Lease", object(&lease, &[])),
        ("LeasePage", page("Lease")),
    ]
}

fn acquire_request() -> Value {
    let wait = json!({
        "type": "integer",
        "minimum": 0,
        "maximum": DEADLINE_MS_MAX,
        "description": "How long to wait in line at most: until shortly before the deadline if absent, not at all if 0.",
    });
    let metadata = format!("For people, like a host's name: at most {LEASE_METADATA_BYTES_MAX} bytes.");
    let metadata = json!({ "type": ["object", "null"], "description": metadata });
    let optional = [("capacity", capacity()), ("wait_ms", wait), ("metadata", metadata)];
    object(&[("owner", reference("schemas", "Id")), ("ttl_ms", ttl_ms())], &optional)
}

fn token() -> Value {
    let description = "The fencing token: greater than every one granted before, of whatever lease, for ever.";
    json!({ "type": "integer", "minimum": 1, "maximum": JSON_INTEGER_MAX, "description": description })
}

fn ttl_ms() -> Value {
    let (least, most) = LEASE_TTL_MS_BOUNDS;
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": "For how long it is held." })
}

fn capacity() -> Value {
    let description = "How many may hold it at a time; 1 if absent. The same for all while it is in use.";
    json!({ "type": "integer", "minimum": 1, "maximum": LEASE_CAPACITY_MAX, "description": description })
}

fn instant() -> Value {
    reference("schemas", "Instant")
}
