//! What comes in headers, paths and queries.

use wire::headers::{
    bearer, consistency, content_type, deadline, grpc_timeout, idempotency_key, prefers_async, quote_key, session,
};
use wire::path::{encode, id_of_segment, key_of_segment};
use wire::problem::Problem;
use wire::query::{AccountsQuery, HistoryQuery, OperationQuery, no_query};
use wire::trace::TraceParent;
use words::{DEADLINE_MS_MAX, Position, Session};

/// Hands the bytes to every parser of headers, path segments and queries. What is understood can be written again and is
/// understood the same; what is not gives a problem that says so in JSON.
///
/// # Panics
/// Where one of that does not hold.
pub fn headers(bytes: &[u8]) {
    if let Some(key) = understood(idempotency_key([bytes])) {
        let quoted = quote_key(key.as_str());
        assert_eq!(idempotency_key([quoted.as_bytes()]).as_ref(), Ok(&key), "a key does not survive its quotes");
    }
    if let Some(seen) = understood(session(Some(bytes))) {
        assert_eq!(Session::parse(&seen.to_string()).as_ref(), Ok(&seen), "a session does not survive its token");
    }
    for left in [understood(deadline(Some(bytes), 1_700_000_000_000_000)), understood(grpc_timeout(Some(bytes)))] {
        let millis = left.map_or(0, |deadline| deadline.remaining().as_millis());
        assert!(millis <= u128::from(DEADLINE_MS_MAX), "a deadline of {millis} ms is none");
    }
    understood(consistency(Some(bytes)));
    understood(content_type(Some(bytes), bytes.is_empty()));
    prefers_async(bytes.split(|byte| *byte == b'\n'));
    assert!(bearer(bytes).is_none_or(|token| !token.is_empty()));
    if let Some(parent) = TraceParent::parse(bytes) {
        assert_eq!(
            TraceParent::parse(parent.to_string().as_bytes()),
            Some(parent),
            "a trace does not survive its header"
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        in_paths_and_queries(text);
    }
}

fn in_paths_and_queries(text: &str) {
    if let Some(id) = understood(id_of_segment("id", text)) {
        assert_eq!(id_of_segment("id", &encoded(&id)).as_deref(), Ok(id.as_str()));
    }
    if let Some(key) = understood(key_of_segment(text)) {
        assert_eq!(key_of_segment(&encoded(key.as_str())).as_ref(), Ok(&key));
    }
    for limit in [
        understood(AccountsQuery::parse(text)).map(|query| query.limit),
        understood(HistoryQuery::parse(text, "a")).map(|query| query.limit),
    ] {
        assert!(limit.is_none_or(|limit| (1..=1_000).contains(&limit)));
    }
    let wait_ms = understood(OperationQuery::parse(text)).map_or(0, |query| query.wait_ms);
    assert!(wait_ms <= DEADLINE_MS_MAX);
    understood(no_query(text));
    if let Ok(position) = words::WirePosition::parse(text) {
        assert_eq!(words::WirePosition::parse(&position.to_string()).as_ref(), Ok(&position));
        assert!(position.position >= Position::START);
    }
}

fn encoded(text: &str) -> String {
    let mut segment = String::new();
    encode(text, &mut segment);
    segment
}

/// What was understood; a problem is written out.
pub(crate) fn understood<T>(result: Result<T, Problem>) -> Option<T> {
    let problem = match result {
        Ok(value) => return Some(value),
        Err(problem) => problem,
    };
    let mut body = Vec::new();
    problem.write_json(&mut body);
    let json: serde_json::Value = serde_json::from_slice(&body).expect("a problem is JSON, whatever it quotes");
    assert_eq!(json["code"], problem.code.to_string());
    assert_eq!(json["status"], problem.code.status());
    None
}
