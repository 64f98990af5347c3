//! Hedging: a read that takes longer than most is asked a second time, and the first answer wins (Dean and Barroso, "The
//! Tail at Scale", 2013). Reads only, since both may be carried out, and out of the same budget as retries.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use super::{Exchange, ask, exchange};
use crate::core::budget::Budget;
use crate::core::clock;
use crate::core::hop::{ATTEMPT, Hop};
use crate::core::sign::{self, Sign};
use crate::core::verdict::Evidence;
use crate::terms::Terms;

/// What all calls to one destination share.
#[derive(Debug)]
pub struct HedgePolicy {
    /// After how long without an answer a read is asked again; `None` = never.
    pub after: Option<Duration>,
    /// The destination's budget.
    pub budget: Arc<Budget>,
    /// The process's.
    pub budget_of_process: Arc<Budget>,
    /// Hedges sent.
    pub hedges: AtomicU64,
}

/// The layer.
#[derive(Clone, Debug)]
pub struct Hedge<S> {
    inner: S,
    policy: Arc<HedgePolicy>,
}

type Answered = Result<Response<Bytes>, Evidence>;

impl<S: Exchange> Hedge<S> {
    /// Under that policy.
    pub fn new(inner: S, policy: Arc<HedgePolicy>) -> Self {
        Self { inner, policy }
    }

    async fn run(mut self, mut request: Request<Bytes>) -> Answered {
        let terms = Terms::ensure(&mut request);
        let hop = Hop::of(request.headers());
        let after = match self.policy.after {
            // An outer hop that is at its second attempt already, or has no budget, is not helped by a third.
            Some(after) if terms.read && !hop.forbids_retries() => after,
            _ => return ask(&mut self.inner, request).await,
        };
        let mut again = request.clone();
        let mut other = self.inner.clone();
        let mut first = pin!(ask(&mut self.inner, request));
        if let Ok(result) = tokio::time::timeout(after, first.as_mut()).await {
            return result;
        }
        if !self.policy.budget.withdraw(&self.policy.budget_of_process, clock::now()) {
            return first.await;
        }
        self.policy.hedges.fetch_add(1, Ordering::Relaxed);
        again.headers_mut().insert(ATTEMPT, hop.inward(hop.attempt + 1, true).value());
        either(first, pin!(ask(&mut other, again))).await
    }
}

exchange!(Hedge);

/// The first that ends well; if neither does, the last.
async fn either(
    mut one: Pin<&mut impl Future<Output = Answered>>,
    mut other: Pin<&mut impl Future<Output = Answered>>,
) -> Answered {
    let mut ended = [false; 2];
    std::future::poll_fn(|cx| {
        for at in 0..2 {
            if ended[at] {
                continue;
            }
            let polled = if at == 0 { one.as_mut().poll(cx) } else { other.as_mut().poll(cx) };
            if let Poll::Ready(result) = polled {
                ended[at] = true;
                if sign::of(&result) == Sign::Good || ended == [true; 2] {
                    return Poll::Ready(result);
                }
            }
        }
        Poll::Pending
    })
    .await
}
