//! A PostgreSQL of one's own, for tests and the bench: a directory, a socket and a process that end with their owner.
//!
//! It speaks no protocol and links nothing: whoever starts one connects with a client of their choice, to the socket in
//! [`Cluster::socket`] as the user [`USER`]. It has no TCP port, so that any number of them run side by side, unless it is given
//! a [`Place`] of its own.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The superuser of every cluster started here; it has no password, and its socket is in the owner's directory.
pub const USER: &str = "tertium";

/// Where Debian's packages put each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How long a start may take before it counts as failed: a machine busy with builds takes a few seconds.
const START_MAX: Duration = Duration::from_secs(60);

/// How often the server's own status file is looked at meanwhile.
const START_POLL: Duration = Duration::from_millis(10);

/// A network namespace and an address in it, port 5432, for a server that others reach over a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The namespace, as `ip netns` knows it.
    pub namespace: String,
    /// The address that it listens on. Whoever reaches it comes in without a password: the network is the tests' own.
    pub address: Ipv4Addr,
}

/// A running server with its data, stopped when dropped. The directory is its owner's to remove.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    /// Where what it says is kept.
    output: PathBuf,
    programs: Programs,
    place: Option<Place>,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Cluster {
    /// Creates one in a new directory under `parent` and waits until it takes connections. Its settings are the
    /// defaults (fsync and synchronous_commit on), and then these, each `name=value`.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where PostgreSQL is not installed; else what the program said that failed.
    pub fn start(parent: &Path, settings: &[&str]) -> io::Result<Self> {
        Self::in_directory(parent, "postgres", settings, None)?.initialised()?.started()
    }

    /// The same in a place of its own, in a new directory of that name.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn start_in(parent: &Path, name: &str, settings: &[&str], place: Place) -> io::Result<Self> {
        let cluster = Self::in_directory(parent, name, settings, Some(place))?.initialised()?;
        let rules = cluster.data().join("pg_hba.conf");
        let mut text = std::fs::read_to_string(&rules)?;
        text.push_str("host all all samenet trust\nhost replication all samenet trust\n");
        std::fs::write(&rules, text)?;
        cluster.started()
    }

    fn initialised(self) -> io::Result<Self> {
        let mut initdb = self.programs.command("initdb");
        initdb.args(["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-D"]).arg(self.data());
        run(&mut initdb)?;
        Ok(self)
    }

    /// Creates a standby of this one, in a new directory of that name under `parent`, and waits until it takes connections. It follows
    /// this one as a stream, under its name.
    ///
    /// # Errors
    /// What the program said that failed.
    pub fn standby(&self, parent: &Path, name: &str, settings: &[&str]) -> io::Result<Self> {
        let source = format!("host={}", self.dir.display());
        Self::in_directory(parent, name, settings, None)?.copied(&source, name)
    }

    /// Creates a standby in a place of its own, of whichever of these addresses takes writes, now and later.
    ///
    /// # Errors
    /// As [`Cluster::standby`].
    pub fn standby_in(
        parent: &Path,
        name: &str,
        settings: &[&str],
        place: Place,
        primaries: &[Ipv4Addr],
    ) -> io::Result<Self> {
        let hosts: Vec<String> = primaries.iter().map(Ipv4Addr::to_string).collect();
        let source = format!("host={} target_session_attrs=read-write connect_timeout=2", hosts.join(","));
        Self::in_directory(parent, name, settings, Some(place))?.copied(&source, name)
    }

    fn copied(self, source: &str, name: &str) -> io::Result<Self> {
        let mut copy = self.programs.command("pg_basebackup");
        let source = format!("{source} user={USER} application_name={name}");
        copy.args(["--checkpoint=fast", "--write-recovery-conf", "-d", &source, "-D"]).arg(self.data());
        run(&mut copy)?;
        self.started()
    }

    fn in_directory(parent: &Path, name: &str, settings: &[&str], place: Option<Place>) -> io::Result<Self> {
        let programs = Programs::find(place.as_ref())?;
        let dir = parent.join(name);
        std::fs::create_dir_all(&dir)?;
        if programs.as_postgres {
            run(Command::new("chown").arg("postgres").arg(&dir))?;
            open_the_way(parent)?;
        }
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Ok(Self { dir, output: parent.join(format!("{name}.output")), programs, place, settings, child: None })
    }

    fn started(mut self) -> io::Result<Self> {
        self.start_again()?;
        Ok(self)
    }

    /// Starts the server that was stopped, with the same data, and waits until it takes connections.
    ///
    /// # Errors
    /// What it said.
    pub fn start_again(&mut self) -> io::Result<()> {
        let mut server = self.programs.command("postgres");
        let listens_on = self.place.as_ref().map(|place| place.address.to_string()).unwrap_or_default();
        server.arg("-D").arg(self.data()).arg("-k").arg(&self.dir);
        server.arg("-c").arg(format!("listen_addresses={listens_on}"));
        // Who comes through it is a superuser without a password: its owner, and root.
        server.args(["-c", "unix_socket_permissions=0700"]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        let output = std::fs::File::create(&self.output)?;
        server.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir("/");
        self.child = Some(server.spawn()?);
        self.wait_until_ready().map_err(|error| {
            let said = std::fs::read_to_string(&self.output).unwrap_or_default();
            io::Error::other(format!("{error}: {}", said.trim()))
        })
    }

    /// Stops the server at once, as a crash does: what is not in the write-ahead log is gone.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn crash(&mut self) -> io::Result<()> {
        let stopped = run(self.programs.command("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.data()));
        if let Some(mut child) = self.child.take() {
            // Where it could not be asked to stop, it ends with this signal.
            let _ = child.kill();
            child.wait()?;
        }
        stopped
    }

    /// Makes a primary of a standby, and waits until it is one.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn promote(&self) -> io::Result<()> {
        run(self.programs.command("pg_ctl").args(["promote", "-w", "-D"]).arg(self.data()))
    }

    /// The directory of its data.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The URL of its database, through its socket.
    pub fn url(&self) -> String {
        let host = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/postgres")
    }

    /// The directory of its socket: the `host` to connect to.
    pub fn socket(&self) -> &Path {
        &self.dir
    }

    /// Looks where `pg_ctl` looks: the eighth line of the server's own file says how far it is.
    fn wait_until_ready(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let file = self.dir.join("data/postmaster.pid");
        loop {
            let status = std::fs::read_to_string(&file).unwrap_or_default();
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().map_or(Ok(None), Child::try_wait)? {
                return Err(io::Error::other(format!("postgres ended with {status}")));
            }
            if began.elapsed() > START_MAX {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "postgres did not start"));
            }
            std::thread::sleep(START_POLL);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Where it can not be asked to stop, it ends with a signal.
            let _ = self.crash();
        }
    }
}

/// The directory of PostgreSQL's programs, those of the newest version that is installed.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where there is none.
pub fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let newest = versions
        .filter(|entry| entry.path().join("bin/postgres").is_file())
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .max();
    match newest {
        Some(newest) => Ok(Path::new(VERSIONS).join(newest.to_string()).join("bin")),
        None => {
            let why = format!("PostgreSQL is not in {VERSIONS}; install the package postgresql");
            Err(io::Error::new(io::ErrorKind::NotFound, why))
        }
    }
}

/// PostgreSQL's programs, and as whom they are run.
#[derive(Debug)]
struct Programs {
    dir: PathBuf,
    as_postgres: bool,
    namespace: Option<String>,
}

impl Programs {
    fn find(place: Option<&Place>) -> io::Result<Self> {
        let namespace = place.map(|place| place.namespace.clone());
        Ok(Self { dir: programs()?, as_postgres: is_root()?, namespace })
    }

    /// One of them, in its namespace; as root it runs as the user `postgres`, since the server refuses root.
    fn command(&self, program: &str) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(Into::into));
        }
        if self.as_postgres {
            words.extend(["runuser", "-u", "postgres", "--"].map(Into::into));
        }
        words.push(self.dir.join(program).into_os_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).current_dir("/").output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{command:?}: {why}")))
}

fn is_root() -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(uid.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0"))
}

/// Lets other users walk through a directory of ours to theirs.
fn open_the_way(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode | 0o011))
}
