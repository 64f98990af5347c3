//! What the tests need from the system: installed where that is allowed, named where it is not.

use std::path::Path;
use std::process::Command;

use crate::house::House;
use crate::process;
use crate::steps::Outcome;

/// Something a step needs, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// A program on the PATH, or a file by its absolute path.
    pub(crate) file: &'static str,
    /// As apt knows it.
    pub(crate) package: &'static str,
}

pub(crate) const POSTGRESQL: Need = Need { file: "/usr/lib/postgresql/15/bin/postgres", package: "postgresql-15" };
pub(crate) const IP: Need = Need { file: "ip", package: "iproute2" };
pub(crate) const NFT: Need = Need { file: "nft", package: "nftables" };
/// Of one architecture: on another, the lab says that clocks cannot be changed.
pub(crate) const FAKETIME: Need =
    Need { file: "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", package: "libfaketime" };
pub(crate) const NODE: Need = Need { file: "node", package: "nodejs" };
pub(crate) const CXX: Need = Need { file: "c++", package: "g++" };

/// Makes sure that it is there. The error is the reason why it is not.
pub(crate) fn provide(house: &House, need: Need) -> Result<(), String> {
    if is_there(house, need) {
        return Ok(());
    }
    let missing = format!("{} is missing (Debian package {})", need.file, need.package);
    if house.program("apt-get").is_none() {
        return Err(format!("{missing}, and there is no apt-get"));
    }
    if !is_root() {
        return Err(format!("{missing}; as root: apt-get install {}", need.package));
    }
    // A machine that is new has no package lists yet; where they are there, a second fetch would only cost time.
    if !apt(&["install", "-y", "--no-install-recommends", need.package])? {
        apt(&["update"])?;
        apt(&["install", "-y", "--no-install-recommends", need.package])?;
    }
    if is_there(house, need) { Ok(()) } else { Err(format!("{missing}, and apt-get could not install it")) }
}

/// A step of its own before those that start a server: what cannot be had is said once, and by each of them again.
pub(crate) fn postgresql(house: &House) -> Outcome {
    match provide(house, POSTGRESQL) {
        Ok(()) => Outcome::passed(),
        Err(why) => Outcome::NotRun(why),
    }
}

/// Likewise for what needs network namespaces and a wall clock that is wrong.
pub(crate) fn network(house: &House) -> Outcome {
    match [IP, NFT, FAKETIME].into_iter().try_for_each(|need| provide(house, need)) {
        Ok(()) => Outcome::passed(),
        Err(why) => Outcome::NotRun(why),
    }
}

fn is_there(house: &House, need: Need) -> bool {
    if need.file.starts_with('/') { Path::new(need.file).is_file() } else { house.program(need.file).is_some() }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt(arguments: &[&str]) -> Result<bool, String> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    Ok(process::run(&mut command, process::LIMIT_BUILD)?.success)
}
