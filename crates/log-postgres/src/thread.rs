//! The thread that the connections live on. The log's methods wait, as its contract says, and do so on their caller's thread;
//! sockets and timers are served here, so that a warning or the end of a connection is noticed between calls too.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The runtime of one log, which ends with its last user.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    join: Option<JoinHandle<()>>,
}

impl Thread {
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let join = std::thread::Builder::new().name("log-postgres".to_owned()).spawn(move || {
            // Told to stop or left alone, it stops.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Arc::new(Self { handle, stop: Some(stop), join: Some(join) }))
    }

    /// Waits for a future on the calling thread, which must not be one that serves an asynchronous runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(join) = self.join.take() {
            // It has nothing that can panic; if it had, its connections are gone all the same.
            let _ = join.join();
        }
    }
}
