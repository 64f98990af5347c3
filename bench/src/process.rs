//! The server as a process: started, watched, killed, started again on the same data.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::call::Client;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `tertium` binary, or another that is started alike.
    pub binary: PathBuf,
    /// What it is to do: `serve`, unless it is another one.
    pub command: Vec<String>,
    /// Its data directory.
    pub data: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Further flags of the command.
    pub flags: Vec<String>,
    /// How long it may take to be ready.
    pub patience: Duration,
    /// Where its standard error goes; beside the data directory unless set.
    pub log: PathBuf,
}

/// A running server; killed with -9 when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    launch: Launch,
}

impl Launch {
    /// A server on this data directory, on a free port of loopback.
    ///
    /// # Errors
    /// Where no port is free.
    pub fn new(binary: &Path, data: &Path) -> io::Result<Self> {
        Ok(Self {
            binary: binary.to_owned(),
            command: vec!["serve".to_owned()],
            data: data.to_owned(),
            addr: free_addr()?,
            flags: Vec::new(),
            patience: Duration::from_secs(60),
            log: data.with_extension("server.log"),
        })
    }

    /// The same with one more flag and its value.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// The same with another command.
    #[must_use]
    pub fn doing(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The same with a flag that has no value.
    #[must_use]
    pub fn with_switch(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// The same with its standard error elsewhere.
    #[must_use]
    pub fn with_log(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.log);
        self
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// Where the binary can not be run.
    pub fn spawn(&self) -> io::Result<Server> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .args(&self.command)
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &self.addr.to_string()])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.binary.display())))?;
        Ok(Server { child, launch: self.clone() })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// Where it ends by itself, or is not ready in time; with the end of its log.
    pub fn start(&self) -> io::Result<Server> {
        let mut server = self.spawn()?;
        server.wait_ready()?;
        Ok(server)
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.launch.addr
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Polls `/readyz` until it says yes, and says how long that took.
    ///
    /// # Errors
    /// Where the process ends by itself, or the time is over; with the end of its log.
    pub fn wait_ready(&mut self) -> io::Result<Duration> {
        let began = Instant::now();
        loop {
            if self.is_ready() {
                return Ok(began.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                let why = format!("the server ended by itself ({status}):\n{}", self.launch.log_end());
                return Err(io::Error::other(why));
            }
            if began.elapsed() > self.launch.patience {
                let why = format!("not ready after {:?}:\n{}", self.launch.patience, self.launch.log_end());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn is_ready(&self) -> bool {
        let mut client = Client::new(self.launch.addr, Duration::from_secs(5));
        client.get("/readyz").is_ok_and(|answer| answer.status == 200)
    }

    /// Whether it ended by itself, and how.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kill -9, and waits until the process is gone.
    ///
    /// # Errors
    /// Where it had ended by itself before: with the end of its log.
    pub fn kill(mut self) -> io::Result<Launch> {
        self.kill_in_place().map(|()| self.launch.clone())
    }

    /// The same, of a server that is kept in its place.
    ///
    /// # Errors
    /// As [`Server::kill`].
    pub fn kill_in_place(&mut self) -> io::Result<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() == Some(9) {
            return Ok(());
        }
        let why = format!("the server had ended by itself ({status}):\n{}", self.launch.log_end());
        Err(io::Error::other(why))
    }

    /// Sends it a signal, by its name without `SIG`.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other("the server is gone")) }
    }

    /// Makes sure it is gone, whether it ended by itself or not.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        // Fails only where it is gone.
        let _ = self.child.kill();
        self.child.wait()
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Errors
    /// Where it does not exit with 0 within a minute.
    pub fn stop(mut self) -> io::Result<Launch> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !sent.success() {
            return Err(io::Error::other("the server was gone already"));
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait()? {
                let launch = self.launch.clone();
                let failed = || io::Error::other(format!("exit {status} after SIGTERM:\n{}", launch.log_end()));
                return if status.success() { Ok(launch.clone()) } else { Err(failed()) };
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "no exit within a minute of SIGTERM"))
    }

    /// Bytes the process caused to be written to disk, so far (`write_bytes` of `/proc/<pid>/io`).
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn disk_bytes_written(&self) -> io::Result<u64> {
        self.proc_number("io", "write_bytes:")
    }

    /// Resident memory in bytes (`VmRSS` of `/proc/<pid>/status`).
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        Ok(self.proc_number("status", "VmRSS:")? * 1024)
    }

    /// Processor time used so far, user and system, in microseconds (`/proc/<pid>/stat`, in ticks of 10 ms).
    ///
    /// # Errors
    /// Where the kernel does not say.
    pub fn cpu_us(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(ticks * 10_000)
    }

    fn proc_number(&self, file: &str, name: &str) -> io::Result<u64> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path)?
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| io::Error::other(format!("{path} has no {name}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where the process is gone, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free address of loopback, below the ports that the kernel gives to outgoing connections: a server that is started
/// again must find its port free.
///
/// # Errors
/// Where none of a thousand is free.
pub fn free_addr() -> io::Result<SocketAddr> {
    for _ in 0..1_000 {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..30_000)));
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr);
        }
    }
    Err(io::Error::other("no free port between 10000 and 30000"))
}

/// The release build of the server: `TERTIUM_BIN`, or else it is built.
///
/// # Errors
/// Where it can not be built.
pub fn release_binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("TERTIUM_BIN") {
        return Ok(PathBuf::from(path));
    }
    built("tertium", "tertium")
}

/// Builds a package's binary in release and says where it is.
///
/// # Errors
/// Where it can not be built.
pub fn built(package: &str, binary: &str) -> io::Result<PathBuf> {
    built_as(package, "--bin", binary)
}

/// The same of one of its examples.
///
/// # Errors
/// Where it can not be built.
pub fn built_example(package: &str, example: &str) -> io::Result<PathBuf> {
    built_as(package, "--example", example)
}

fn built_as(package: &str, kind: &str, name: &str) -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells a test about its own package would have build scripts run, and all behind them be built, again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command
        .current_dir(workspace())
        .args(["build", "--release", "--quiet", "--message-format=json-render-diagnostics", "-p", package])
        .args([kind, name])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{package} does not build")));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| io::Error::other(format!("cargo names no executable {name}")))
}

/// The root of the workspace this was built from.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// `tertium log verify` on a data directory that no server uses.
///
/// # Errors
/// Where the log is not whole: with what it printed.
pub fn verify_log(binary: &Path, data: &Path) -> io::Result<()> {
    let output = Command::new(binary).args(["log", "verify", "--data"]).arg(data).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("log verify: {}: {}", output.status, String::from_utf8_lossy(&text))))
}
