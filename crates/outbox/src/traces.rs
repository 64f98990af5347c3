//! Which trace a call belongs to: what its request said, kept in memory until the call is made.
//!
//! Not in the log: a request that is sent again is the same request, and each time it is sent it may be part of another
//! trace. If the process stops in between, the call goes on under a new trace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use wire::trace::{TraceContext, TraceParent};

/// What all that is kept may take of memory, in bytes; the oldest goes first.
const BYTES_MAX: usize = 8 << 20;

/// The traces of requests whose calls are still to be made. A clone holds the same.
#[derive(Clone, Default, Debug)]
pub struct Traces {
    known: Arc<Mutex<Known>>,
}

/// Whose operation, under which key.
type Operation = (Box<str>, Box<str>);

#[derive(Default, Debug)]
struct Known {
    traces: HashMap<Operation, TraceContext>,
    oldest_first: VecDeque<Operation>,
    bytes: usize,
}

impl Traces {
    /// Takes note of what the request said that asks for the operation. The first one to ask is the one that is followed.
    pub fn note(&self, principal: &str, key: &str, context: TraceContext) {
        let operation: Operation = (principal.into(), key.into());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.traces.contains_key(&operation) {
            return;
        }
        known.bytes += bytes_of(&operation, &context);
        known.oldest_first.push_back(operation.clone());
        known.traces.insert(operation, context);
        while known.bytes > BYTES_MAX {
            let Some(oldest) = known.oldest_first.pop_front() else { return };
            let Some(context) = known.traces.remove(&oldest) else { continue };
            known.bytes -= bytes_of(&oldest, &context);
        }
    }

    /// What is to be said of the trace when the call is made; a new one where nothing is known.
    pub(crate) fn of(&self, principal: &str, key: &str) -> TraceContext {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.traces.get(&(principal.into(), key.into())).cloned().unwrap_or_else(|| {
            let (trace_id, parent_id) = (fastrand::u128(1..).to_be_bytes(), fastrand::u64(1..).to_be_bytes());
            let parent = TraceParent { trace_id, parent_id, flags: 0 };
            TraceContext { parent, state: String::new(), baggage: String::new() }
        })
    }
}

/// What one takes: its key stands in both the table and the queue.
fn bytes_of((principal, key): &Operation, context: &TraceContext) -> usize {
    2 * (principal.len() + key.len() + size_of::<Operation>()) + context.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(state: &str, bytes: usize) -> TraceContext {
        let parent = TraceParent { trace_id: [1; 16], parent_id: [2; 8], flags: 1 };
        TraceContext { parent, state: state.to_owned(), baggage: "x".repeat(bytes) }
    }

    #[test]
    fn each_operation_has_the_trace_of_its_first_request() {
        let traces = Traces::default();
        traces.note("p", "k", context("a=1", 0));
        traces.note("p", "k", context("a=2", 0));
        traces.note("q", "k", context("a=3", 0));
        assert_eq!((traces.of("p", "k").state.as_str(), traces.of("q", "k").state.as_str()), ("a=1", "a=3"));
        let (one, other) = (traces.of("p", "none"), traces.of("p", "none"));
        assert!(one.parent.trace_id != other.parent.trace_id && one.state.is_empty());
    }

    #[test]
    fn the_oldest_make_room() {
        let traces = Traces::default();
        for at in 0..3_000 {
            traces.note("p", &at.to_string(), context("a=1", 8_000));
        }
        let known = traces.known.lock().unwrap();
        assert!(known.bytes <= BYTES_MAX && known.bytes > BYTES_MAX - 10_000, "{}", known.bytes);
        assert_eq!(known.traces.len(), known.oldest_first.len());
        drop(known);
        assert_eq!((traces.of("p", "0").state.as_str(), traces.of("p", "2999").state.as_str()), ("", "a=1"));
    }
}
