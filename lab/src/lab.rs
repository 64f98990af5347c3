//! All of it together: set up, changed by commands, and gone when dropped.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::certificates::{Authority, write_secret};
use crate::command::{Command, HELP};
use crate::database::Databases;
use crate::host::Host;
use crate::network::Network;
use crate::node::{Node, Setup, log_file};

/// How long a node may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a lab is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's program.
    pub binary: PathBuf,
    /// The beginning of its namespaces' names: two labs at a time need two.
    pub prefix: String,
    /// Where its data goes.
    pub dir: PathBuf,
}

/// A lab that is up. Its fields go in their order: first the nodes, then the databases, then the network, then the data.
#[derive(Debug)]
pub struct Lab {
    nodes: Vec<Node>,
    databases: Databases,
    network: Network,
    setup: Setup,
    api_key: PathBuf,
    _dir: TempDir,
}

impl Lab {
    /// Starts everything, and waits until all nodes serve.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] where there may be no namespaces, [`io::ErrorKind::NotFound`] where a package is missing: why
    /// the lab is not run here. Else what failed.
    pub fn start(options: &Options, progress: &mut dyn FnMut(&str)) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("tertium-lab-").tempdir_in(&options.dir)?;
        // The servers of PostgreSQL run as another user, who must come through.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711))?;
        std::fs::create_dir(dir.path().join("databases"))?;
        progress("the network");
        let network = Network::set_up(&options.prefix)?;
        progress("PostgreSQL and its standbys");
        let databases = Databases::start(&dir.path().join("databases"), &network)?;
        let authority = Authority::new(dir.path())?;
        let (keys, api_key) = make_key(&options.binary, dir.path())?;
        let nodes = Host::nodes().map(|host| Ok(Node::new(host, authority.certify(host)?)));
        let nodes = nodes.collect::<io::Result<Vec<_>>>()?;
        let setup = Setup {
            binary: options.binary.clone(),
            dir: dir.path().to_owned(),
            log: Databases::url(),
            keys,
            authority: authority.file(),
        };
        let mut lab = Self { nodes, databases, network, setup, api_key, _dir: dir };
        for host in Host::nodes() {
            progress(&format!("node {host}"));
            lab.perform(&Command::Start(host))?;
            lab.wait_until_serving(host)?;
        }
        Ok(lab)
    }

    /// Does what a command says, and gives what is to be told.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn perform(&mut self, command: &Command) -> io::Result<String> {
        match command {
            Command::Nothing | Command::Quit => {}
            Command::Help => return Ok(HELP.to_owned()),
            Command::Status => return self.status(),
            Command::Partition { from, to, is_one_way } => self.partition(*from, *to, *is_one_way)?,
            Command::Heal => self.network.heal()?,
            Command::Kill(Host::Database(number)) => self.databases.kill(usize::from(*number))?,
            Command::Start(Host::Database(number)) => {
                self.databases.start_one(usize::from(*number), &self.network)?;
            }
            Command::Promote(Host::Database(number)) => self.databases.promote(usize::from(*number))?,
            Command::Kill(host) => self.node(*host)?.kill()?,
            Command::Start(host) => {
                let number = number_of(*host)?;
                self.nodes[number].start(&self.setup, &self.network)?;
            }
            Command::Pause(host) => self.node(*host)?.pause(true)?,
            Command::Resume(host) => self.node(*host)?.pause(false)?,
            Command::Clock(host, seconds) => {
                let number = number_of(*host)?;
                self.nodes[number].set_clock(*seconds, &self.setup)?;
            }
            Command::Promote(host) => {
                let arguments = ["nodes", "promote", &host.to_string()].map(str::to_owned);
                return self.tertium(*host, &arguments);
            }
            Command::Tertium(host, arguments) => return self.tertium(*host, arguments),
            Command::Sleep(time) => std::thread::sleep(*time),
        }
        Ok(String::new())
    }

    /// How to ask a node from a shell.
    pub fn shell(&self) -> String {
        format!(
            "sudo ip netns exec {} env TERTIUM_SERVER={} TERTIUM_CA_FILE={} TERTIUM_API_KEY_FILE={} {}",
            self.network.namespace(Host::Client),
            Node::url(Host::Node(0)),
            self.setup.authority.display(),
            self.api_key.display(),
            self.setup.binary.display(),
        )
    }

    fn node(&mut self, host: Host) -> io::Result<&mut Node> {
        let number = number_of(host)?;
        Ok(&mut self.nodes[number])
    }

    fn partition(&mut self, from: Host, to: Option<Host>, is_one_way: bool) -> io::Result<()> {
        let others: Vec<Host> = match to {
            Some(to) => vec![to],
            None => Host::all().filter(|other| *other != from && *other != Host::Client).collect(),
        };
        for other in others {
            self.network.cut(from, other)?;
            if !is_one_way {
                self.network.cut(other, from)?;
            }
        }
        Ok(())
    }

    /// `tertium` from the client's host: what it printed. Its exit code is told where it is not 0: refused and uncertain are answers.
    fn tertium(&self, host: Host, arguments: &[String]) -> io::Result<String> {
        let mut command = self.network.command(Host::Client, "env");
        command.arg(format!("TERTIUM_SERVER={}", Node::url(host)));
        command.arg(format!("TERTIUM_CA_FILE={}", self.setup.authority.display()));
        command.arg(format!("TERTIUM_API_KEY_FILE={}", self.api_key.display()));
        let output = command.arg(&self.setup.binary).args(arguments).stdin(Stdio::null()).output()?;
        let mut text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim_end().to_owned();
        if let Some(code) = output.status.code().filter(|code| *code != 0) {
            text.push_str(&format!("\n(exit code {code})"));
        }
        Ok(text)
    }

    fn status(&mut self) -> io::Result<String> {
        let mut lines = Vec::new();
        for (host, node) in Host::nodes().zip(&mut self.nodes) {
            let state = match (node.is_up(), node.is_paused()) {
                (false, _) => "down",
                (true, true) => "paused",
                (true, false) => "up",
            };
            let clock = if node.clock_s() == 0 { String::new() } else { format!(", its clock {:+} s", node.clock_s()) };
            lines.push(format!("{host:<4} {:<12} {state}{clock}", host.address().to_string()));
        }
        for (number, host) in Host::databases().enumerate() {
            let state = if self.databases.is_up(number) { "up" } else { "down" };
            let role = if self.databases.primary() == number { ", the primary" } else { "" };
            lines.push(format!("{host:<4} {:<12} {state}{role}", host.address().to_string()));
        }
        for (from, to) in self.network.cuts() {
            lines.push(format!("{to} hears nothing of {from}"));
        }
        Ok(lines.join("\n"))
    }

    fn wait_until_serving(&mut self, host: Host) -> io::Result<()> {
        let began = Instant::now();
        let number = number_of(host)?;
        let ready = ["account", "list", "--limit", "1"].map(str::to_owned);
        loop {
            if !self.tertium(host, &ready)?.contains("(exit code ") {
                return Ok(());
            }
            let log = || std::fs::read_to_string(log_file(&self.setup, host)).unwrap_or_default();
            if !self.nodes[number].is_up() {
                return Err(io::Error::other(format!("node {host} ended by itself:\n{}", log())));
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("node {host} does not serve:\n{}", log())));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn number_of(host: Host) -> io::Result<usize> {
    match host {
        Host::Node(number) => Ok(usize::from(number)),
        other => Err(io::Error::other(format!("{other} is no node"))),
    }
}

/// A file of keys with one that may do everything, and the file with its token.
fn make_key(binary: &std::path::Path, dir: &std::path::Path) -> io::Result<(PathBuf, PathBuf)> {
    let (keys, token) = (dir.join("keys.toml"), dir.join("api-key"));
    let output = std::process::Command::new(binary)
        .args(["keys", "create", "lab", "--role", "admin", "--json", "--keys"])
        .arg(&keys)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split('"').find(|part| part.starts_with("tert_")).map(str::to_owned);
    let found =
        found.ok_or_else(|| io::Error::other(format!("no API key: {}", String::from_utf8_lossy(&output.stderr))))?;
    write_secret(&token, found.as_bytes())?;
    Ok((keys, token))
}
