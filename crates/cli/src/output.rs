//! What commands print: aligned lines for people, one JSON object per line for programs.

use std::fmt::Display;
use std::io::{self, Write as _};

use client::{Answer, Outcome, Uncertain};
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::{Ended, Exit, Failure, code_of};

/// For whom to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Human,
    Json,
}

/// Prints to standard output. A reader that has gone away (`| head`) is not an error.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// One JSON object on a line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    print(text)
}

/// Says that a list goes on behind its page.
pub(crate) fn print_more() -> Result<(), Failure> {
    print("there are more: --limit shows up to 1,000")
}

/// Names and values, the values in one column.
#[derive(Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn add(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// Only if there is something to say.
    pub(crate) fn add_some(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }
}

impl Display for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (i, (name, value)) in self.0.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}  {name:width$}  {value}")?;
        }
        Ok(())
    }
}

/// Prints how a write ended, and ends the command accordingly.
pub(crate) fn print_answer<T: Serialize>(
    format: Format,
    answer: Answer<T>,
    describe: impl FnOnce(&T, &mut Fields),
) -> Ended {
    let word = answer.outcome.word();
    if format == Format::Json {
        print_json(&envelope(&answer))?;
        return match &answer.outcome {
            Outcome::Committed(_) => Ok(Exit::Done),
            Outcome::Refused(problem) if code_of(problem) == wire::codes::EXIT_USAGE => Err(Failure::refused(problem)),
            Outcome::Refused(_) => Ok(Exit::Refused),
            Outcome::Uncertain(uncertain) => Ok(exit_of(uncertain)),
        };
    }
    let mut fields = Fields::default();
    let exit = match &answer.outcome {
        Outcome::Committed(value) => {
            describe(value, &mut fields);
            Exit::Done
        }
        Outcome::Refused(problem) => {
            fields.add("why", problem);
            let run = problem.run.as_ref().and_then(|run| run["id"].as_str());
            fields.add_some("next", run.map(|run| format!("tertium run show {run}")));
            let known = wire::Code::parse(&problem.code);
            fields.add_some("more", known.map(|code| format!("tertium errors {code}")));
            if code_of(problem) == wire::codes::EXIT_USAGE {
                return Err(Failure::refused(problem));
            }
            Exit::Refused
        }
        Outcome::Uncertain(uncertain) => {
            fields.add("why", &uncertain.reason);
            match uncertain.sent {
                true => fields.add("next", format_args!("tertium op settle {}", answer.key)),
                false => fields.add("next", "the same again, under the same key"),
            };
            exit_of(uncertain)
        }
    };
    fields.add("key", &answer.key);
    fields.add_some("position", answer.position.as_ref());
    print(format_args!("{word}{}\n{fields}", how(&answer)))?;
    Ok(exit)
}

/// Whoever could not ask has nothing to settle.
const fn exit_of(uncertain: &Uncertain) -> Exit {
    if uncertain.sent { Exit::Uncertain } else { Exit::Unanswered }
}

fn how<T>(answer: &Answer<T>) -> &'static str {
    match (answer.settled, answer.replayed, answer.joined) {
        (true, ..) => " (settled after the deadline)",
        (_, true, _) => " (decided earlier, this is the first answer again)",
        (_, _, true) => " (together with another request of the same key)",
        _ => "",
    }
}

fn envelope<T: Serialize>(answer: &Answer<T>) -> Value {
    let mut value = json!({
        "outcome": answer.outcome.word().as_str(),
        "key": answer.key,
        "replayed": answer.replayed,
        "joined": answer.joined,
        "settled": answer.settled,
        "position": answer.position,
        "attempts": answer.attempts,
    });
    let (name, part) = match &answer.outcome {
        Outcome::Committed(body) => ("answer", json!(body)),
        Outcome::Refused(problem) => ("problem", json!(problem)),
        Outcome::Uncertain(uncertain) => {
            value["reason"] = json!(uncertain.reason);
            value["sent"] = json!(uncertain.sent);
            ("operation", json!(uncertain.operation))
        }
    };
    value[name] = part;
    value
}

/// A number with its thousands set apart, for people.
pub(crate) fn grouped(n: impl Display) -> String {
    let text = n.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (-999, "-999")] {
            assert_eq!(grouped(n), text);
        }
    }

    #[test]
    fn one_column() {
        let mut fields = Fields::default();
        fields.add("id", "alice").add("balance", 5).add_some("floor", None::<u8>);
        assert_eq!(fields.to_string(), "  id       alice\n  balance  5");
    }
}
