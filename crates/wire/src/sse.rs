//! Server-sent events: the lines of `text/event-stream` (WHATWG HTML, "Server-sent events").
//!
//! The id of each is the offset, so that a client which lost its connection comes back with it in `Last-Event-ID` and
//! misses nothing.

use crate::codes::Code;
use crate::json::put_u64;
use crate::problem::Problem;

/// The content type of a stream.
pub const STREAM_TYPE: &str = "text/event-stream";

/// A comment, which clients pass over. Sent while there is nothing to say, so that neither end, nor anybody between
/// them, takes the silence for a dead connection.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// Appends how long a client waits before it connects again.
pub fn write_retry(out: &mut Vec<u8>, retry_ms: u64) {
    out.extend_from_slice(b"retry: ");
    put_u64(out, retry_ms);
    out.extend_from_slice(b"\n\n");
}

/// Appends one event. Line feeds and carriage returns in `data` begin a line of their own, as the format wants it; in
/// `kind` they would end the field, and are left out.
pub fn write_event(out: &mut Vec<u8>, offset: u64, kind: &str, data: &[u8]) {
    out.extend_from_slice(b"id: ");
    put_u64(out, offset);
    out.extend_from_slice(b"\nevent: ");
    out.extend(kind.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    let mut rest = Some(data);
    while let Some(data) = rest {
        out.extend_from_slice(b"\ndata: ");
        let end = data.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        out.extend_from_slice(&data[..end.unwrap_or(data.len())]);
        rest = end.map(|at| {
            let is_pair = data[at..].starts_with(b"\r\n");
            &data[at + 1 + usize::from(is_pair)..]
        });
    }
    out.extend_from_slice(b"\n\n");
}

/// The offset after which a stream goes on: what the header `Last-Event-ID` says, `None` without one.
///
/// # Errors
/// A problem that names the header where it is no offset.
pub fn last_event_id(value: Option<&[u8]>) -> Result<Option<u64>, Problem> {
    let Some(value) = value.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty()) else { return Ok(None) };
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let offset = digits.and_then(|digits| digits.parse().ok());
    let wrong = || Problem::field(Code::InvalidRequest, "Last-Event-ID", "is the id of an event of this stream");
    offset.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(kind: &str, data: &str, expected: &str) {
        let mut out = Vec::new();
        write_event(&mut out, 7, kind, data.as_bytes());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{kind:?} {data:?}");
    }

    #[test]
    fn lines() {
        check("a.b", "{}", "id: 7\nevent: a.b\ndata: {}\n\n");
        check("a", "", "id: 7\nevent: a\ndata: \n\n");
        check("a", "1\n2\r\n3\r4\n", "id: 7\nevent: a\ndata: 1\ndata: 2\ndata: 3\ndata: 4\ndata: \n\n");
        check("a\nid: 9\r", "x", "id: 7\nevent: aid: 9\ndata: x\n\n");
        let mut out = Vec::new();
        write_retry(&mut out, 2_000);
        assert_eq!(out, b"retry: 2000\n\n");
    }

    #[test]
    fn last_ids() {
        for (value, offset) in [
            (None, None),
            (Some(""), None),
            (Some(" "), None),
            (Some("0"), Some(0)),
            (Some(" 12 "), Some(12)),
            (Some("18446744073709551615"), Some(u64::MAX)),
        ] {
            assert_eq!(last_event_id(value.map(str::as_bytes)), Ok(offset), "{value:?}");
        }
        for bad in ["x", "-1", "+1", "1.0", "18446744073709551616", "1 2", "é"] {
            let problem = last_event_id(Some(bad.as_bytes())).expect_err(bad);
            assert_eq!((problem.code, problem.field_name()), (Code::InvalidRequest, Some("Last-Event-ID")), "{bad}");
        }
    }

    /// What a browser makes of a stream: the standard's "Interpreting an event stream", for `id`, `event` and `data`.
    fn dispatched(stream: &str) -> Vec<(String, String, String)> {
        let (mut all, mut id, mut kind, mut data) = (Vec::new(), String::new(), String::new(), String::new());
        for line in stream.replace("\r\n", "\n").split(['\n', '\r']) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() && !data.is_empty() => {
                    data.pop();
                    all.push((id.clone(), std::mem::take(&mut kind), std::mem::take(&mut data)));
                }
                "id" => id = value.to_owned(),
                "event" => kind = value.to_owned(),
                "data" => data = data + value + "\n",
                _ => {}
            }
        }
        all
    }

    proptest! {
        #[test]
        fn a_browser_reads_what_was_written(events in prop::collection::vec(("[a-z.]{1,9}", "[a-z \r\n:]{0,20}"), 0..6)) {
            let mut out = Vec::new();
            for (offset, (kind, data)) in events.iter().enumerate() {
                out.extend_from_slice(HEARTBEAT);
                write_event(&mut out, offset as u64, kind, data.as_bytes());
            }
            let expected: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(offset, (kind, data))| {
                    let data = data.replace("\r\n", "\n").replace('\r', "\n");
                    (offset.to_string(), kind.clone(), data)
                })
                .collect();
            prop_assert_eq!(dispatched(&String::from_utf8(out).unwrap()), expected);
        }
    }
}
