//! The README's first session, run as it is printed: only the port is another, so that tests can run side by side.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// One command of a session and what it prints.
struct Step {
    command: String,
    output: String,
}

#[test]
fn the_first_session_of_the_readme_is_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let steps = steps_of(&readme);
    assert!(steps.len() >= 8, "the README shows a session of {} commands", steps.len());

    let data = tempfile::tempdir().expect("a directory");
    let mut server = Command::new(env!("CARGO_BIN_EXE_tertium"))
        .args(["dev", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let output = server.stdout.take().expect("its output");
    let address = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("http://")?.1.split([';', ' ']).next()?.to_owned()))
        .expect("the server says where it listens");

    let mut wrong = Vec::new();
    for step in &steps {
        let command = step.command.replace("localhost:7700", &address);
        let run = Command::new("bash").args(["-c", &command]).output().expect("a shell with curl");
        let printed = String::from_utf8_lossy(&run.stdout).replace('\r', "");
        if !matches(&step.output, printed.trim_end()) {
            wrong.push(format!("$ {}\nREADME:\n{}\nprinted:\n{}", step.command, step.output, printed.trim_end()));
        }
    }
    server.kill().expect("the server stops");
    server.wait().expect("the server stopped");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The commands and outputs of all `console` blocks.
fn steps_of(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), output: String::new() }),
                None => {
                    let output = &mut steps.last_mut().expect("a session begins with a command").output;
                    if !output.is_empty() {
                        output.push('\n');
                    }
                    output.push_str(line);
                }
            },
        }
    }
    steps
}

/// Whether the text is what was promised, where `…` stands for anything within a line.
fn matches(promised: &str, printed: &str) -> bool {
    let (promised, printed): (Vec<_>, Vec<_>) = (promised.lines().collect(), printed.lines().collect());
    promised.len() == printed.len()
        && promised.iter().zip(printed).all(|(promised, printed)| line_matches(promised, printed))
}

fn line_matches(promised: &str, printed: &str) -> bool {
    let mut parts = promised.split('…');
    let Some(mut rest) = parts.next().and_then(|first| printed.strip_prefix(first)) else { return false };
    for part in parts {
        match rest.find(part) {
            Some(_) if part.is_empty() => rest = "",
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[test]
fn a_wildcard_stays_within_its_bounds() {
    assert!(line_matches("a…c", "abbbc") && line_matches("a…", "abc") && line_matches("a", "a"));
    assert!(!line_matches("a…c", "abbb") && !line_matches("a", "ab") && !line_matches("a…d", "abc"));
}
