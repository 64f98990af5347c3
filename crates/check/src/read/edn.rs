//! As much of EDN as a key-value history is written in: a map of keywords to keywords, integers, texts and nil.

use super::jepsen::{Entry, Kind, kind_of};
use crate::history::{Action, Value};

/// `{:process 9, :type :invoke, :f :append, :key "0", :value "x 9 0 y"}`
pub(super) fn entry(line: &str) -> Result<Entry, String> {
    let fields = fields(line)?;
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| value).ok_or_else(|| format!("{name} is missing"))
    };
    let text = |name: &str| match field(name)? {
        Token::Text(text) => Ok(text.clone()),
        _ => Err(format!("{name} is a text")),
    };
    let Token::Word(kind) = field(":type")? else { return Err(":type is a keyword".to_owned()) };
    let Token::Word(function) = field(":f")? else { return Err(":f is a keyword".to_owned()) };
    let Token::Word(process) = field(":process")? else { return Err(":process is a number".to_owned()) };
    let kind = kind_of(kind)?;
    let action = match *function {
        _ if matches!(kind, Kind::Fail | Kind::Info) => None,
        ":get" => {
            let value = match field(":value")? {
                Token::Word("nil") => Value::Nothing,
                Token::Word(_) => return Err(":value is a text or nil".to_owned()),
                Token::Text(text) => Value::Text(text.clone()),
            };
            Some(Action::Read { key: Some(text(":key")?), value })
        }
        ":put" => Some(Action::Write { key: Some(text(":key")?), value: Value::Text(text(":value")?) }),
        ":append" => Some(Action::Append { key: text(":key")?, text: text(":value")? }),
        other => return Err(format!("unknown function {other}")),
    };
    Ok(Entry { process: (*process).to_owned(), kind, action })
}

enum Token<'a> {
    /// A keyword, a number, nil.
    Word(&'a str),
    Text(String),
}

fn fields(line: &str) -> Result<Vec<(&str, Token<'_>)>, String> {
    let mut rest = line.trim().strip_prefix('{').ok_or("a map begins with {")?;
    let mut fields = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() { Ok(fields) } else { Err("more behind the map".to_owned()) };
        }
        if rest.is_empty() {
            return Err("a map ends with }".to_owned());
        }
        let (name, after) = word(rest);
        if !name.starts_with(':') {
            return Err(format!("`{name}` is no keyword"));
        }
        let (value, after) = token(after.trim_start_matches([' ', ',']))?;
        fields.push((name, value));
        rest = after;
    }
}

fn token(text: &str) -> Result<(Token<'_>, &str), String> {
    let Some(inside) = text.strip_prefix('"') else {
        let (word, rest) = word(text);
        return if word.is_empty() { Err("a value is missing".to_owned()) } else { Ok((Token::Word(word), rest)) };
    };
    let mut out = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), &inside[at + 1..])),
            '\\' => out.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, c @ ('"' | '\\'))) => c,
                _ => return Err("an escape that is none of \\n \\t \\r \\\" \\\\".to_owned()),
            }),
            c => out.push(c),
        }
    }
    Err("a text ends with \"".to_owned())
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', ',', '}', '"']).unwrap_or(text.len()))
}
