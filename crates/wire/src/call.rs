//! Durable calls as strangers see them: what was asked, what was tried, how it ended.

use machine::{CallAccepted, CallEnd, CallEnded, CallTried, CallView};
use words::Stamp;

use crate::answer::{Answer, STATUS_OK, committed};
use crate::codes::Code;
use crate::instant::put_instant;
use crate::json::{put_plain, put_str, put_str_or_null, put_u64};
use crate::problem::Problem;

/// The answer to the call under `key`, which is over.
pub(crate) fn answer_of(ended: &CallEnded<'_>, key: &str) -> Answer {
    let mut json = Vec::with_capacity(256 + ended.body.len());
    write_ended(&mut json, ended);
    let code = match ended.end {
        CallEnd::Committed | CallEnd::DecreedCommitted => return committed(STATUS_OK, json),
        CallEnd::Refused | CallEnd::DecreedRefused => Code::CallRefused,
        CallEnd::NotDone => Code::CallNotDone,
        CallEnd::Compensated => Code::CallCompensated,
        CallEnd::Cancelled => Code::CallCancelled,
    };
    Problem::of(code).with_operation(key).with_call(json).answer()
}

/// Appends the end of a call: `{"id":..,"end":..,"status":..,"body":..,...}`.
pub fn write_ended(out: &mut Vec<u8>, ended: &CallEnded<'_>) {
    write_id(out, ended.call);
    out.extend_from_slice(b",\"end\":");
    put_plain(out, ended.end.as_str());
    out.extend_from_slice(b",\"evidence\":");
    put_str(out, ended.evidence);
    out.extend_from_slice(b",\"attempts\":");
    put_u64(out, ended.attempt.into());
    out.extend_from_slice(b",\"tries\":");
    put_u64(out, ended.tries.into());
    out.extend_from_slice(b",\"uncertain_ms\":");
    put_u64(out, ended.uncertain_us / 1_000);
    if !ended.by.is_empty() {
        out.extend_from_slice(b",\"resolved_by\":");
        put_str(out, ended.by);
    }
    out.extend_from_slice(b",\"response\":");
    write_response(out, ended);
    out.push(b'}');
}

/// Appends the receiver's answer: JSON as it is, other text as a string, anything else in base 64; `null` without one.
pub fn write_response(out: &mut Vec<u8>, ended: &CallEnded<'_>) {
    if ended.status == 0 {
        out.extend_from_slice(b"null");
        return;
    }
    out.extend_from_slice(b"{\"status\":");
    put_u64(out, ended.status.into());
    out.extend_from_slice(b",\"content_type\":");
    put_str_or_null(out, ended.content_type);
    out.extend_from_slice(if ended.is_cut { b",\"is_cut\":true" } else { b",\"is_cut\":false" });
    let text = std::str::from_utf8(ended.body);
    let is_json = !ended.is_cut && is_json_type(ended.content_type);
    let json = text.ok().filter(|text| is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match (json, text) {
        (Some(json), _) => {
            out.extend_from_slice(b",\"body\":");
            out.extend_from_slice(json.trim().as_bytes());
        }
        (None, Ok(text)) => {
            out.extend_from_slice(b",\"body\":");
            put_str(out, text);
        }
        (None, Err(_)) => {
            out.extend_from_slice(b",\"body_base64\":");
            put_plain(out, &base64::Engine::encode(&base64::prelude::BASE64_STANDARD, ended.body));
        }
    }
    if !ended.headers.is_empty() {
        out.extend_from_slice(b",\"headers\":");
        out.extend_from_slice(ended.headers.as_bytes());
    }
    out.push(b'}');
}

fn is_json_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}

/// Appends what a decree leaves under its own key.
pub(crate) fn write_resolved(out: &mut Vec<u8>, call: u64, committed: bool) {
    write_id(out, call);
    out.extend_from_slice(b",\"outcome\":");
    put_plain(out, if committed { "committed" } else { "refused" });
    out.push(b'}');
}

/// Appends an uncertain call: what was asked, what was tried (oldest first), and what comes next.
pub fn write_uncertain<'a>(
    out: &mut Vec<u8>,
    view: &CallView,
    (principal, key, accepted): (&str, &str, &CallAccepted<'_>),
    tried: impl IntoIterator<Item = (Stamp, CallTried<'a>)>,
    now: Stamp,
) {
    let instant = |out: &mut Vec<u8>, name: &[u8], stamp: Option<Stamp>| {
        out.extend_from_slice(name);
        match stamp {
            Some(stamp) => put_instant(out, stamp),
            None => out.extend_from_slice(b"null"),
        }
    };
    write_id(out, view.call);
    out.extend_from_slice(b",\"kind\":\"call\",\"owner\":");
    put_str_or_null(out, principal);
    out.extend_from_slice(b",\"key\":");
    put_str(out, key);
    out.extend_from_slice(b",\"method\":");
    put_str(out, accepted.order.method);
    out.extend_from_slice(b",\"url\":");
    put_str(out, accepted.order.url);
    instant(out, b",\"uncertain_since\":", view.uncertain_since);
    out.extend_from_slice(b",\"age_ms\":");
    let age_us = view.uncertain_since.map_or(0, |since| now.micros().saturating_sub(since.micros()));
    put_u64(out, age_us / 1_000);
    out.extend_from_slice(if view.is_escalated { b",\"escalated\":true" } else { b",\"escalated\":false" });
    out.extend_from_slice(b",\"next\":");
    put_plain(out, if view.is_escalated { "person" } else { view.phase.as_str() });
    instant(out, b",\"next_attempt_at\":", view.next_attempt);
    instant(out, b",\"bound_at\":", view.bound.filter(|_| !view.is_escalated));
    out.extend_from_slice(b",\"way_out\":");
    put_plain(out, accepted.order.way_out.as_str());
    out.extend_from_slice(b",\"tries\":");
    put_u64(out, view.tries.into());
    out.extend_from_slice(b",\"tried\":[");
    for (at, (stamp, tried)) in tried.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_tried(out, stamp, &tried);
    }
    out.extend_from_slice(b"]}");
}

/// Appends a page of uncertain calls, each written by `write`.
pub fn write_uncertain_page<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    next: Option<&str>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(cursor) => put_plain(out, cursor),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

fn write_tried(out: &mut Vec<u8>, stamp: Stamp, tried: &CallTried<'_>) {
    out.extend_from_slice(b"{\"at\":");
    put_instant(out, stamp);
    out.extend_from_slice(b",\"attempt\":");
    put_u64(out, tried.attempt.into());
    out.extend_from_slice(b",\"asked_to\":");
    put_plain(out, tried.phase.as_str());
    out.extend_from_slice(b",\"found\":");
    put_plain(out, tried.finding.as_str());
    out.extend_from_slice(b",\"status\":");
    match tried.status {
        0 => out.extend_from_slice(b"null"),
        status => put_u64(out, status.into()),
    }
    out.extend_from_slice(b",\"evidence\":");
    put_str(out, tried.evidence);
    out.push(b'}');
}

fn write_id(out: &mut Vec<u8>, call: u64) {
    out.extend_from_slice(b"{\"id\":\"");
    put_u64(out, call);
    out.push(b'"');
}
