//! Reading histories: line by line, each line and their number bounded, what is wrong told with its line.

mod edn;
mod jepsen;
mod json_lines;

use std::io::{BufRead, Read};

use crate::error::HistoryError;
use crate::history::{History, Model, ModelKind, Operation, Value};

/// How a history is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The project's own: a line of JSON for each operation, as the project's documentation has it.
    JsonLines,
    /// Jepsen's log of a register, as in the tests of etcd: process, `:invoke` or what came of it, function and value,
    /// parted by tabs. `:info` is uncertain; a `:cas` that failed saw another value.
    Etcd,
    /// Jepsen's history of texts under keys: a map in EDN on each line. What was not written yet reads as the empty text.
    KeyValue,
}

/// The longest line: 1 MiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The most operations: a million.
pub const OPERATIONS_MAX: usize = 1_000_000;

/// Reads a history. `model` is needed where the history does not name its own.
///
/// # Errors
///
/// What cannot be read, with its line; [`HistoryError::Model`] where the model is missing or not that of the history.
pub fn read(input: impl BufRead, format: Format, model: Option<ModelKind>) -> Result<History, HistoryError> {
    let mut lines = Lines { input, bytes: Vec::new(), number: 0 };
    let (found, operations) = match format {
        Format::JsonLines => json_lines::read(&mut lines, model)?,
        Format::Etcd => (Model::Register { initial: Value::Nothing }, jepsen::read(&mut lines, jepsen::etcd)?),
        Format::KeyValue => (Model::Map { initial: Value::Text(String::new()) }, jepsen::read(&mut lines, edn::entry)?),
    };
    if let Some(model) = model.filter(|model| *model != found.kind()) {
        let what = format!("the history is of a {}, not of a {}", found.kind().as_str(), model.as_str());
        return Err(HistoryError::Model(what));
    }
    History::new(found, operations)
}

/// The lines of an input, none longer than is allowed.
struct Lines<R> {
    input: R,
    bytes: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line that is not empty, and its number from 1.
    fn next(&mut self) -> Result<Option<(u64, &str)>, HistoryError> {
        loop {
            self.bytes.clear();
            let limit = LINE_BYTES_MAX as u64 + 2;
            let read = (&mut self.input).take(limit).read_until(b'\n', &mut self.bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let is_whole = self.bytes.ends_with(b"\n");
            if self.bytes.len() - usize::from(is_whole) > LINE_BYTES_MAX {
                return Err(HistoryError::LineTooLong { line: self.number });
            }
            if !self.bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let line = str::from_utf8(&self.bytes).map_err(|_| HistoryError::malformed(self.number, "not UTF-8"))?;
        Ok(Some((self.number, line.trim_end_matches(['\r', '\n']))))
    }
}

/// One more operation, if there may be one more.
fn push(operations: &mut Vec<Operation>, operation: Operation) -> Result<(), HistoryError> {
    if operations.len() == OPERATIONS_MAX {
        return Err(HistoryError::TooMany { line: operation.line });
    }
    operations.push(operation);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        for (text, fits) in [
            (longest.clone(), true),
            (format!("{longest}\n"), true),
            (format!("{longest}x"), false),
            (format!("{longest}x\n"), false),
        ] {
            let mut lines = Lines { input: text.as_bytes(), bytes: Vec::new(), number: 0 };
            assert_eq!(matches!(lines.next(), Ok(Some((1, line))) if line == longest), fits);
        }
    }

    #[test]
    fn empty_lines_count_and_say_nothing() {
        let mut lines = Lines { input: &b"\n \r\na\r\n\nb"[..], bytes: Vec::new(), number: 0 };
        assert_eq!(lines.next().unwrap(), Some((3, "a")));
        assert_eq!(lines.next().unwrap(), Some((5, "b")));
        assert_eq!(lines.next().unwrap(), None);
        let mut lines = Lines { input: &b"\xff"[..], bytes: Vec::new(), number: 0 };
        assert_eq!(lines.next().unwrap_err().to_string(), "line 1: not UTF-8");
    }
}
