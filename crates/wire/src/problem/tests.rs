use expect_test::{Expect, expect};

use super::*;

fn check(problem: &Problem, expected: &Expect) {
    let answer = problem.answer();
    assert_eq!((answer.status, answer.outcome), (problem.code.status(), problem.outcome()));
    let body = String::from_utf8(answer.body).unwrap();
    let _: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    expected.assert_eq(&body);
}

#[test]
fn members_of_their_own() {
    check(
        &Problem::of(Code::MethodNotAllowed).with_allowed(&["GET", "POST"]),
        &expect![[
            r#"{"type":"/errors/method-not-allowed","title":"The path does not take this method","status":405,"detail":"The path exists, but not with this method; `allowed` says which it takes.","code":"method-not-allowed","outcome":"refused","allowed":["GET","POST"]}"#
        ]],
    );
    check(
        &Problem::of(Code::Overloaded).with_retry_after_ms(250),
        &expect![[
            r#"{"type":"/errors/overloaded","title":"The server has more work than it can take","status":503,"detail":"The request was turned away before anything was appended.","code":"overloaded","outcome":"refused","retry_after_ms":250}"#
        ]],
    );
    check(
        &Problem::of(Code::OutcomeUnknown).with_operation("order 17/é"),
        &expect![[
            r#"{"type":"/errors/outcome-unknown","title":"Nobody knows yet whether it happened","status":504,"detail":"The deadline passed, or the log was lost, after the operation's entry had begun to be appended. It may or may not have happened, and not later than its deadline.","code":"outcome-unknown","outcome":"uncertain","operation":"/v1/operations/order%2017%2F%C3%A9"}"#
        ]],
    );
    check(
        &Problem::of(Code::ConsistencyUnavailable).with_could_have("bounded=120"),
        &expect![[
            r#"{"type":"/errors/consistency-unavailable","title":"The consistency level cannot be met in time","status":503,"detail":"The read could not be answered at the level it asked for within its deadline; it is never quietly weakened.","code":"consistency-unavailable","outcome":"refused","could_have":"bounded=120"}"#
        ]],
    );
}

#[test]
fn no_key_no_operation() {
    assert_eq!(Problem::of(Code::Overloaded).with_operation("").operation(), None);
}

#[test]
fn cut_between_characters() {
    let problem = Problem::new(Code::InvalidRequest, "é".repeat(1_000));
    assert!(problem.detail.len() <= DETAIL_BYTES_MAX + '…'.len_utf8());
    assert!(problem.detail.ends_with('…'));
    assert_eq!(Problem::new(Code::InvalidRequest, "short").detail, "short");
}
