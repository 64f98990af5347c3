//! A PostgreSQL of one's own, for tests and the bench: a directory, a socket and a process that end with their owner.
//!
//! It speaks no protocol and links nothing: whoever starts one connects with a client of their choice, to the socket in
//! [`Cluster::socket`] as the user [`USER`]. It has no TCP port, so that any number of them run side by side.

use std::io;
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

/// A running server with its data, stopped when dropped. The directory is its owner's to remove.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    programs: Programs,
    child: Child,
}

impl Cluster {
    /// Creates one in a new directory under `parent` and waits until it takes connections. Its settings are the
    /// defaults (fsync and synchronous_commit on), and then these, each `name=value`.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where PostgreSQL is not installed; else what the program said that failed.
    pub fn start(parent: &Path, settings: &[&str]) -> io::Result<Self> {
        let programs = Programs::find()?;
        let dir = parent.join("postgres");
        std::fs::create_dir_all(&dir)?;
        if programs.as_postgres {
            run(Command::new("chown").arg("postgres").arg(&dir))?;
            open_the_way(parent)?;
        }
        let mut initdb = programs.command("initdb");
        initdb.args(["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-D"]).arg(dir.join("data"));
        run(&mut initdb)?;
        let mut server = programs.command("postgres");
        server.arg("-D").arg(dir.join("data")).arg("-k").arg(&dir).args(["-c", "listen_addresses="]);
        for setting in settings {
            server.args(["-c", setting]);
        }
        let output = std::fs::File::create(parent.join("postgres.output"))?;
        server.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir("/");
        let mut cluster = Self { child: server.spawn()?, dir, programs };
        match cluster.wait_until_ready() {
            Ok(()) => Ok(cluster),
            Err(error) => {
                let said = std::fs::read_to_string(parent.join("postgres.output")).unwrap_or_default();
                Err(io::Error::other(format!("{error}: {}", said.trim())))
            }
        }
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
            if let Some(status) = self.child.try_wait()? {
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
        let mut stop = self.programs.command("pg_ctl");
        // Where it can not be asked to stop, it ends with the signal below.
        let _ = run(stop.args(["stop", "-m", "immediate", "-D"]).arg(self.dir.join("data")));
        let _ = self.child.kill();
        let _ = self.child.wait();
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
}

impl Programs {
    fn find() -> io::Result<Self> {
        Ok(Self { dir: programs()?, as_postgres: is_root()? })
    }

    /// One of them; as root it runs as the user `postgres`, since the server refuses root.
    fn command(&self, program: &str) -> Command {
        let program = self.dir.join(program);
        if !self.as_postgres {
            return Command::new(program);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
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
