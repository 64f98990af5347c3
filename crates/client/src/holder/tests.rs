//! Keepers under a clock that stands still until it is moved.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A server that answers as it is told, after as long as it is told.
struct Told {
    renewals: Mutex<Vec<(Duration, Renewal)>>,
    sent: Arc<Mutex<Vec<Duration>>>,
    begin: Instant,
    released: Arc<AtomicUsize>,
}

impl Renews for Told {
    async fn renew(&self, _until: Instant) -> Renewal {
        self.sent.lock().unwrap().push(self.begin.elapsed());
        let told = self.renewals.lock().unwrap().pop();
        // Whoever is told nothing waits for ever.
        let Some((after, renewal)) = told else { return std::future::pending().await };
        tokio::time::sleep(after).await;
        renewal
    }

    async fn release(&self) -> Result<(), NotCommitted> {
        self.released.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct Watched {
    lease: HeldLease,
    sent: Arc<Mutex<Vec<Duration>>>,
    released: Arc<AtomicUsize>,
    begin: Instant,
}

const TTL: Duration = Duration::from_secs(30);

fn seconds(seconds: &[u64]) -> Vec<Duration> {
    seconds.iter().copied().map(Duration::from_secs).collect()
}

/// A lease of 30 s that was asked for `waited` ago; its renewals are answered so, after so many seconds.
async fn held(waited: u64, stop_within: u64, renewals: &[(u64, Renewal)]) -> Watched {
    let sent_first = Instant::now();
    tokio::time::advance(Duration::from_secs(waited)).await;
    let begin = Instant::now();
    let (sent, released) = (Arc::default(), Arc::default());
    let renewals = renewals.iter().rev().map(|(after, renewal)| (Duration::from_secs(*after), *renewal)).collect();
    let server =
        Told { renewals: Mutex::new(renewals), sent: Arc::clone(&sent), begin, released: Arc::clone(&released) };
    let span = Span { sent: sent_first, ttl: TTL, stop_within: Duration::from_secs(stop_within) };
    Watched { lease: HeldLease::keep("l".to_owned(), 7, server, span).await, sent, released, begin }
}

impl Watched {
    /// Waits until the lease is lost, and gives when that was.
    async fn lost(&self) -> Duration {
        assert_eq!(self.lease.token(), Ok(7));
        self.lease.lost().await;
        assert_eq!(self.lease.token(), Err(LeaseLost));
        self.begin.elapsed()
    }

    /// After as long as it takes, it was released so often.
    async fn assert_released(&self, times: usize) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(self.released.load(Ordering::SeqCst), times);
    }
}

/// The clock has a grain of a millisecond.
#[track_caller]
fn assert_at(found: Duration, expected_ms: u64) {
    let found_ms = found.as_millis() as u64;
    assert!(found_ms.abs_diff(expected_ms) <= 2, "{found_ms} and not {expected_ms}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_renews_is_lost_before_it_can_have_expired() {
    let watched = held(0, 0, &[]).await;
    assert_at(watched.lost().await, 28_500);
    watched.assert_released(0).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_lost_so_much_earlier_as_work_takes_to_stop() {
    let watched = held(0, 8, &[]).await;
    assert_at(watched.lost().await, 20_500);
    // The work is stopping: nobody else is to have the lease before it has.
    tokio::time::sleep(Duration::from_secs(7)).await;
    watched.assert_released(0).await;
    let Watched { lease, released, .. } = watched;
    drop(lease);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(released.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn renewals_are_counted_from_before_they_were_sent() {
    use Renewal::Done;
    let watched = held(0, 0, &[(9, Done), (0, Done), (9, Done)]).await;
    // Sent after 10 s, 20 s and 30 s; the fourth, after 40 s, is never answered.
    assert_at(watched.lost().await, 30_000 + 28_500);
    let sent = watched.sent.lock().unwrap().clone();
    sent.iter().zip([10_000, 20_000, 30_000, 40_000]).for_each(|(sent, expected_ms)| assert_at(*sent, expected_ms));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_of_which_nobody_knows_is_tried_again_while_there_is_time() {
    use Renewal::{Done, Unknown};
    let watched = held(0, 0, &[(0, Unknown), (0, Unknown), (0, Done)]).await;
    assert_at(watched.lost().await, 12_000 + 28_500);
    let sent = watched.sent.lock().unwrap().clone();
    sent.iter().zip([10_000, 11_000, 12_000]).for_each(|(sent, expected_ms)| assert_at(*sent, expected_ms));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_it_is_lost_is_believed_at_once() {
    let watched = held(0, 0, &[(1, Renewal::Lost)]).await;
    assert_at(watched.lost().await, 11_000);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_answered_too_late_brings_nothing_back() {
    // Two that hang until they are given up, and one that would be answered after the end.
    let watched = held(0, 0, &[(9, Renewal::Unknown), (60, Renewal::Done)]).await;
    assert_at(watched.lost().await, 28_500);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(watched.lease.token(), Err(LeaseLost));
}

#[tokio::test(start_paused = true)]
async fn what_was_waited_for_is_renewed_before_it_is_used() {
    let watched = held(100, 0, &[(1, Renewal::Done)]).await;
    assert_eq!(*watched.sent.lock().unwrap(), seconds(&[0]));
    let began = watched.begin.elapsed();
    assert_at(began, 1_000);
    assert_at(watched.lost().await, 28_500);
    let unsure = held(100, 0, &[(1, Renewal::Unknown)]).await;
    assert_eq!(unsure.lease.token(), Err(LeaseLost), "it was asked for too long ago");
    let late = held(12, 0, &[(1, Renewal::Unknown)]).await;
    assert_eq!(late.lease.token(), Ok(7), "there is time left all the same");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_released_once_whoever_ends_it() {
    let watched = held(0, 0, &[]).await;
    let released = Arc::clone(&watched.released);
    assert_eq!(watched.lease.release().await, Ok(()));
    assert_eq!(released.load(Ordering::SeqCst), 1);
    let Watched { lease, released, .. } = held(0, 0, &[]).await;
    drop(lease);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(released.load(Ordering::SeqCst), 1);
}
