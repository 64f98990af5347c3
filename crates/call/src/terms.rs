//! On what terms a request is sent: how long, how often, and what has been tried. It travels among the request's
//! extensions, so that each layer can be used alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;

use crate::core::verdict::{Evidence, Verdict};

/// The terms of one call. A request without any has the default ones.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The instant after which nobody waits; spans all attempts.
    pub until: Instant,
    /// Attempts beyond the first.
    pub retries_max: u32,
    /// Whether it changes nothing: only then may it be hedged.
    pub read: bool,
    /// Whether it is a later attempt at what was tried before, or asks what became of it: it had to have a
    /// [`Turn`](crate::Turn), and is not counted once more.
    pub again: bool,
    /// The largest body of an answer that is read, where the destination's own bound is not lower.
    pub answer_bytes_max: u64,
    pub(crate) started: Instant,
    pub(crate) log: Arc<Mutex<Log>>,
}

#[derive(Default, Debug)]
pub(crate) struct Log {
    attempts: Vec<Attempt>,
    verdict: Option<Verdict>,
}

/// One attempt of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct Attempt {
    /// Since the call began.
    pub started_after: Duration,
    /// Until it ended, or was given up.
    pub took: Duration,
    /// What became of it.
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: Evidence,
}

impl Terms {
    /// Until then, with these many retries at most.
    pub fn new(until: Instant, retries_max: u32, read: bool) -> Self {
        Self {
            until,
            retries_max,
            read,
            again: false,
            answer_bytes_max: u64::MAX,
            started: Instant::now(),
            log: Arc::default(),
        }
    }

    /// From one reading of the clock, so that what has passed and what is left come to the whole. An hour at most.
    pub(crate) fn starting(started: Instant, wait: Duration, retries_max: u32, read: bool) -> Self {
        let wait = wait.min(Duration::from_millis(words::DEADLINE_MS_MAX));
        Self { started, ..Self::new(started + wait, retries_max, read) }
    }

    /// The request's own, or the default ones: 10 s, 3 retries, no read.
    pub fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| {
            let wait = Duration::from_millis(words::DEADLINE_DEFAULT_MS);
            Self::new(Instant::now() + wait, RETRIES_MAX, false)
        })
    }

    /// Those of the request, which has them from now on.
    pub(crate) fn ensure<B>(request: &mut Request<B>) -> Self {
        let terms = Self::of(request);
        if request.extensions().get::<Self>().is_none() {
            request.extensions_mut().insert(terms.clone());
        }
        terms
    }

    /// What has been tried so far.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.log().attempts.clone()
    }

    /// The verdict on the whole call, once the retry layer has come to one.
    pub fn verdict(&self) -> Option<Verdict> {
        self.log().verdict.clone()
    }

    pub(crate) fn note(&self, attempt: Attempt) {
        self.log().attempts.push(attempt);
    }

    pub(crate) fn conclude(&self, verdict: Verdict) {
        self.log().verdict = Some(verdict);
    }

    /// Both at once, taken out.
    pub(crate) fn take(&self) -> (Vec<Attempt>, Option<Verdict>) {
        let mut log = self.log();
        (std::mem::take(&mut log.attempts), log.verdict.take())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left at `now`.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

/// The most attempts beyond the first that any call makes.
pub const RETRIES_MAX: u32 = 3;
