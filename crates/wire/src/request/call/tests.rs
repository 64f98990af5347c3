use expect_test::{Expect, expect};
use machine::{Command, Op};

use super::*;

fn allow(_: &str, _: Asked<'_>) -> Result<(), Problem> {
    Ok(())
}

#[track_caller]
fn check(body: &str, expect: Expect) {
    let said = match parse_call(body.as_bytes(), "", "k", allow) {
        Err(problem) => problem.to_string(),
        Ok(command) => {
            let Op::Call(order) = Command::decode(&command).unwrap().op else { panic!("a call") };
            format!(
                "{} {} {} {:?} {} ms, {} tries{}, {} {} within {} ms, probe {}, undo {}",
                order.method,
                order.url,
                order.headers,
                String::from_utf8_lossy(order.body),
                order.deadline_ms,
                order.tries_max,
                if order.persistent { " and on" } else { "" },
                order.doubt.as_str(),
                order.way_out.as_str(),
                order.uncertain_ms_max,
                order.probe,
                order.compensation
            )
        }
    };
    expect.assert_eq(&said);
}

#[test]
fn forms() {
    check(
        r#"{"url":"http://a/"}"#,
        expect![[r#"POST http://a/  "" 10000 ms, 4 tries, escalate escalate within 86400000 ms, probe , undo "#]],
    );
    check(
        r#"{"url":"http://a/","method":"PUT","headers":{"X-B":"c","Authorization":"Bearer d"},"body":{"b":1,"a":[true]},
            "deadline_ms":500,"retry":{"tries_max":2,"until_deadline":true},
            "probe":{"url":"http://a/{key}","status":{"404":"refused"}},"on_uncertain":"resend",
            "compensate":{"method":"DELETE","url":"http://a/undo","body":{"x":1}},"uncertain_ms_max":5000,"way_out":"compensate"}"#,
        expect![[
            r#"PUT http://a/ {"authorization":"Bearer d","content-type":"application/json","x-b":"c"} "{\"a\":[true],\"b\":1}" 500 ms, 2 tries and on, resend compensate within 5000 ms, probe {"headers":"","pointer":"","status":{"404":"refused"},"url":"http://a/{key}","values":{}}, undo {"method":"DELETE","url":"http://a/undo","headers":"{\"content-type\":\"application/json\"}","body":"{\"x\":1}"}"#
        ]],
    );
    check(
        r#"{"url":"http://a/","headers":{"Content-Type":"text/plain"},"body":"as it is"}"#,
        expect![[
            r#"POST http://a/ {"content-type":"text/plain"} "as it is" 10000 ms, 4 tries, escalate escalate within 86400000 ms, probe , undo "#
        ]],
    );
    check(
        r#"{"url":"http://a/","probe":{"url":"http://a/{key}"}}"#,
        expect![[
            r#"POST http://a/  "" 10000 ms, 4 tries, probe escalate within 86400000 ms, probe {"headers":"","pointer":"","status":{},"url":"http://a/{key}","values":{}}, undo "#
        ]],
    );
}

#[test]
fn the_same_request_has_the_same_bytes() {
    let one = parse_call(br#"{"url":"http://a/","body":{"a":1,"b":2},"headers":{"X":"y"}}"#, "", "k", allow).unwrap();
    let other =
        parse_call(br#"{ "headers":{"x":"y"}, "body":{"b":2, "a":1}, "url":"http://a/" }"#, "", "k", allow).unwrap();
    assert_eq!(Command::decode(&one).unwrap().fingerprint(), Command::decode(&other).unwrap().fingerprint());
}

#[test]
fn refused_by_name() {
    check(r#"{}"#, expect!["invalid-request: url: missing field `url`"]);
    check(r#"{"url":"http://a/","method":"GET"}"#, expect!["invalid-request: method: is POST, PUT, PATCH or DELETE"]);
    check(
        r#"{"url":"http://a/","deadline_ms":0}"#,
        expect!["invalid-request: deadline_ms: is from 1 to 86400000, this is 0"],
    );
    check(
        r#"{"url":"http://a/","deadline_ms":86400001}"#,
        expect!["invalid-request: deadline_ms: is from 1 to 86400000, this is 86400001"],
    );
    check(
        r#"{"url":"http://a/","uncertain_ms_max":10}"#,
        expect!["invalid-request: uncertain_ms_max: is from 1000 to 2592000000, this is 10"],
    );
    check(
        r#"{"url":"http://a/","retry":{"tries_max":5}}"#,
        expect!["invalid-request: retry.tries_max: is from 1 to 4, this is 5"],
    );
    check(
        r#"{"url":"http://a/","on_uncertain":"probe"}"#,
        expect!["invalid-request: on_uncertain: `probe` needs a `probe`: how to ask what became of it"],
    );
    check(
        r#"{"url":"http://a/","on_uncertain":"compensate"}"#,
        expect!["invalid-request: on_uncertain: `compensate` needs a `compensate`: how to undo it"],
    );
    check(
        r#"{"url":"http://a/","way_out":"compensate"}"#,
        expect!["invalid-request: way_out: `compensate` needs a `compensate`: how to undo it"],
    );
    check(
        r#"{"url":"http://a/","on_uncertain":"hope"}"#,
        expect![
            "invalid-request: on_uncertain: unknown variant `hope`, expected one of `probe`, `resend`, `compensate`, `escalate`"
        ],
    );
    check(
        r#"{"url":"http://a/","headers":{"Content-Type":"text/plain"},"body":{"a":1}}"#,
        expect!["invalid-request: body: is a string where the content type is not JSON"],
    );
    check(
        r#"{"url":"http://a/","headers":{"X-A":"1","x-a":"2"}}"#,
        expect!["invalid-request: headers: `x-a` is there twice"],
    );
    check(
        r#"{"url":"http://a/","probe":{"url":"http://a/","status":{"404":"uncertain","404":"refused"}}}"#,
        expect!["invalid-request: probe.status: `404` is there twice"],
    );
    check(
        r#"{"url":"http://a/","colour":1}"#,
        expect![
            "invalid-request: colour: unknown field `colour`, expected one of `method`, `url`, `headers`, `body`, `deadline_ms`, `retry`, `probe`, `on_uncertain`, `compensate`, `uncertain_ms_max`, `way_out`"
        ],
    );
    check(
        &format!(r#"{{"url":"http://a/{}"}}"#, "a".repeat(3_000)),
        expect!["invalid-request: url: a URL has at most 2048 bytes, this has 3009"],
    );
    check(
        &format!(r#"{{"url":"http://a/","body":"{}"}}"#, "a".repeat(300_000)),
        expect!["invalid-request: body: has at most 262144 bytes in canonical form, this has 300002"],
    );
}

#[test]
fn decrees() {
    let said = |id, body: &str| match parse_resolve(id, body.as_bytes(), "", "k") {
        Ok(command) => format!("{:?}", Command::decode(&command).unwrap().op),
        Err(problem) => problem.to_string(),
    };
    let lines = [
        said("17", r#"{"outcome":"committed","by":"ada","note":"asked them"}"#),
        said("x", r#"{"outcome":"committed","by":"ada","note":"asked them"}"#),
        said("17", r#"{"outcome":"uncertain","by":"ada","note":"asked them"}"#),
        said("17", r#"{"outcome":"refused","by":" ","note":"asked them"}"#),
        said("17", r#"{"outcome":"refused","by":"ada"}"#),
    ];
    expect![[r#"
        Resolve(Resolved { call: 17, committed: true, by: "ada", note: "asked them" })
        invalid-request: id: is a number, as the list gives it
        invalid-request: outcome: unknown variant `uncertain`, expected `committed` or `refused`
        invalid-request: by: must say something: it is kept with the decision
        invalid-request: note: missing field `note`"#]]
    .assert_eq(&lines.join("\n"));
}
