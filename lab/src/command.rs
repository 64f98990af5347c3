//! What a person types.

use std::fmt;
use std::time::Duration;

use crate::host::Host;

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Nothing: an empty line, or a comment.
    Nothing,
    /// Who runs, who leads, who does not hear whom.
    Status,
    /// These do not hear each other; or, with one direction, the second does not hear the first.
    Partition {
        /// Who is cut off.
        from: Host,
        /// From whom; from everybody but clients where nobody is named.
        to: Option<Host>,
        /// Whether only what `from` sends is lost.
        is_one_way: bool,
    },
    /// Everybody hears everybody again.
    Heal,
    /// Kill -9.
    Kill(Host),
    /// Starts what was killed.
    Start(Host),
    /// The process stands still.
    Pause(Host),
    /// It goes on.
    Resume(Host),
    /// Its wall clock is so many seconds ahead.
    Clock(Host, i64),
    /// A node leads by agreement; a standby becomes the primary.
    Promote(Host),
    /// `tertium` with these arguments, of a node.
    Tertium(Host, Vec<String>),
    /// Waits.
    Sleep(Duration),
    /// What there is.
    Help,
    /// The end.
    Quit,
}

/// A line that is no command: what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandError(pub String);

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

/// All commands, for people.
pub const HELP: &str = "\
hosts: me (you), a b c (nodes), db1 db2 db3 (PostgreSQL: a primary and two standbys, one of which must have each commit)

  status                who runs, who leads, who does not hear whom
  t ARGUMENTS           `tertium ARGUMENTS`, asked of node a; `t@b ARGUMENTS` of node b
  partition A B         A and B do not hear each other
  partition A to B      what A sends to B is lost; B is heard by A
  partition A           A hears nobody but you, and nobody but you hears A
  heal                  everybody hears everybody again
  kill A | start A      kill -9, and a start; a database that is no primary any more starts as a new standby
  pause A | resume A    a node stands still (SIGSTOP), and goes on
  clock A +3600         the wall clock of node A is an hour ahead; `clock A 0` puts it right
  promote b             node b is to lead, by agreement
  promote db2           the primary is stopped, and db2 becomes it
  sleep 2               waits two seconds
  help | quit";

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// [`CommandError`], for people.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let line = line.split(" #").next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self::Nothing);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = (words[0], &words[1..]);
        if let Some(node) = name.strip_prefix("t@") {
            return Ok(Self::Tertium(a_node(node)?, arguments(line)?));
        }
        match (name, rest) {
            ("status", []) => Ok(Self::Status),
            ("heal", []) => Ok(Self::Heal),
            ("help" | "?", _) => Ok(Self::Help),
            ("quit" | "exit", []) => Ok(Self::Quit),
            ("t", _) => Ok(Self::Tertium(Host::Node(0), arguments(line)?)),
            ("partition", [from]) => Ok(Self::Partition { from: host(from)?, to: None, is_one_way: false }),
            ("partition", [from, to]) => {
                Ok(Self::Partition { from: host(from)?, to: Some(host(to)?), is_one_way: false })
            }
            ("partition", [from, "to", to]) => {
                Ok(Self::Partition { from: host(from)?, to: Some(host(to)?), is_one_way: true })
            }
            ("kill", [name]) => program(name).map(Self::Kill),
            ("start", [name]) => program(name).map(Self::Start),
            ("promote", [name]) => program(name).map(Self::Promote),
            ("pause", [name]) => a_node(name).map(Self::Pause),
            ("resume", [name]) => a_node(name).map(Self::Resume),
            ("clock", [name, seconds]) => {
                let seconds = seconds.trim_end_matches('s').parse();
                let right = |_| CommandError("seconds ahead, like +3600, -20 or 0".to_owned());
                Ok(Self::Clock(a_node(name)?, seconds.map_err(right)?))
            }
            ("sleep", [seconds]) => match seconds.parse() {
                Ok(seconds) if (0.0..=3_600.0).contains(&seconds) => Ok(Self::Sleep(Duration::from_secs_f64(seconds))),
                _ => Err(CommandError("seconds, up to 3600".to_owned())),
            },
            _ => Err(CommandError(format!("`{line}` is no command; `help` lists them"))),
        }
    }
}

fn host(name: &str) -> Result<Host, CommandError> {
    let names: Vec<String> = Host::all().map(|host| host.to_string()).collect();
    Host::parse(name).ok_or_else(|| CommandError(format!("there is no `{name}`; there are {}", names.join(" "))))
}

/// One that has a program of its own.
fn program(name: &str) -> Result<Host, CommandError> {
    match host(name)? {
        Host::Client => Err(CommandError("that is you; name a node or a database".to_owned())),
        host => Ok(host),
    }
}

fn a_node(name: &str) -> Result<Host, CommandError> {
    match host(name)? {
        host @ Host::Node(_) => Ok(host),
        _ => Err(CommandError(format!("`{name}` is no node; there are a b c"))),
    }
}

/// The words behind the first, where quotes hold words together.
fn arguments(line: &str) -> Result<Vec<String>, CommandError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(CommandError(format!("a {open} is not closed"))),
        None => Ok(words.split_off(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<Command, &str>) {
        assert_eq!(Command::parse(line), expected.map_err(|text| CommandError(text.to_owned())), "{line}");
    }

    #[test]
    fn lines_are_commands_or_say_what_would_be_right() {
        let (a, b, db2) = (Host::Node(0), Host::Node(1), Host::Database(1));
        check("  ", Ok(Command::Nothing));
        check("# what follows is a story", Ok(Command::Nothing));
        check("status", Ok(Command::Status));
        check("partition a db2", Ok(Command::Partition { from: a, to: Some(db2), is_one_way: false }));
        check("partition a to b", Ok(Command::Partition { from: a, to: Some(b), is_one_way: true }));
        check("partition me", Ok(Command::Partition { from: Host::Client, to: None, is_one_way: false }));
        check("heal # all of it", Ok(Command::Heal));
        check("kill db2", Ok(Command::Kill(db2)));
        check("promote b", Ok(Command::Promote(b)));
        check("clock b +3600", Ok(Command::Clock(b, 3_600)));
        check("clock b -20s", Ok(Command::Clock(b, -20)));
        check("sleep 0.5", Ok(Command::Sleep(Duration::from_millis(500))));
        check(
            "t@b transfer make x y 5 --memo 'two words'",
            Ok(Command::Tertium(
                b,
                ["transfer", "make", "x", "y", "5", "--memo", "two words"].map(str::to_owned).into(),
            )),
        );
        check("t", Ok(Command::Tertium(a, Vec::new())));
        check("t op show 'k", Err("a ' is not closed"));
        check("kill d", Err("there is no `d`; there are me a b c db1 db2 db3"));
        check("kill me", Err("that is you; name a node or a database"));
        check("pause db1", Err("`db1` is no node; there are a b c"));
        check("clock a soon", Err("seconds ahead, like +3600, -20 or 0"));
        check("sleep -1", Err("seconds, up to 3600"));
        check("explode", Err("`explode` is no command; `help` lists them"));
    }

    #[test]
    fn the_help_names_every_command() {
        for name in [
            "status",
            "t ",
            "partition",
            "heal",
            "kill",
            "start",
            "pause",
            "resume",
            "clock",
            "promote",
            "sleep",
            "help",
            "quit",
        ] {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
