//! The proof that the machine is pure: built for a host that offers nothing, it must ask for nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::house::House;
use crate::steps::{self, Outcome};
use crate::{packages, process, wasm};

pub(crate) const HELP: &str = "\
cargo xtask purity

Builds crates/machine for wasm32-unknown-unknown and fails if the module imports anything. Then, with node, feeds it
entries and compares its digests with those of the native build. Needs the target's standard library, which rustup has
(`rustup target add wasm32-unknown-unknown`); Debian's is for a compiler that is too old for this workspace.";

const TARGET: &str = "wasm32-unknown-unknown";
const MANIFEST: &str = "xtask/purity/Cargo.toml";

/// `cargo xtask purity`
pub(crate) fn run(house: &House, _arguments: &[String]) -> Result<bool, String> {
    let outcome = prove(house);
    println!("purity: {outcome}");
    Ok(!matches!(outcome, Outcome::Failed(_)))
}

/// The whole proof.
pub(crate) fn prove(house: &House) -> Outcome {
    if let Err(why) = provide_target(house) {
        return Outcome::NotRun(why);
    }
    let target_dir = house.target.join("purity");
    match build(house, &target_dir).and_then(|module| check_imports(&module).map(|()| module)) {
        Ok(module) => compare(house, &target_dir, &module),
        Err(why) => Outcome::failed(why),
    }
}

fn provide_target(house: &House) -> Result<(), String> {
    if has_target() {
        return Ok(());
    }
    let missing = format!("the standard library for {TARGET} is missing");
    let rustup = house.program("rustup").ok_or(format!("{missing}, and there is no rustup to add it"))?;
    let ran = process::run(Command::new(rustup).args(["target", "add", TARGET]), Duration::from_secs(300))?;
    if ran.success && has_target() { Ok(()) } else { Err(format!("{missing}, and rustup could not add it")) }
}

fn has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    printed.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The module's path.
fn build(house: &House, target_dir: &Path) -> Result<PathBuf, String> {
    let arguments = ["build", "--release", "--lib", "--manifest-path", MANIFEST, "--target", TARGET];
    let mut command = house.cargo(&arguments);
    command.env("CARGO_TARGET_DIR", target_dir);
    let ran = process::run(&mut command, process::LIMIT_BUILD)?;
    if !ran.success {
        return Err(format!("the machine does not build for {TARGET}: {}", ran.why));
    }
    Ok(target_dir.join(TARGET).join("release/purity.wasm"))
}

fn check_imports(module: &Path) -> Result<(), String> {
    let bytes = fs::read(module).map_err(|error| format!("{}: {error}", module.display()))?;
    let imports = wasm::imports(&bytes)?;
    if imports.is_empty() {
        println!("    {} bytes of WebAssembly, no imports", bytes.len());
        return Ok(());
    }
    Err(format!("the machine asks its host for {}", imports.join(", ")))
}

/// Runs the same entries here and there. The native program writes them down with its digests, the script repeats them.
fn compare(house: &House, target_dir: &Path, module: &Path) -> Outcome {
    let mut command = house.cargo(&["run", "--release", "--quiet", "--manifest-path", MANIFEST]);
    command.env("CARGO_TARGET_DIR", target_dir);
    let native = match command.output() {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => output.stdout,
        Ok(output) => return Outcome::failed(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return Outcome::failed(error.to_string()),
    };
    let entries = target_dir.join("entries.txt");
    if let Err(error) = fs::write(&entries, native) {
        return Outcome::failed(format!("{}: {error}", entries.display()));
    }
    if let Err(why) = packages::provide(house, packages::NODE) {
        println!("    not compared with the native build: {why}");
        return Outcome::passed();
    }
    let mut node = Command::new("node");
    node.current_dir(&house.root).arg("xtask/purity/compare.mjs").arg(module).arg(entries);
    steps::judge(&mut node, Duration::from_secs(300), false)
}
