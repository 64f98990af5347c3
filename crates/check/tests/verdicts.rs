//! Small histories of every model, with the verdict and the piece that each must get.

use std::ops::ControlFlow;

use check::{Bounds, Format, Verdict};

/// Each operation is `client call..return what`, where a return of `?` is uncertain, and `what` are JSON fields; one that
/// has no outcome is committed. Expected is `legal`, or the lines of the offence, the header being line 1.
#[track_caller]
fn check(header: &str, operations: &[&str], expected: &str) {
    let mut text = format!("{{{header}}}\n");
    for operation in operations {
        let mut words = operation.splitn(3, ' ');
        let [client, time, what] = [(); 3].map(|()| words.next().expect("three words"));
        let (call, returned) = time.split_once("..").expect("a time");
        let end =
            if returned == "?" { r#""outcome":"uncertain""#.to_owned() } else { format!(r#""return":{returned}"#) };
        let outcome = if returned == "?" || what.contains("outcome") { "" } else { r#","outcome":"committed""# };
        text.push_str(&format!("{{\"client\":\"{client}\",\"call\":{call},{end},{what}{outcome}}}\n"));
    }
    let history = check::read(text.as_bytes(), Format::JsonLines, None).expect("a history");
    let report = check::check(&history, Bounds::default(), &mut |_| ControlFlow::Continue(()));
    let found = match report.verdict {
        Verdict::Legal => "legal".to_owned(),
        Verdict::Illegal(offence) => {
            let lines: Vec<String> = offence.operations.iter().map(|at| (at + 2).to_string()).collect();
            format!("{}: {}", offence.part, lines.join(" "))
        }
        Verdict::Undecided { part, limit } => format!("{part}: {limit:?}"),
    };
    assert_eq!(found, expected);
}

const REGISTER: &str = r#""model":"register""#;

#[test]
fn registers() {
    let [w1, w2, r1, r2, null] = [
        r#""op":"write","value":1"#,
        r#""op":"write","value":2"#,
        r#""op":"read","value":1"#,
        r#""op":"read","value":2"#,
        r#""op":"read","value":null"#,
    ];
    let at = |place: &str, what: &str| format!("{place} {what}");
    let check = |operations: &[String], expected: &str| {
        check(REGISTER, &operations.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    };
    check(&[], "legal");
    check(&[at("a 0..9", w1), at("b 1..3", null), at("b 4..6", r1)], "legal");
    check(&[at("a 0..9", w1), at("b 1..3", r1), at("b 4..6", null)], "the register: 3 4");
    // What only touches overlaps.
    check(&[at("a 0..9", w1), at("b 9..10", null)], "legal");
    check(&[at("a 0..9", w1), at("b 10..11", null)], "the register: 2 3");
    // An uncertain one takes effect late, or never, but once.
    check(&[at("a 0..?", w1), at("b 1..2", null), at("b 10..11", r1)], "legal");
    check(&[at("a 0..?", w1), at("b 1..2", null)], "legal");
    check(&[at("b 0..1", r1), at("a 5..?", w1)], "the register: 2");
    let back = [at("a 0..?", w1), at("b 1..2", r1), at("c 3..4", w2), at("b 5..6", r2), at("b 7..8", r1)];
    check(&back, "the register: 2 3 5 6");
    let twice: Vec<_> = back.iter().cloned().chain([at("d 6..?", w1)]).collect();
    check(&twice, "legal");
    // Two readers who disagree about the order of two writes.
    let apart = [at("a 0..9", w1), at("b 0..9", w2), at("c 1..2", r1), at("c 3..4", r2), at("d 5..6", r1)];
    check(&apart, "the register: 4 5 6");
    // Others that do not matter are left out.
    let others = ["x 0..1", "y 0..4", "z 2..3"].map(|place| at(place, r#""op":"write","value":7"#));
    let late = [at("a 10..20", w1), at("b 30..40", r2), at("c 50..60", r1)];
    check(&[&others[..], &late[..]].concat(), "the register: 6");
}

#[test]
fn compare_and_set() {
    let cas = |from: u8, to: u8| format!(r#""op":"cas","from":{from},"to":{to}"#);
    let mismatch = |from: u8| format!(r#"{},"outcome":"refused","code":"mismatch""#, cas(from, 9));
    let check = |operations: &[String], expected: &str| {
        let header = format!("{REGISTER},\"initial\":1");
        check(&header, &operations.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    };
    let at = |place: &str, what: String| format!("{place} {what}");
    check(&[at("a 0..1", cas(1, 2)), at("a 2..3", cas(2, 1)), at("b 4..5", cas(1, 3))], "legal");
    check(&[at("a 0..1", cas(1, 2)), at("b 2..3", cas(1, 3))], "the register: 2 3");
    check(&[at("a 0..1", mismatch(2))], "legal");
    check(&[at("a 0..1", mismatch(1))], "the register: 2");
    check(&[at("a 0..5", mismatch(1)), at("b 2..9", cas(1, 4))], "legal");
    // Whatever else it may have become, it was not 1 for a while.
    check(&[at("b 0..?", cas(1, 4)), at("a 1..5", mismatch(1))], "legal");
    check(&[at("b 0..?", cas(2, 4)), at("a 1..5", mismatch(1))], "the register: 3");
    let other = format!(r#"{},"outcome":"refused","code":"overloaded""#, cas(1, 9));
    check(&[at("a 0..1", other), at("b 2..3", r#""op":"read","value":1"#.to_owned())], "legal");
}

#[test]
fn maps() {
    let check = |operations: &[&str], expected: &str| check(r#""model":"map""#, operations, expected);
    let put = r#"a 0..1 "op":"put","key":"k","value":"x""#;
    let append = r#"a 2..3 "op":"append","key":"k","value":"yz""#;
    check(&[put, append, r#"b 4..5 "op":"get","key":"k","value":"xyz""#], "legal");
    check(&[put, append, r#"b 4..5 "op":"get","key":"k","value":"x""#], "key \"k\": 3 4");
    check(&[put, append, r#"b 4..5 "op":"get","key":"other","value":null"#], "legal");
    check(&[put, append, r#"b 4..5 "op":"get","key":"other","value":"""#], "key \"other\": 4");
    check(&[append, r#"b 4..5 "op":"get","key":"k","value":"yz""#], "legal");
    check(&[put, append, r#"c 4..5 "op":"cas","key":"k","from":"xyz","to":null"#], "legal");
    // Once, not twice.
    let twice = r#"b 9..10 "op":"get","key":"k","value":"xyzyz""#;
    check(&[put, append, twice], "key \"k\": 4");
    check(&[put, append, r#"c 2..? "op":"append","key":"k","value":"yz""#, twice], "legal");
}

#[test]
fn ledgers() {
    let header = r#""model":"ledger","accounts":{"a":{"balance":10},"b":{},"w":{"floor":null}}"#;
    let check = |operations: &[&str], expected: &str| check(header, operations, expected);
    let pay = r#"x 0..9 "op":"transfer","from":"a","to":"b","amount":7"#;
    check(&[pay, r#"y 10..11 "op":"read","balances":{"a":3,"b":7,"w":0}"#], "legal");
    check(&[pay, r#"y 1..2 "op":"read","balances":{"a":10}"#, r#"y 3..4 "op":"read","balances":{"b":7}"#], "legal");
    check(&[pay, r#"y 10..11 "op":"read","balances":{"a":10}"#], "account a: 2 3");
    // Each account by itself can be explained, but not both.
    check(
        &[pay, r#"y 1..2 "op":"read","balances":{"b":7}"#, r#"y 3..4 "op":"read","balances":{"a":10}"#],
        "account a and 1 connected with it: 3 4",
    );
    check(&[pay, r#"y 1..8 "op":"read","balances":{"a":3,"b":0}"#], "account a and 1 connected with it: 3");
    // What was before the first read is of no matter, since that read it.
    let [before, after] = [r#"y 10..11 "op":"read","balances":{"a":3}"#, r#"y 14..15 "op":"read","balances":{"a":3}"#];
    check(&[pay, before, r#"z 12..13 "op":"transfer","from":"w","to":"a","amount":5"#, after], "account a: 3 4 5");
    // Floors.
    let short =
        r#"z 3..4 "op":"transfer","from":"a","to":"b","amount":4,"outcome":"refused","code":"insufficient-funds""#;
    check(&[pay, short], "legal");
    check(&[short], "account a: 2");
    check(&[pay, r#"z 10..11 "op":"transfer","from":"a","to":"b","amount":4"#], "account a: 2 3");
    check(&[pay, r#"z 1..? "op":"transfer","from":"a","to":"b","amount":4"#], "legal");
    check(&[r#"z 0..1 "op":"transfer","from":"w","to":"b","amount":99999999"#], "legal");
    check(
        &[r#"z 0..? "op":"transfer","from":"w","to":"b","amount":5"#, r#"y 8..9 "op":"read","balances":{"b":10}"#],
        "account b: 3",
    );
}

#[test]
fn sets() {
    let check = |operations: &[&str], expected: &str| check(r#""model":"set""#, operations, expected);
    let add1 = r#"a 0..9 "op":"add","value":1"#;
    let add2 = r#"b 0..9 "op":"add","value":2"#;
    check(&[add1, add2, r#"c 1..2 "op":"read","values":[2]"#, r#"c 3..4 "op":"read","values":[1,2]"#], "legal");
    check(&[add1, add2, r#"c 1..2 "op":"read","values":[2]"#, r#"d 1..4 "op":"read","values":[1]"#], "the set: 4 5");
    check(&[add1, add2, r#"c 10..11 "op":"read","values":[2]"#], "the set: 2 4");
    check(&[add1, r#"c 3..4 "op":"contains","value":1,"found":true"#], "legal");
    check(
        &[
            add1,
            r#"c 3..4 "op":"contains","value":1,"found":true"#,
            r#"c 5..6 "op":"contains","value":1,"found":false"#,
        ],
        "the set: 2 3 4",
    );
    check(&[r#"c 3..4 "op":"read","values":[3]"#, add1], "the set: 2");
    check(&[r#"c 3..4 "op":"contains","value":3,"found":true"#], "the set: 2");
    check(&[r#"c 3..4 "op":"read","values":[3]"#, r#"a 5..? "op":"add","value":3"#], "the set: 2 3");
    check(&[r#"a 5..? "op":"add","value":3"#, r#"c 6..7 "op":"read","values":[]"#], "legal");
    check(
        &[
            r#"a 5..? "op":"add","value":3"#,
            r#"c 6..7 "op":"read","values":[3]"#,
            r#"c 8..9 "op":"contains","value":3,"found":false"#,
        ],
        "the set: 2 3 4",
    );
}
