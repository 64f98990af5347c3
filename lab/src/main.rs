//! `tertium-lab`: sets the lab up, does what is typed, and takes it down again.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use clap::Parser;
use tertium_lab::{Command, Lab, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Three nodes, and PostgreSQL with two standbys, each on a host of its own on this machine, to be broken on purpose. Commands are read
/// from standard input, one to a line; `help` lists them. The end of the input ends the lab.
#[derive(Debug, Parser)]
#[command(name = "tertium-lab", version)]
struct Arguments {
    /// The server; built by `cargo xtask lab`.
    #[arg(long, value_name = "FILE", env = "TERTIUM_BIN")]
    binary: PathBuf,
    /// The beginning of the names of its network namespaces: two labs at a time need two.
    #[arg(long, default_value = "tertium-lab")]
    prefix: String,
    /// Where its data goes while it runs.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { binary, prefix, dir } = Arguments::parse();
    let mut lab = match Lab::start(&Options { binary, prefix, dir }, &mut |what| eprintln!("starting {what}")) {
        Ok(lab) => lab,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            eprintln!("not run: {error}");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("tertium-lab: {error}");
            return ExitCode::FAILURE;
        }
    };
    eprintln!("From another shell:\n  {} account list", lab.shell());
    match converse(&mut lab) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tertium-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what each line says. Of a person at a terminal a mistake is told; a script ends with its first one, and says so.
fn converse(lab: &mut Lab) -> io::Result<bool> {
    let is_person = io::stdin().is_terminal();
    if is_person {
        eprintln!("`help` lists the commands; `quit` ends the lab.");
    }
    let lines = lines()?;
    loop {
        if is_person {
            eprint!("lab> ");
            io::stderr().flush()?;
        }
        // The input is at its end, or a signal came.
        let Ok(Some(line)) = lines.recv() else { return Ok(true) };
        let line = line?;
        if !is_person {
            println!("lab> {line}");
        }
        let done = match Command::parse(&line) {
            Ok(Command::Quit) => return Ok(true),
            Ok(command) => lab.perform(&command),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        match done {
            Ok(text) if text.is_empty() => {}
            Ok(text) => println!("{text}"),
            Err(error) => {
                println!("{error}");
                if !is_person {
                    return Ok(false);
                }
            }
        }
    }
}

/// The lines of the input as they come; `None` where a signal ends the lab, which then is taken down as at its end.
fn lines() -> io::Result<Receiver<Option<io::Result<String>>>> {
    let (sender, receiver) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [interrupt, terminate, hangup] = signals;
    let (mut interrupt, mut terminate, mut hangup) = (interrupt?, terminate?, hangup?);
    drop(entered);
    let of_signals = sender.clone();
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        // Nobody listens any more where the lab ends already.
        let _ = of_signals.send(None);
    });
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if sender.send(Some(line)).is_err() {
                return;
            }
        }
        let _ = sender.send(None);
    });
    Ok(receiver)
}
