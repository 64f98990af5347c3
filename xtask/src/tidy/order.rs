//! Hash tables may be asked in the machine, never walked.

use std::collections::BTreeSet;

use super::source::{Source, is_word, words};
use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "order",
    why: "law 1: the order in a hash table is not part of the state, so nothing may depend on it",
    check,
};

const WALKS: &[&str] = &[
    ".iter()",
    ".iter_mut()",
    ".into_iter()",
    ".keys()",
    ".into_keys()",
    ".values()",
    ".values_mut()",
    ".into_values()",
    ".drain()",
    ".retain(",
    ".extract_if(",
];

/// Clippy bans the methods by type; this also finds `for` loops, by the names that are declared as hash tables.
fn check(tree: &Tree) -> Vec<Finding> {
    let machine = tree.sources.iter().filter(|source| source.path.starts_with("crates/machine/src/"));
    let machine: Vec<_> = machine.collect();
    let fields: BTreeSet<&str> = machine.iter().flat_map(|source| tables(source, ':')).collect();
    let mut findings = Vec::new();
    for source in machine {
        let locals: BTreeSet<&str> = tables(source, '=').into_iter().collect();
        for (line, code) in source.lines() {
            let field = fields.iter().find(|table| walks(code, table, true));
            if let Some(table) = field.or_else(|| locals.iter().find(|table| walks(code, table, false))) {
                let what = format!("`{table}` is a hash table and is walked: keep the order beside it");
                findings.push(Finding::new(&source.path, line, what));
            }
        }
    }
    findings
}

/// The names declared as hash tables: fields (`name: HashMap`) or variables (`name = HashMap`).
fn tables(source: &Source, sign: char) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, code) in source.lines() {
        for at in ["HashMap", "HashSet", "HashTable"].iter().flat_map(|kind| words(code, kind)) {
            // Back over the path before the type, then over the sign, to the word before that.
            let before = code[..at].trim_end_matches(|c: char| is_word(c) || c == ':' || c == '&').trim_end();
            let type_path = &code[before.len()..at];
            let before = match sign {
                ':' if type_path.trim_start().starts_with(':') || before.ends_with(':') => before.trim_end_matches(':'),
                '=' => before.strip_suffix('=').unwrap_or(""),
                _ => "",
            };
            let name = before.trim_end().rsplit(|c: char| !is_word(c)).next().unwrap_or("");
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

/// Whether the table is walked in this line; one that is a field is known by the point before it.
fn walks(code: &str, table: &str, is_field: bool) -> bool {
    words(code, table).filter(|&at| code[..at].ends_with('.') == is_field).any(|at| {
        let before = &code[..at];
        let after = &code[at + table.len()..];
        let in_loop = before.contains("for ") && before.contains(" in ") && after.trim_start().starts_with('{');
        in_loop || WALKS.iter().any(|walk| after.starts_with(walk))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &[&str]) {
        let text = format!(
            "struct S {{\n    open: HashMap<u64, u64>,\n    list: Vec<u64>,\n}}\nfn f(s: &S) {{\n    {body}\n}}\n"
        );
        super::super::check(&RULE, &[("crates/machine/src/a.rs", &text)], expected);
    }

    #[test]
    fn walks_are_found() {
        let found = "crates/machine/src/a.rs:6: `open` is a hash table";
        check("for x in &s.open {}", &[found]);
        check("let n = s.open.values().sum();", &[found]);
        check("s.open.retain(|k, _| k > 1);", &[found]);
        let local = "fn f() {\n    let mut seen = hashbrown::HashSet::new();\n    for x in seen {}\n}\n";
        super::super::check(&RULE, &[("crates/machine/src/a.rs", local)], &["crates/machine/src/a.rs:3: `seen`"]);
    }

    #[test]
    fn questions_are_fine() {
        check("for x in &s.list {}", &[]);
        check("for x in s.list.iter() { s.open.get(x); }", &[]);
        check("for open in list { for x in open {} }", &[]);
    }
}
