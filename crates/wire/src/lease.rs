//! Leases as strangers see them: grants and their ends, and who holds what.

use machine::{Granted, LeaseRecord, LeaseView, Record};
use words::Stamp;

use crate::answer::{Answer, STATUS_CREATED, STATUS_OK, committed, pending};
use crate::codes::Code;
use crate::instant::put_instant;
use crate::json::{put_json_or_null, put_plain, put_str_or_null, put_u64};
use crate::problem::Problem;

/// Renders what was decided about a lease. A record that no caller has asked for has no answer of its own and gives
/// `internal`.
pub(crate) fn answer_of(lease: &LeaseRecord<'_>, record: &Record<'_>) -> Answer {
    let mut out = Vec::with_capacity(256);
    let mut status = STATUS_OK;
    match *lease {
        LeaseRecord::Waiting { .. } => return pending(record.key),
        LeaseRecord::GaveUp { name, holders, expires_in_ms, .. } => {
            let (had, wanted) = (holders.into(), expires_in_ms.into());
            let refusal = machine::Refusal { code: machine::Code::LeaseHeld, about: name, had, wanted };
            return Problem::of_refusal(&refusal, record.key).answer();
        }
        LeaseRecord::Granted(ref granted) => {
            status = STATUS_CREATED;
            write_granted(&mut out, granted, record.stamp);
        }
        LeaseRecord::Renewed { name, owner, token, expires } => {
            put_held(&mut out, name, owner, token);
            put_stamp(&mut out, b",\"expires_at\":", expires);
        }
        LeaseRecord::Released { name, owner, token } => put_held(&mut out, name, owner, token),
        LeaseRecord::Expired { .. } => return Problem::of(Code::Internal).answer(),
    }
    out.push(b'}');
    committed(status, out)
}

/// Appends what an event tells of a lease; `false`, and nothing appended, if it is no event.
pub(crate) fn write_event_data(out: &mut Vec<u8>, lease: &LeaseRecord<'_>, stamp: Stamp) -> bool {
    match *lease {
        LeaseRecord::Granted(ref granted) => write_granted(out, granted, stamp),
        LeaseRecord::Released { name, owner, token } | LeaseRecord::Expired { name, owner, token } => {
            put_held(out, name, owner, token);
        }
        LeaseRecord::Waiting { .. } | LeaseRecord::GaveUp { .. } | LeaseRecord::Renewed { .. } => return false,
    }
    out.push(b'}');
    true
}

/// Appends a lease as it is now; one that nobody holds and nobody waits for has no capacity.
pub fn write_lease(out: &mut Vec<u8>, name: &str, view: Option<&LeaseView>) {
    out.extend_from_slice(b"{\"name\":");
    put_plain(out, name);
    out.extend_from_slice(b",\"capacity\":");
    match view {
        Some(view) => put_u64(out, view.capacity),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"holders\":[");
    for (at, holder) in view.iter().flat_map(|view| &view.holders).enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"owner\":" } else { b"{\"owner\":" });
        put_plain(out, &holder.owner);
        put_number(out, b",\"token\":", holder.token);
        put_stamp(out, b",\"granted_at\":", holder.granted);
        put_stamp(out, b",\"expires_at\":", holder.expires);
        out.extend_from_slice(b",\"metadata\":");
        put_json_or_null(out, &holder.metadata);
        out.push(b'}');
    }
    put_number(out, b"],\"waiting\":", view.map_or(0, |view| view.waiting));
    out.push(b'}');
}

/// Appends a page of leases in use; `next` is the name to begin after, `None` at the end.
pub fn write_leases(out: &mut Vec<u8>, leases: &[LeaseView], next: Option<&str>) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, lease) in leases.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_lease(out, &lease.name, Some(lease));
    }
    out.extend_from_slice(b"],\"next\":");
    put_str_or_null(out, next.unwrap_or_default());
    out.push(b'}');
}

fn write_granted(out: &mut Vec<u8>, granted: &Granted<'_>, stamp: Stamp) {
    let Granted { name, owner, token, capacity, ttl_ms, expires, metadata, .. } = *granted;
    put_held(out, name, owner, token);
    put_stamp(out, b",\"expires_at\":", expires);
    put_stamp(out, b",\"granted_at\":", stamp);
    put_number(out, b",\"ttl_ms\":", ttl_ms);
    put_number(out, b",\"capacity\":", capacity);
    out.extend_from_slice(b",\"metadata\":");
    put_json_or_null(out, metadata);
}

fn put_held(out: &mut Vec<u8>, name: &str, owner: &str, token: u64) {
    out.extend_from_slice(b"{\"name\":");
    put_plain(out, name);
    out.extend_from_slice(b",\"owner\":");
    put_plain(out, owner);
    put_number(out, b",\"token\":", token);
}

fn put_stamp(out: &mut Vec<u8>, before: &[u8], stamp: Stamp) {
    out.extend_from_slice(before);
    put_instant(out, stamp);
}

fn put_number(out: &mut Vec<u8>, before: &[u8], n: u64) {
    out.extend_from_slice(before);
    put_u64(out, n);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use machine::{Acquire, Body, HolderView};

    use super::*;
    use crate::answer::tests::record;

    fn check(lease: LeaseRecord<'_>, status: u16, expected: &Expect) {
        let answer = answer_of(&lease, &record(Body::Lease(lease)));
        assert_eq!(answer.status, status, "{lease:?}");
        expected.assert_eq(&String::from_utf8(answer.body).unwrap());
    }

    #[test]
    fn answers() {
        let expires = Stamp::from_micros(1_767_225_610_000_000);
        let granted = Granted {
            name: "db",
            owner: "ann",
            token: 7,
            capacity: 1,
            ttl_ms: 10_000,
            expires,
            metadata: "{\"host\":\"a\"}",
            began: None,
        };
        check(
            LeaseRecord::Granted(granted),
            201,
            &expect![[
                r#"{"name":"db","owner":"ann","token":7,"expires_at":"2026-01-01T00:00:10.000000Z","granted_at":"2023-11-14T22:13:20.000001Z","ttl_ms":10000,"capacity":1,"metadata":{"host":"a"}}"#
            ]],
        );
        check(
            LeaseRecord::Renewed { name: "db", owner: "ann", token: 7, expires },
            200,
            &expect![[r#"{"name":"db","owner":"ann","token":7,"expires_at":"2026-01-01T00:00:10.000000Z"}"#]],
        );
        check(
            LeaseRecord::Released { name: "db", owner: "ann", token: 7 },
            200,
            &expect![[r#"{"name":"db","owner":"ann","token":7}"#]],
        );
        check(
            LeaseRecord::GaveUp { began: 3, name: "db", holders: 1, expires_in_ms: 1_500 },
            409,
            &expect![[
                r#"{"type":"/errors/lease-held","title":"The lease is held","status":409,"detail":"The lease db is held by 1; the first of them expires in 1500 ms if not renewed.","code":"lease-held","outcome":"refused","operation":"/v1/operations/order%2F17"}"#
            ]],
        );
        let asked = Acquire { name: "db", owner: "bob", ttl_ms: 1, capacity: 1, wait_ms: None, metadata: "" };
        check(
            LeaseRecord::Waiting { asked, until: expires },
            202,
            &expect![[
                r#"{"key":"order/17","outcome":"uncertain","status":202,"body":null,"position":null,"received_at":null,"decided_at":null,"expires_at":null,"replays":0,"joins":0}"#
            ]],
        );
        let nobody_asked = LeaseRecord::Expired { name: "db", owner: "ann", token: 7 };
        assert_eq!(answer_of(&nobody_asked, &record(Body::Lease(nobody_asked))).code, Some(Code::Internal));
    }

    #[test]
    fn views() {
        let holder = HolderView {
            owner: "ann".to_owned(),
            token: 7,
            granted: Stamp::from_micros(1_767_225_600_000_000),
            expires: Stamp::from_micros(1_767_225_610_000_000),
            metadata: String::new(),
        };
        let view = LeaseView { name: "db".to_owned(), capacity: 2, holders: vec![holder.clone(), holder], waiting: 3 };
        let mut out = Vec::new();
        write_leases(&mut out, &[view], Some("db"));
        out.push(b'\n');
        write_lease(&mut out, "free", None);
        expect![[r#"
            {"items":[{"name":"db","capacity":2,"holders":[{"owner":"ann","token":7,"granted_at":"2026-01-01T00:00:00.000000Z","expires_at":"2026-01-01T00:00:10.000000Z","metadata":null},{"owner":"ann","token":7,"granted_at":"2026-01-01T00:00:00.000000Z","expires_at":"2026-01-01T00:00:10.000000Z","metadata":null}],"waiting":3}],"next":"db"}
            {"name":"free","capacity":null,"holders":[],"waiting":0}"#]].assert_eq(&String::from_utf8(out).unwrap());
    }
}
