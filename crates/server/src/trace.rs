//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): a trace is continued, or started where there is none.

use std::fmt;

use http::HeaderMap;
use wire::trace::{TraceContext, TraceParent, baggage, tracestate};

/// How long a `traceparent` of version 00 is.
pub(crate) const TRACEPARENT_BYTES: usize = 55;

/// The trace a request belongs to, and our place in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(TraceParent);

impl Trace {
    /// Continues the trace of a `traceparent` header, under a span of our own. One that is malformed is as good as none,
    /// as the standard says.
    pub(crate) fn continue_or_start(header: Option<&[u8]>) -> Self {
        let parent_id = fastrand::u64(1..).to_be_bytes();
        Self(match header.and_then(TraceParent::parse) {
            Some(parent) => parent.with_parent(parent_id),
            None => TraceParent { trace_id: fastrand::u128(1..).to_be_bytes(), parent_id, flags: 0 },
        })
    }

    /// What a request says of its trace, for what it starts: our span, and what came beside the trace that goes on.
    pub(crate) fn context(&self, headers: &HeaderMap) -> TraceContext {
        let all = |name: &'static str| headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        // Without a trace that it belongs to, a state says nothing.
        let goes_on = all("traceparent").next().and_then(TraceParent::parse).is_some();
        let state = if goes_on { tracestate(all("tracestate")) } else { String::new() };
        TraceContext { parent: self.0, state, baggage: baggage(all("baggage")) }
    }

    /// Appends the header's value: [`TRACEPARENT_BYTES`] of ASCII.
    pub(crate) fn put_traceparent(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"00-");
        put_hex(out, &self.0.trace_id);
        out.push(b'-');
        put_hex(out, &self.0.parent_id);
        out.push(b'-');
        put_hex(out, &[self.0.flags]);
    }
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

/// For log lines: the trace id, by which one finds all that belongs together.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(trace: &Trace) -> String {
        let mut out = Vec::new();
        trace.put_traceparent(&mut out);
        assert_eq!(out.len(), TRACEPARENT_BYTES);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn continues_what_is_well_formed_and_starts_afresh_otherwise() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let check = |header: Option<&str>, continued: bool| {
            let trace = Trace::continue_or_start(header.map(str::as_bytes));
            let text = text(&trace);
            assert_eq!(text.starts_with(&good[..35]) && text.ends_with("-01"), continued, "{header:?}");
            assert_ne!(&text[36..52], &good[36..52], "the span is ours: {header:?}");
            assert!(TraceParent::parse(text.as_bytes()).is_some(), "{header:?}: {text}");
            assert_eq!(trace.to_string(), text[3..35]);
        };
        check(Some(good), true);
        check(Some(&good[..54]), false);
        check(None, false);
    }

    #[test]
    fn started_traces_differ() {
        assert_ne!(Trace::continue_or_start(None).to_string(), Trace::continue_or_start(None).to_string());
    }
}
