//! Where things are: the work tree, the target directory, the compiler.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One work tree and what builds it.
#[derive(Clone, Debug)]
pub(crate) struct House {
    /// The directory of the workspace's Cargo.toml.
    pub(crate) root: PathBuf,
    /// Where builds go.
    pub(crate) target: PathBuf,
    cargo: PathBuf,
}

impl House {
    /// From the manifest that cargo runs this program for.
    pub(crate) fn find() -> Result<Self, String> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").ok_or("run it as `cargo xtask`")?;
        let root = Path::new(&manifest_dir).parent().ok_or("xtask has no parent directory")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root.join(target),
            None => root.join("target"),
        };
        let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        Ok(Self { root, target, cargo })
    }

    /// `cargo <arguments>` at the root, without what cargo told this program about itself.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name.as_ref());
            }
        }
        command
    }

    /// Where the tools go that this program builds for itself.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The program of this name: among the tools built here, or on the PATH.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let built = self.tools().join("bin").join(name);
        if built.is_file() {
            return Some(built);
        }
        let path = env::var_os("PATH")?;
        env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
    }

    /// Builds a cargo subcommand from crates.io into [`House::tools`], where later runs find it.
    ///
    /// A tool runs once and for seconds: built with little optimisation it is ready in a third of the time.
    pub(crate) fn install(&self, name: &str, version: &str) -> Result<PathBuf, String> {
        if let Some(program) = self.program(name) {
            return Ok(program);
        }
        let tools = self.tools();
        let build = tools.join("build");
        let mut command = self.cargo(&["install", name, "--locked", "--debug", "--version", version]);
        command.args(["--config", "profile.dev.opt-level=1", "--config", "profile.dev.debug=0"]);
        command.arg("--root").arg(&tools).arg("--target-dir").arg(&build);
        let ran = crate::process::run(&mut command, crate::process::LIMIT_BUILD)?;
        // The intermediate files are many times the program's size, and are not needed again.
        let _ = std::fs::remove_dir_all(&build);
        if !ran.success {
            return Err(format!("{name} is not installed, and `cargo install {name}` failed"));
        }
        self.program(name).ok_or_else(|| format!("{name} was installed, but is not there"))
    }
}
