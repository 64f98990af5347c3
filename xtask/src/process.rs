//! Runs a program: its output goes to the terminal as it comes, is kept for parsing, and it has a bound in time.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// For what compiles much.
pub(crate) const LIMIT_BUILD: Duration = Duration::from_secs(30 * 60);

/// What became of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Whether it ended with exit code 0, and in time.
    pub(crate) success: bool,
    /// Everything it printed, both streams, line by line as it came.
    pub(crate) output: String,
    /// Why it is no success.
    pub(crate) why: String,
}

/// Runs `command` to its end, or kills it and what it started after `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ran, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let (lines, received) = mpsc::channel();
    tee(child.stdout.take(), lines.clone(), std::io::stdout);
    tee(child.stderr.take(), lines, std::io::stderr);

    // The channel ends when both streams do: that is when nobody who could print is left.
    let deadline = Instant::now() + limit;
    let mut output = String::new();
    let mut late = false;
    loop {
        match received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => output.push_str(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                late = true;
                kill_tree(child.id());
                break;
            }
        }
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
    let why = if late { format!("killed after {} s", limit.as_secs()) } else { status.to_string() };
    Ok(Ran { success: status.success() && !late, output, why })
}

fn tee<R: Read + Send + 'static, W: Write + 'static>(from: Option<R>, lines: mpsc::Sender<String>, to: fn() -> W) {
    let Some(from) = from else { return };
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            // Tests of this program run what looks like test runners: that must not reach the terminal, where the real
            // one's lines are counted. A closed terminal is no reason to stop: the result still counts.
            let _ = if cfg!(test) { Ok(()) } else { to().write_all(&line) };
            let text = String::from_utf8_lossy(&line).into_owned();
            if lines.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// Kills a process and all its descendants, parents first so that none is started anew.
fn kill_tree(root: u32) {
    let mut doomed = vec![root];
    let mut at = 0;
    while at < doomed.len() {
        doomed.extend(children_of(doomed[at]));
        at += 1;
    }
    for process in doomed {
        let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        parent_in_stat(&stat) == Some(parent)
    })
    .collect()
}

/// The fourth field; the second is the program's name in brackets and may hold anything.
fn parent_in_stat(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_both_streams_is_kept() {
        let ran = run(Command::new("sh").args(["-c", "echo a; echo b >&2; exit 3"]), LIMIT_BUILD).unwrap();
        assert!(!ran.success);
        assert!(ran.output.contains("a\n") && ran.output.contains("b\n"), "{}", ran.output);
    }

    #[test]
    fn what_never_ends_is_killed_with_what_it_started() {
        let started = Instant::now();
        let ran = run(Command::new("sh").args(["-c", "sleep 600 & sleep 600"]), Duration::from_millis(200)).unwrap();
        assert!(!ran.success && ran.why.contains("killed"), "{}", ran.why);
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        assert_eq!(parent_in_stat("12 (a) b (c) S 7 12 12"), Some(7));
        assert_eq!(parent_in_stat("garbage"), None);
    }
}
