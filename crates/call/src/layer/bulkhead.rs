//! The bulkhead: so many calls to one destination at a time, so that a slow one cannot fill the ship.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Exchange, ask, exchange};
use crate::core::verdict::Evidence;
use crate::terms::Terms;

/// How many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BulkheadSettings {
    /// Calls under way at a time. Default 256.
    pub concurrency_max: usize,
    /// Calls that wait for one of these to end, until their deadline; one more is turned away at once. Default 256.
    pub waiting_max: usize,
}

impl Default for BulkheadSettings {
    fn default() -> Self {
        Self { concurrency_max: 256, waiting_max: 256 }
    }
}

/// The layer.
#[derive(Clone, Debug)]
pub struct Bulkhead<S> {
    inner: S,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    settings: BulkheadSettings,
}

impl<S: Exchange> Bulkhead<S> {
    /// With those bounds, shared by all clones.
    pub fn new(inner: S, settings: BulkheadSettings) -> Self {
        let permits = Arc::new(Semaphore::new(settings.concurrency_max));
        Self { inner, room: Arc::new(Room { permits, waiting: AtomicUsize::new(0), settings }) }
    }

    /// Calls under way.
    pub fn under_way(&self) -> usize {
        self.room.settings.concurrency_max - self.room.permits.available_permits()
    }

    async fn run(mut self, request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let _permit = match Arc::clone(&self.room.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.room.wait(Terms::of(&request).until).await?,
        };
        ask(&mut self.inner, request).await
    }
}

exchange!(Bulkhead);

impl Room {
    async fn wait(&self, until: Instant) -> Result<OwnedSemaphorePermit, Evidence> {
        let Some(_place) = Place::take(self) else { return Err(Evidence::LimitReached) };
        let permit = Arc::clone(&self.permits).acquire_owned();
        match tokio::time::timeout_at(until.into(), permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Evidence::LimitReached),
        }
    }
}

/// A place among those who wait.
struct Place<'a>(&'a Room);

impl<'a> Place<'a> {
    fn take(room: &'a Room) -> Option<Self> {
        let place = Self(room);
        (room.waiting.fetch_add(1, Ordering::AcqRel) < room.settings.waiting_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
