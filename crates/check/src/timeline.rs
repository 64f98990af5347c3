//! A piece of a history as people read it: a lane for each client, time from left to right, and a list beneath.

use std::fmt::Write as _;

use crate::history::{Answer, History, Operation};

/// Lanes wider than this are left out: a terminal would break them.
const WIDTH_MAX: usize = 116;
/// What is written of an operation into its lane.
const LABEL_CHARS_MAX: usize = 28;
/// What is written of an operation into the list.
const LISTED_CHARS_MAX: usize = 300;
/// How many operations are listed.
const LISTED_MAX: usize = 40;

/// Draws some operations, given by their places in the history. Only the order of the instants is to scale.
///
/// ```text
///   a  |--write 1--|
///   b                |--read null--|
///
///   line 2  a  0..10   write 1
///   line 3  b  12..20  read null
/// ```
///
/// A lane that is open to the right is that of an operation of which nobody knows.
pub fn timeline(history: &History, operations: &[usize]) -> String {
    let mut shown: Vec<&Operation> = operations.iter().map(|at| &history.operations[*at]).collect();
    shown.sort_by_key(|operation| (operation.call, operation.line));
    let mut text = lanes(&shown).unwrap_or_default();
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&list(&shown));
    text
}

/// None if they are too wide.
fn lanes(operations: &[&Operation]) -> Option<String> {
    let labels: Vec<String> = operations.iter().map(|operation| cut(&operation.to_string(), LABEL_CHARS_MAX)).collect();
    let columns = columns(operations, &labels)?;
    let mut lanes: Vec<(&str, String)> = Vec::new();
    let name_width = operations.iter().map(|operation| operation.client.chars().count()).max().unwrap_or(0);
    for ((operation, label), (from, to)) in operations.iter().zip(&labels).zip(columns) {
        let is_open = operation.returned().is_none();
        // A client may have several operations under way: then it has several lanes.
        let free = lanes.iter_mut().find(|(client, lane)| *client == operation.client && lane.chars().count() < from);
        let lane = match free {
            Some((_, lane)) => lane,
            None => {
                lanes.push((&operation.client, String::new()));
                &mut lanes.last_mut().expect("it was pushed").1
            }
        };
        let gap = from - lane.chars().count();
        let inner = to - from - 1;
        let fill = inner.saturating_sub(label.chars().count());
        let (left, right) = ("-".repeat(fill / 2), "-".repeat(fill - fill / 2));
        let end = if is_open { " ..." } else { "|" };
        let _ = write!(lane, "{}|{left}{label}{right}{end}", " ".repeat(gap));
    }
    lanes.sort_by_key(|(client, _)| operations.iter().position(|operation| operation.client == *client));
    let mut text = String::new();
    for (client, lane) in lanes {
        // A name is as wide as it is, and a sort that keeps the order keeps a client's lanes together.
        let _ = writeln!(text, "  {client:name_width$}  {lane}");
    }
    Some(text)
}

/// Where each operation begins and ends, so that its label fits between. None if that is too wide.
fn columns(operations: &[&Operation], labels: &[String]) -> Option<Vec<(usize, usize)>> {
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        events.push((operation.call, false, at));
        events.extend(operation.returned().map(|returned| (returned, true, at)));
    }
    events.sort_unstable();
    let mut columns = vec![(0, 0); operations.len()];
    let mut column = 0;
    for (_, is_return, at) in events {
        column += 2;
        let needed = labels[at].chars().count() + 5;
        if is_return {
            column = column.max(columns[at].0 + needed);
            columns[at].1 = column;
        } else {
            columns[at] = (column, column + needed);
        }
    }
    let width = columns.iter().map(|(_, to)| *to).max().unwrap_or(0);
    (width <= WIDTH_MAX).then_some(columns)
}

fn list(operations: &[&Operation]) -> String {
    let rows: Vec<[String; 4]> = operations
        .iter()
        .take(LISTED_MAX)
        .map(|operation| {
            let until = match operation.answer {
                Answer::Committed { at } | Answer::Refused { at } => at.to_string(),
                Answer::NotDone | Answer::Uncertain => "?".to_owned(),
            };
            let what = cut(&operation.to_string(), LISTED_CHARS_MAX);
            [format!("line {}", operation.line), operation.client.clone(), format!("{}..{until}", operation.call), what]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [line, client, time, what] in &rows {
        let [of_line, of_client, of_time] = widths;
        let _ = writeln!(text, "  {line:of_line$}  {client:of_client$}  {time:of_time$}  {what}");
    }
    if operations.len() > LISTED_MAX {
        let _ = writeln!(text, "  and {} more", operations.len() - LISTED_MAX);
    }
    text
}

/// The beginning and the end: texts that grow differ at the end.
fn cut(text: &str, chars_max: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= chars_max {
        return text.to_owned();
    }
    let kept = chars_max - 3;
    let (head, tail) = (&chars[..kept - kept / 2], &chars[chars.len() - kept / 2..]);
    head.iter().chain(&['.'; 3]).chain(tail).collect()
}
