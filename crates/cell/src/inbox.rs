//! How other threads reach the cell's: a list under a lock, taken whole.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Many senders, one receiver who takes everything at once: under load one lock serves a whole batch.
#[derive(Debug)]
pub(crate) struct Inbox<M> {
    state: Mutex<State<M>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<M> {
    messages: Vec<M>,
    receiver_sleeps: bool,
    closed: bool,
}

impl<M> Inbox<M> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { messages: Vec::with_capacity(256), receiver_sleeps: false, closed: false }),
            arrived: Condvar::new(),
        }
    }

    /// Gives the message back if the receiver is gone.
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(message);
        }
        state.messages.push(message);
        if std::mem::take(&mut state.receiver_sleeps) {
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).messages.is_empty()
    }

    /// Takes nothing from here on, and gives what has arrived and was not taken.
    pub(crate) fn close(&self) -> Vec<M> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        std::mem::take(&mut state.messages)
    }

    /// Moves what has arrived into `into`, which is empty; waits up to `patience` for the first, at the beginning for
    /// `look_out` with open eyes.
    pub(crate) fn take(&self, into: &mut Vec<M>, patience: Duration, look_out: Duration) {
        if !look_out.is_zero() && !patience.is_zero() {
            let began = Instant::now();
            while self.is_empty() && began.elapsed() < look_out {
                std::hint::spin_loop();
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.messages.is_empty() && !patience.is_zero() {
            state.receiver_sleeps = true;
            (state, _) = self
                .arrived
                .wait_timeout_while(state, patience, |state| state.messages.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            state.receiver_sleeps = false;
        }
        std::mem::swap(&mut state.messages, into);
    }
}
