//! Logs in which an operation's call and its answer are lines of their own, joined by the process that both name. The line's
//! number is the time.

use std::io::BufRead;

use hashbrown::HashMap;

use super::{Lines, push};
use crate::error::HistoryError;
use crate::history::{Action, Answer, Operation, Value};

/// One line.
pub(super) struct Entry {
    pub(super) process: String,
    pub(super) kind: Kind,
    /// In an answer, with the value that was read.
    pub(super) action: Option<Action>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Invoke,
    Ok,
    Fail,
    Info,
}

/// The operations of a log, each line of which `parse` understands.
pub(super) fn read<R: BufRead>(
    lines: &mut Lines<R>,
    parse: impl Fn(&str) -> Result<Entry, String>,
) -> Result<Vec<Operation>, HistoryError> {
    let mut operations: Vec<Operation> = Vec::new();
    let mut open: HashMap<String, usize> = HashMap::new();
    while let Some((line, text)) = lines.next()? {
        let wrong = |what: String| HistoryError::malformed(line, what);
        let Entry { process, kind, action } = parse(text).map_err(wrong)?;
        if kind == Kind::Invoke {
            let action = action.ok_or_else(|| wrong("a call without what is asked".to_owned()))?;
            if open.insert(process.clone(), operations.len()).is_some() {
                return Err(wrong(format!("process {process} calls while its last call is open")));
            }
            let client = process;
            push(&mut operations, Operation { line, client, call: line, answer: Answer::Uncertain, action })?;
            continue;
        }
        let called = open.remove(&process).ok_or_else(|| wrong(format!("process {process} has no call open")))?;
        let operation = &mut operations[called];
        operation.answer = match (kind, &operation.action) {
            (Kind::Ok, _) => Answer::Committed { at: line },
            (Kind::Fail, Action::CompareAndSet { .. }) => Answer::Refused { at: line },
            (Kind::Fail, _) => Answer::NotDone,
            (Kind::Info | Kind::Invoke, _) => Answer::Uncertain,
        };
        match (kind, action) {
            (Kind::Ok, Some(answered)) => answer(operation, answered).map_err(wrong)?,
            (Kind::Ok, None) => return Err(wrong("an answer without its value".to_owned())),
            _ => {}
        }
    }
    Ok(operations)
}

/// The answer says the same as the call, but for the value of a read.
fn answer(operation: &mut Operation, answered: Action) -> Result<(), String> {
    match (&mut operation.action, answered) {
        (Action::Read { key, value }, Action::Read { key: of_answer, value: read }) if *key == of_answer => {
            *value = read;
            Ok(())
        }
        (called, answered) if *called == answered => Ok(()),
        (called, answered) => Err(format!("`{answered}` answers `{called}`")),
    }
}

/// `INFO  jepsen.util - 0 :invoke :cas [3 0]`, the last four with tabs between.
pub(super) fn etcd(line: &str) -> Result<Entry, String> {
    let (_, rest) = line.split_once(" - ").ok_or("not a line of a log: no ` - `")?;
    let fields: Vec<&str> = rest.split('\t').collect();
    let [process, kind, function, value] = fields[..] else {
        return Err(format!("{} fields between tabs, 4 expected", fields.len()));
    };
    let kind = kind_of(kind)?;
    let action = match function {
        _ if matches!(kind, Kind::Fail | Kind::Info) => None,
        ":read" => Some(Action::Read { key: None, value: number(value)? }),
        ":write" => Some(Action::Write { key: None, value: number(value)? }),
        ":cas" => {
            let pair = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
            let (from, to) = pair.and_then(|pair| pair.split_once(' ')).ok_or("a cas has [from to]")?;
            Some(Action::CompareAndSet { key: None, from: number(from)?, to: number(to)? })
        }
        other => return Err(format!("unknown function {other}")),
    };
    Ok(Entry { process: process.to_owned(), kind, action })
}

pub(super) fn kind_of(word: &str) -> Result<Kind, String> {
    match word {
        ":invoke" => Ok(Kind::Invoke),
        ":ok" => Ok(Kind::Ok),
        ":fail" => Ok(Kind::Fail),
        ":info" => Ok(Kind::Info),
        other => Err(format!("{other} is none of :invoke, :ok, :fail, :info")),
    }
}

fn number(text: &str) -> Result<Value, String> {
    match text {
        "nil" => Ok(Value::Nothing),
        text => text.parse().map(Value::Number).map_err(|_| format!("`{text}` is no integer")),
    }
}

#[cfg(test)]
mod tests {
    use crate::read::{Format, read};

    #[track_caller]
    fn check(format: Format, text: &str, expected: &[&str]) {
        let shown = match read(text.as_bytes(), format, None) {
            Ok(history) => history
                .operations()
                .iter()
                .map(|operation| {
                    let returned = operation.returned().map_or("-".to_owned(), |at| at.to_string());
                    format!("{} {}..{returned} {operation}", operation.client, operation.call)
                })
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn etcd() {
        let line = |rest: &str| format!("INFO  jepsen.util - {rest}\n").replace(' ', "\u{1}").replace('|', "\t");
        let log = |lines: &[&str]| lines.iter().map(|rest| line(rest)).collect::<String>().replace('\u{1}', " ");
        let all = log(&[
            "0|:invoke|:read|nil",
            "1|:invoke|:cas|[3 0]",
            "2|:invoke|:write|4",
            "1|:fail|:cas|[3 0]",
            "0|:ok|:read|4",
            "2|:info|:write|:timed-out",
            "0|:invoke|:cas|[4 1]",
        ]);
        check(
            Format::Etcd,
            &all,
            &["0 1..5 read 4", "1 2..4 cas 3 to 0: refused", "2 3..- write 4?", "0 7..- cas 4 to 1?"],
        );
        check(Format::Etcd, &log(&["0|:ok|:read|4"]), &["line 1: process 0 has no call open"]);
        check(Format::Etcd, &log(&["0|:invoke|:write|x"]), &["line 1: `x` is no integer"]);
        check(Format::Etcd, &log(&["0|:invoke|:write|1", "0|:ok|:write|2"]), &["line 2: `write 2` answers `write 1`"]);
        check(Format::Etcd, "hello", &["line 1: not a line of a log: no ` - `"]);
        let twice = log(&["0|:invoke|:write|1", "0|:invoke|:write|1"]);
        check(Format::Etcd, &twice, &["line 2: process 0 calls while its last call is open"]);
    }

    #[test]
    fn key_value() {
        let all = r#"{:process 9, :type :invoke, :f :append, :key "0", :value "x \"9\" y"}
{:process 1, :type :invoke, :f :get, :key "0", :value nil}
{:process 1, :type :ok, :f :get, :key "0", :value ""}
{:process 9, :type :ok, :f :append, :key "0", :value "x \"9\" y"}
{:process 2, :type :invoke, :f :put, :key "a", :value "b"}
"#;
        let expected = [r#"9 1..4 append "0" "x \"9\" y""#, r#"1 2..3 read "0" """#, r#"2 5..- write "a" "b"?"#];
        check(Format::KeyValue, all, &expected);
        check(Format::KeyValue, "{:process 9", &["line 1: a map ends with }"]);
        check(Format::KeyValue, "{:process 9}", &["line 1: :type is missing"]);
        let unknown = "{:process 9, :type :invoke, :f :drop, :key \"0\", :value nil}";
        check(Format::KeyValue, unknown, &["line 1: unknown function :drop"]);
    }
}
