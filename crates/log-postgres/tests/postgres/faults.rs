//! What fails underneath: a relay that cuts connections and can be turned to another server, and a caller that settles what nobody
//! knows.

use fastrand::Rng;
use log::{Append, Capabilities, Log, LogError, Rejected, Stored};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use words::Position;

/// What a caller does that has one writer: what nobody knows it looks for, and appends the same again where it is not there.
pub(crate) struct Settling {
    pub(crate) log: Box<dyn Log>,
    /// Runs before each call.
    pub(crate) disturb: Box<dyn FnMut() + Send>,
    pub(crate) unknown: Arc<AtomicI64>,
}

/// More than any run of faults in these tests leaves unknown one behind the other.
const TRIES_MAX: usize = 200;

impl Settling {
    /// Whether the entry behind `after` is this one.
    fn is_there(&mut self, after: Position, epoch: u64, entry: &[u8]) -> bool {
        let tail = self.log.tail().expect("the tail is found in the end");
        let found = if tail.index > after.index {
            self.log.read(after.index + 1, 0).expect("what is there is readable")
        } else {
            Vec::new()
        };
        found.first().is_some_and(|stored| stored.position.epoch == epoch && stored.entry == entry)
    }
}

impl Log for Settling {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        (self.disturb)();
        let mut is_unknown = false;
        for _ in 0..TRIES_MAX {
            match self.log.append(after, epoch, entry) {
                Append::Unknown(_) => {
                    is_unknown = true;
                    self.unknown.fetch_add(1, Ordering::Relaxed);
                }
                Append::Rejected(Rejected::Unavailable { .. }) => {}
                Append::Conflict { .. } if is_unknown && self.is_there(after, epoch, entry) => {
                    return Append::Ok(Position { epoch, index: after.index + 1 });
                }
                answer => return answer,
            }
        }
        panic!("an append is never settled");
    }

    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        (self.disturb)();
        self.log.read(from, max_bytes)
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        (self.disturb)();
        self.log.tail()
    }

    fn trim(&mut self, upto: u64) -> Result<(), LogError> {
        self.log.trim(upto)
    }

    fn first(&self) -> u64 {
        self.log.first()
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        (self.disturb)();
        self.log.seal()
    }

    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn has_room(&mut self) -> Result<(), Rejected> {
        self.log.has_room()
    }
}

/// A relay between a socket of its own and a server's.
pub(crate) struct Relay {
    dir: tempfile::TempDir,
    target: Arc<Mutex<PathBuf>>,
    live: Arc<Mutex<Vec<UnixStream>>>,
}

impl Relay {
    /// To that server; each connection is cut after as many bytes, of both directions together, as `budget` says.
    pub(crate) fn start(socket: &Path, budget: impl Fn(&mut Rng) -> i64 + Send + 'static, seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).expect("a socket of our own");
        let (target, live) = (Arc::new(Mutex::new(socket.to_owned())), Arc::new(Mutex::new(Vec::new())));
        let (to, kept) = (Arc::clone(&target), Arc::clone(&live));
        // It ends with the process: there is no more to its life than its socket.
        std::thread::spawn(move || {
            let mut rng = Rng::with_seed(seed);
            for client in listener.incoming().map_while(Result::ok) {
                let place = to.lock().expect("nobody panics with it").join(".s.PGSQL.5432");
                let Ok(server) = UnixStream::connect(place) else { continue };
                let bytes = Arc::new(AtomicI64::new(budget(&mut rng)));
                let mut kept = kept.lock().expect("nobody panics with it");
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    kept.push(from.try_clone().expect("a handle"));
                    let bytes = Arc::clone(&bytes);
                    std::thread::spawn(move || copy(from, to, &bytes));
                }
            }
        });
        Self { dir, target, live }
    }

    pub(crate) fn socket(&self) -> &Path {
        self.dir.path()
    }

    /// Turns to another server, and cuts what goes to this one.
    pub(crate) fn turn(&self, socket: &Path) {
        *self.target.lock().expect("nobody panics with it") = socket.to_owned();
        for stream in self.live.lock().expect("nobody panics with it").drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Copies until one side ends or the bytes are used up, in the middle of a message if it so happens.
fn copy(mut from: UnixStream, mut to: UnixStream, bytes: &AtomicI64) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let left = bytes.fetch_sub(read as i64, Ordering::Relaxed);
        let passed = usize::try_from(left).unwrap_or(0).min(read);
        if to.write_all(&buffer[..passed]).is_err() || passed < read {
            break;
        }
    }
    for stream in [from, to] {
        // The other direction may have closed it.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
