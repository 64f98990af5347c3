//! `tertium errors`: the remedy pages, in the terminal and without a server.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use crate::exit::{Ended, Exit, Failure};
use crate::output::{Format, print, print_json};

/// Say what a code means and what to do about it
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tertium errors
  tertium errors insufficient-funds")]
pub(crate) struct ErrorsArgs {
    /// The code; all of them if left out
    code: Option<String>,
}

impl ErrorsArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        let rows = match &self.code {
            None => wire::codes::TABLE.iter().collect(),
            Some(text) => vec![wire::Code::parse(text).ok_or_else(|| unknown(text))?.row()],
        };
        for row in &rows {
            match format {
                Format::Json => print_json(&as_json(row))?,
                Format::Human if self.code.is_none() => {
                    print(format_args!("{:<24} {}  {}", row.text, row.status, row.title))?;
                }
                Format::Human => print(page(row))?,
            }
        }
        Ok(Exit::Done)
    }
}

fn unknown(text: &str) -> Failure {
    let near = wire::codes::TABLE.iter().map(|row| row.text).filter(|code| code.contains(text)).collect::<Vec<_>>();
    let hint = match near.as_slice() {
        [] => "`tertium errors` lists all".to_owned(),
        near => format!("did you mean {}?", near.join(", ")),
    };
    Failure::usage(format!("there is no code `{text}`: {hint}"))
}

fn as_json(row: &wire::codes::Row) -> serde_json::Value {
    json!({
        "code": row.text,
        "status": row.status,
        "outcome": row.outcome.as_str(),
        "exit": row.exit,
        "title": row.title,
        "meaning": row.meaning,
        "remedy": row.remedy,
        "retry": row.retry.sentence(),
    })
}

fn page(row: &wire::codes::Row) -> String {
    let mut text = format!("{}\n\n", row.title);
    let facts = [
        ("code", row.text.to_owned()),
        ("HTTP", row.status.to_string()),
        ("outcome", row.outcome.to_string()),
        ("exit", row.exit.to_string()),
    ];
    for (name, value) in facts {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<8} {value}");
    }
    for paragraph in [row.meaning, row.remedy, row.retry.sentence()] {
        text.push('\n');
        text.push_str(&wrapped(paragraph, 80));
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// Lines of at most so many characters, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
