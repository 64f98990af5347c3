//! A terminal session against the real binary: what was typed, what was printed, how it ended.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A directory of its own, and a server in it once one is asked for.
pub(crate) struct Session {
    dir: TempDir,
    server: Option<(Child, String)>,
}

/// What one command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Starts a server on a port of its own, over `data` in the session's directory.
    pub(crate) fn serve(&mut self, data: &str) {
        let mut child = command(self.dir.path())
            .args([
                "serve",
                "--data",
                data,
                "--listen",
                "127.0.0.1:0",
                "--segment-bytes",
                "1MiB",
                "--log-level",
                "warn",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {said:?}")).unwrap();
            if let Some((_, url)) = line.split_once("serving on ") {
                break url.split([' ', ';']).next().unwrap().to_owned();
            }
            said.push(line);
        };
        // What it says later must be taken from it, or it would wait for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.server = Some((child, url));
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        &self.server.as_ref().unwrap().1
    }

    /// Stops the server as an operator would, and says how it ended.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let (mut child, _) = self.server.take().unwrap();
        let signalled = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(signalled.success());
        child.wait().unwrap().code()
    }

    /// Runs one command line, its words parted by spaces; quotes keep words together.
    pub(crate) fn run(&self, line: &str) -> Ran {
        let mut command = command(self.dir.path());
        if let Some((_, url)) = &self.server {
            command.env("TERTIUM_SERVER", url);
        }
        let output = command.args(words(line)).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code().unwrap() }
    }

    /// Runs the command lines and writes down the session as a person would see it.
    pub(crate) fn transcript(&self, lines: &[&str]) -> String {
        let mut out = String::new();
        for line in lines {
            let ran = self.run(line);
            let printed = format!("{}{}", ran.stdout, ran.stderr);
            let line = steady(line);
            out.push_str(&format!("$ tertium {line}\n{}[exit status: {}]\n", steady(&printed), ran.code));
        }
        out
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.server {
            // It may have ended by itself, which is what a test would have noticed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tertium"));
    command.current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// With what differs from run to run replaced: instants, ids and positions.
pub(crate) fn steady(text: &str) -> String {
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let mut word = String::new();
        for c in line.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.') {
                word.push(c);
                continue;
            }
            out.push_str(&steady_word(&word));
            word.clear();
            if c != '\n' {
                out.push(c);
            }
        }
    }
    if text.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn steady_word(word: &str) -> String {
    let dashes: Vec<usize> = word.split('-').map(str::len).collect();
    if dashes == [8, 4, 4, 4, 12] {
        return "<uuid>".to_owned();
    }
    if word.len() == 27 && word.ends_with('Z') && word.contains('T') {
        return "<instant>".to_owned();
    }
    if word.starts_with("main:") {
        return "<position>".to_owned();
    }
    word.to_owned()
}
