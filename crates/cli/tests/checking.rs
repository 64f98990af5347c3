//! Histories from the command line: each verdict with its exit code, and what cannot be read.

mod session;

use expect_test::{Expect, expect};
use session::Session;

fn check(session: &Session, lines: &[&str], expect: Expect) {
    expect.assert_eq(&session.transcript(lines));
}

const HEADER: &str = "{\"model\": \"register\"}\n";

const LEGAL: &str = r#"{"client": "alice", "call": 0, "return": 10, "op": "write", "value": 1, "outcome": "committed"}
{"client": "bob", "call": 5, "return": 14, "op": "read", "value": 1, "outcome": "committed"}
{"client": "dave", "call": 8, "op": "write", "value": 2, "outcome": "uncertain"}
"#;

const STALE: &str =
    r#"{"client": "carol", "call": 20, "return": 25, "op": "read", "value": null, "outcome": "committed"}"#;

#[test]
fn each_verdict_has_its_code() {
    let session = Session::new();
    session.write("legal.jsonl", &format!("{HEADER}{LEGAL}"));
    session.write("stale.jsonl", &format!("{HEADER}{LEGAL}{STALE}\n"));
    session.write("bare.jsonl", LEGAL);
    check(
        &session,
        &["check legal.jsonl", "check stale.jsonl", "check bare.jsonl --model register", "check bare.jsonl"],
        expect![[r#"
            $ tertium check legal.jsonl
            legal: 3 operations of a register
            [exit status: 0]
            $ tertium check stale.jsonl
            illegal: the register, by 2 of 4 operations, which contradict one another whatever became of the others

              bob      |--read 1--|
              carol                 |--read null--|

              line 3  bob    5..14   read 1
              line 5  carol  20..25  read null
            [exit status: 40]
            $ tertium check bare.jsonl --model register
            legal: 3 operations of a register
            [exit status: 0]
            $ tertium check bare.jsonl
            error: the history does not begin with its model, and none is given
            [exit status: 2]
        "#]],
    );
    let json = session.run("check stale.jsonl --json");
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &value["verdict"], value["operations"].as_u64()), (40, &"illegal".into(), Some(4)));
    assert_eq!((value["offence"][1]["line"].as_u64(), &value["offence"][1]["what"]), (Some(5), &"read null".into()));
}

/// Forty writes of forty values, all at once, and then a read of each: none of the many orders will do, but which is tried
/// last?
#[test]
fn what_takes_too_long_is_undecided() {
    let session = Session::new();
    let mut text = HEADER.to_owned();
    for value in 0..40 {
        let line = format!(
            r#"{{"client": {value}, "call": 0, "return": 100, "op": "write", "value": {value}, "outcome": "committed"}}"#
        );
        text.push_str(&line);
        text.push('\n');
        let line = format!(
            r#"{{"client": {value}, "call": 101, "return": 102, "op": "read", "value": {value}, "outcome": "committed"}}"#
        );
        text.push_str(&line);
        text.push('\n');
    }
    session.write("wide.jsonl", &text);
    let ran = session.run("check wide.jsonl --memory-mib-max 1 --json");
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &value["verdict"], &value["limit"]), (41, &"undecided".into(), &"memory".into()), "{ran:?}");
}

#[test]
fn what_cannot_be_read_is_told_with_its_line() {
    let session = Session::new();
    session.write("torn.jsonl", &format!("{HEADER}{LEGAL}{{\"client\": \"carol\""));
    session.write("unknown.jsonl", &format!("{HEADER}{}", LEGAL.replace("\"value\"", "\"valeu\"")));
    session.write("early.jsonl", &format!("{HEADER}{}", STALE.replace("25", "19")));
    session.write("etcd.log", "INFO  jepsen.util - 0\t:ok\t:read\t1\n");
    check(
        &session,
        &[
            "check nothing.jsonl",
            "check torn.jsonl",
            "check unknown.jsonl",
            "check early.jsonl",
            "check early.jsonl --model set",
            "check --format etcd etcd.log",
        ],
        expect![[r#"
            $ tertium check nothing.jsonl
            error: nothing.jsonl: No such file or directory (os error 2)
            [exit status: 1]
            $ tertium check torn.jsonl
            error: torn.jsonl: line 5: column 18: EOF while parsing an object
            [exit status: 1]
            $ tertium check unknown.jsonl
            error: unknown.jsonl: line 2: unknown field `valeu`, expected one of `client`, `call`, `return`, `op`, `outcome`, `code`, `key`, `value`, `from`, `to`, `amount`, `balances`, `found`, `values`
            [exit status: 1]
            $ tertium check early.jsonl
            error: early.jsonl: line 2: answered before it was called
            [exit status: 1]
            $ tertium check early.jsonl --model set
            error: the history is of a register, not of a set
            [exit status: 2]
            $ tertium check --format etcd etcd.log
            error: etcd.log: line 1: process 0 has no call open
            [exit status: 1]
        "#]],
    );
}
