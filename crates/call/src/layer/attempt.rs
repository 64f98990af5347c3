//! One attempt: it carries the time that remains at this moment, and how it ended is written down, also when nobody waits
//! for its end any more.

use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};

use super::{Exchange, ask, deadline, exchange};
use crate::core::verdict::{self, Cut, Evidence, Meanings, Verdict};
use crate::terms::{Attempt as Noted, Terms};
use crate::transport::read::Trailers;

/// The layer: below whatever makes attempts, above whatever carries one out.
#[derive(Clone, Debug)]
pub struct Attempt<S> {
    inner: S,
    meanings: Meanings,
}

impl<S: Exchange> Attempt<S> {
    /// Judges answers by what the destination declares.
    pub fn new(inner: S, meanings: Meanings) -> Self {
        Self { inner, meanings }
    }

    async fn run(mut self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let terms = Terms::ensure(&mut request);
        let begun = Instant::now();
        deadline::stamp(request.headers_mut(), terms.remaining(begun));
        let mut note = Note { terms, begun, end: None };
        let result = ask(&mut self.inner, request).await;
        note.end = Some(judge(&result, self.meanings));
        result
    }
}

exchange!(Attempt);

/// The verdict on one result, and what it rests on.
pub(crate) fn judge(result: &Result<Response<Bytes>, Evidence>, meanings: Meanings) -> (Verdict, Evidence) {
    match result {
        Err(evidence) => (evidence.clone().verdict(), evidence.clone()),
        Ok(answer) => {
            let extensions = answer.extensions();
            let cut: Option<Cut> = extensions.get().copied();
            let trailers = extensions.get().map(|Trailers(trailers)| trailers);
            let verdict = verdict::of_answer(answer.status(), answer.headers(), trailers, cut, meanings);
            (verdict, Evidence::Answered { status: answer.status(), cut })
        }
    }
}

struct Note {
    terms: Terms,
    begun: Instant,
    end: Option<(Verdict, Evidence)>,
}

impl Drop for Note {
    fn drop(&mut self) {
        let (verdict, evidence) =
            self.end.take().unwrap_or((Verdict::Uncertain(Evidence::Abandoned), Evidence::Abandoned));
        self.terms.note(Noted {
            started_after: self.begun.saturating_duration_since(self.terms.started),
            took: self.begun.elapsed(),
            verdict,
            evidence,
        });
    }
}
