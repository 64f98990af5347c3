//! Namespaces, one bridge, and what of the traffic is dropped.
//!
//! A partition is dropped where it arrives, as on a real network: the sender learns nothing. If the lab is killed, its namespaces
//! stay, and what runs in them; the next one of the same name ends and removes both first.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::process::{Command, Stdio};

use crate::host::Host;

/// The network of one lab; gone when dropped.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    /// What the second does not hear of the first.
    cuts: BTreeSet<(Host, Host)>,
    /// Held by the lab that has the name.
    _lock: File,
}

/// What a program needs for a network of namespaces, and the Debian packages that have it.
const PROGRAMS: [(&str, &str); 2] = [("ip", "iproute2"), ("nft", "nftables")];

impl Network {
    /// Makes the namespaces, their links and their filters. Those of a lab of the same name that was killed go first.
    ///
    /// # Errors
    /// Where this may not be done here, or a program is missing: what to do.
    pub fn set_up(prefix: &str) -> io::Result<Self> {
        for (program, package) in PROGRAMS {
            if run(Command::new(program).arg("--version")).is_err() && run(Command::new(program).arg("-V")).is_err() {
                let why = format!("`{program}` is missing; install the package {package}");
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
        }
        let file = std::env::temp_dir().join(format!("{prefix}.lock"));
        let lock = File::create(file)?;
        if lock.try_lock().is_err() {
            return Err(io::Error::other(format!(
                "a lab named {prefix} is running; `--prefix` gives this one another name"
            )));
        }
        let network = Self { prefix: prefix.to_owned(), cuts: BTreeSet::new(), _lock: lock };
        network.remove();
        run(Command::new("ip").args(["netns", "add", &network.bridge()])).map_err(|error| {
            let why = format!("no network namespaces here (they need root): {error}");
            io::Error::new(io::ErrorKind::PermissionDenied, why)
        })?;
        network.make()?;
        Ok(network)
    }

    /// The name of a host's namespace.
    pub fn namespace(&self, host: Host) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn bridge(&self) -> String {
        format!("{}-net", self.prefix)
    }

    fn make(&self) -> io::Result<()> {
        let bridge = self.bridge();
        ip_in(&bridge, "link add bridge type bridge")?;
        ip_in(&bridge, "link set bridge up")?;
        for host in Host::all() {
            let namespace = self.namespace(host);
            run(Command::new("ip").args(["netns", "add", &namespace]))?;
            ip_in(&bridge, &format!("link add to-{host} type veth peer name eth0 netns {namespace}"))?;
            ip_in(&bridge, &format!("link set to-{host} master bridge up"))?;
            ip_in(&namespace, "link set lo up")?;
            ip_in(&namespace, &format!("address add {}/24 dev eth0", host.address()))?;
            ip_in(&namespace, "link set eth0 up")?;
            self.filter(host, FILTER)?;
        }
        Ok(())
    }

    /// From here on `to` hears nothing of `from`.
    ///
    /// # Errors
    /// What the filter said.
    pub fn cut(&mut self, from: Host, to: Host) -> io::Result<()> {
        if from != to && self.cuts.insert((from, to)) {
            self.filter(to, &format!("add element inet lab cut {{ {} }}\n", from.address()))?;
        }
        Ok(())
    }

    /// Everybody hears everybody again.
    ///
    /// # Errors
    /// What the filter said.
    pub fn heal(&mut self) -> io::Result<()> {
        while let Some((_, to)) = self.cuts.first().copied() {
            self.filter(to, "flush set inet lab cut\n")?;
            self.cuts.retain(|(_, of)| *of != to);
        }
        Ok(())
    }

    /// Which of the second hear nothing of the first.
    pub const fn cuts(&self) -> &BTreeSet<(Host, Host)> {
        &self.cuts
    }

    /// A program on one of the hosts.
    pub fn command(&self, host: Host, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(program);
        command
    }

    fn filter(&self, host: Host, rules: &str) -> io::Result<()> {
        use std::io::Write as _;
        let mut command = self.command(host, "nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(rules.as_bytes())?;
        }
        said(&format!("nft on {host}"), &child.wait_with_output()?)
    }

    fn remove(&self) {
        let names = Host::all().map(|host| self.namespace(host)).chain([self.bridge()]);
        for name in names {
            // What runs in it goes on without its name. Of a lab that ended in order nothing runs any more.
            let pids = Command::new("ip").args(["netns", "pids", &name]).stdin(Stdio::null()).output();
            let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for pid in pids.split_whitespace() {
                let _ = run(Command::new("kill").args(["-KILL", pid]));
            }
            // Where there is none, nothing is to be removed.
            let _ = run(Command::new("ip").args(["netns", "del", &name]));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}

const FILTER: &str = "\
table inet lab {
  set cut { type ipv4_addr; }
  chain arriving { type filter hook input priority 0; ip saddr @cut drop; }
}
";

fn ip_in(namespace: &str, arguments: &str) -> io::Result<()> {
    run(Command::new("ip").args(["-n", namespace]).args(arguments.split(' ')))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    said(&format!("{command:?}"), &output)
}

fn said(what: &str, output: &std::process::Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
