//! What is asked of leases.

use machine::{Acquire, LEASE_CAPACITY_MAX, LEASE_METADATA_BYTES_MAX, LEASE_TTL_MS_BOUNDS, LeaseOp, Op};
use serde::Deserialize;
use serde_json::value::RawValue;
use words::DEADLINE_MS_MAX;

use super::object::{Object, Text, read};
use super::{checked_id, command, metadata_of};
use crate::codes::Code;
use crate::json::JSON_INTEGER_MAX;
use crate::problem::Problem;

/// The command of `POST /v1/leases/{name}/acquire`.
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_acquire(name: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(AcquireIn { owner, ttl_ms, capacity, wait_ms, metadata }) = read(body)?;
    let metadata = metadata_of(metadata)?;
    if metadata.len() > LEASE_METADATA_BYTES_MAX {
        let what = format!("has at most {LEASE_METADATA_BYTES_MAX} bytes here, this has {}", metadata.len());
        return Err(Problem::field(Code::InvalidRequest, "metadata", what));
    }
    let asked = Acquire {
        name,
        owner: checked_id("owner", &owner.0)?,
        ttl_ms: within("ttl_ms", ttl_ms, LEASE_TTL_MS_BOUNDS)?,
        capacity: within("capacity", capacity.unwrap_or(1), (1, LEASE_CAPACITY_MAX))?,
        wait_ms: wait_ms.map(|wait_ms| within("wait_ms", wait_ms, (0, DEADLINE_MS_MAX))).transpose()?,
        metadata: &metadata,
    };
    Ok(command(principal, key, &Op::Lease(LeaseOp::Acquire(asked)), body.len()))
}

/// The command of `POST /v1/leases/{name}/renew`.
///
/// # Errors
/// As [`parse_acquire`].
pub fn parse_renew(name: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(RenewIn { token, ttl_ms }) = read(body)?;
    let token = within("token", token, (1, JSON_INTEGER_MAX))?;
    let ttl_ms = within("ttl_ms", ttl_ms, LEASE_TTL_MS_BOUNDS)?;
    Ok(command(principal, key, &Op::Lease(LeaseOp::Renew { name, token, ttl_ms }), 0))
}

/// The command of `POST /v1/leases/{name}/release`.
///
/// # Errors
/// As [`parse_acquire`].
pub fn parse_release(name: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(ReleaseIn { token }) = read(body)?;
    let token = within("token", token, (1, JSON_INTEGER_MAX))?;
    Ok(command(principal, key, &Op::Lease(LeaseOp::Release { name, token }), 0))
}

fn within(field: &str, number: u64, (least, most): (u64, u64)) -> Result<u64, Problem> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Problem::field(Code::InvalidRequest, field, format_args!("is {least} to {most}, this is {number}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcquireIn<'a> {
    #[serde(borrow)]
    owner: Text<'a>,
    ttl_ms: u64,
    #[serde(default)]
    capacity: Option<u64>,
    #[serde(default)]
    wait_ms: Option<u64>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenewIn {
    token: u64,
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseIn {
    token: u64,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use machine::Command;

    use super::*;

    fn asked(command: &[u8]) -> String {
        format!("{:?}", Command::decode(command).unwrap().op)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let short = parse_acquire("db", br#"{"owner":"ann","ttl_ms":1000}"#, "", "k").unwrap();
        let long = br#"{ "metadata": {"b":1,"a":2}, "wait_ms": 0, "capacity": 2, "ttl_ms": 1000, "owner": "ann" }"#;
        let long = parse_acquire("db", long, "", "k").unwrap();
        expect![[r#"
            Lease(Acquire(Acquire { name: "db", owner: "ann", ttl_ms: 1000, capacity: 1, wait_ms: None, metadata: "" }))
            Lease(Acquire(Acquire { name: "db", owner: "ann", ttl_ms: 1000, capacity: 2, wait_ms: Some(0), metadata: "{\"a\":2,\"b\":1}" }))
        "#]].assert_eq(&format!("{}\n{}\n", asked(&short), asked(&long)));
    }

    fn check(parsed: Result<Vec<u8>, Problem>, expected: &Expect) {
        expected.assert_eq(&parsed.map(|command| asked(&command)).unwrap_err().to_string());
    }

    #[test]
    fn what_is_no_wish_is_refused_by_name() {
        let acquire = |body: &str| parse_acquire("db", body.as_bytes(), "", "k");
        check(acquire(r#"{"owner":"ann"}"#), &expect!["invalid-request: ttl_ms: missing field `ttl_ms`"]);
        check(
            acquire(r#"{"owner":"a b","ttl_ms":1}"#),
            &expect![
                "invalid-request: owner: an id is made of A-Z a-z 0-9 . _ : / -, the character at offset 1 is not"
            ],
        );
        check(
            acquire(r#"{"owner":"ann","ttl_ms":0}"#),
            &expect!["invalid-request: ttl_ms: is 1 to 86400000, this is 0"],
        );
        check(
            acquire(r#"{"owner":"ann","ttl_ms":86400001}"#),
            &expect!["invalid-request: ttl_ms: is 1 to 86400000, this is 86400001"],
        );
        check(
            acquire(r#"{"owner":"ann","ttl_ms":1,"capacity":0}"#),
            &expect!["invalid-request: capacity: is 1 to 1000, this is 0"],
        );
        check(
            acquire(r#"{"owner":"ann","ttl_ms":1,"wait_ms":3600001}"#),
            &expect!["invalid-request: wait_ms: is 0 to 3600000, this is 3600001"],
        );
        let large = format!(r#"{{"owner":"ann","ttl_ms":1,"metadata":{{"a":"{}"}}}}"#, "x".repeat(1_024));
        check(acquire(&large), &expect!["invalid-request: metadata: has at most 1024 bytes here, this has 1032"]);
        check(
            parse_renew("db", br#"{"token":0,"ttl_ms":1}"#, "", "k"),
            &expect!["invalid-request: token: is 1 to 9007199254740991, this is 0"],
        );
        check(
            parse_release("db", br#"{"token":1,"ttl_ms":1}"#, "", "k"),
            &expect!["invalid-request: ttl_ms: unknown field `ttl_ms`, expected `token`"],
        );
    }
}
