//! Names that have no place in the machine and in the words it speaks.

use super::source::{Source, is_word, words};
use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "pure",
    why: "law 1: the machine reads no clock, draws no randomness, uses no floats and does no I/O",
    check,
};

const PURE: &[&str] = &["crates/machine/src/", "crates/words/src/"];

/// A name and what to use instead.
const BANNED: &[(&str, &str)] = &[
    ("SystemTime", "time comes as stamps"),
    ("Instant", "time comes as stamps"),
    ("f32", "floats round differently; count in the smallest unit"),
    ("f64", "floats round differently; count in the smallest unit"),
    ("rand", "randomness has no place in what is replayed"),
    ("fastrand", "randomness has no place in what is replayed"),
    ("getrandom", "randomness has no place in what is replayed"),
    ("RandomState", "its seed is random; give the hasher a fixed one"),
    ("std::thread", "apply is one sequence of steps"),
    ("thread_local", "state is what apply is handed"),
    ("static mut", "state is what apply is handed"),
    ("std::fs", "no I/O here"),
    ("std::net", "no I/O here"),
    ("std::env", "what decides outcomes comes as entries"),
    ("std::process", "no I/O here"),
    ("println", "no I/O here"),
    ("eprintln", "no I/O here"),
    ("print", "no I/O here"),
    ("async", "the machine never awaits"),
    ("await", "the machine never awaits"),
];

fn check(tree: &Tree) -> Vec<Finding> {
    let pure = tree.sources.iter().filter(|source| PURE.iter().any(|dir| source.path.starts_with(dir)));
    pure.flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in source.lines() {
        for (name, instead) in BANNED {
            if words(code, name).next().is_some() {
                findings.push(Finding::new(&source.path, line, format!("`{name}`: {instead}")));
            }
        }
        if code.contains("std::collections::") && ["HashMap", "HashSet"].iter().any(|name| code.contains(name)) {
            findings.push(Finding::new(&source.path, line, "a std hash table: its seed is random; use hashbrown"));
        }
        if has_float(code) {
            findings.push(Finding::new(&source.path, line, "a float: count in the smallest unit"));
        }
    }
    findings
}

/// Digits, a point and digits, where that is not a field of a tuple.
fn has_float(code: &str) -> bool {
    code.match_indices('.').any(|(at, _)| {
        let digits = code[..at].bytes().rev().take_while(u8::is_ascii_digit).count();
        let before = code[..at - digits].chars().next_back();
        let after = code[at + 1..].chars().next();
        digits > 0 && after.is_some_and(|c| c.is_ascii_digit()) && !before.is_some_and(|c| is_word(c) || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn each_banned_name_is_found() {
        for (name, _) in BANNED {
            let text = format!("fn f() {{\n    {name}\n}}\n");
            let found = super::super::found(&RULE, &[("crates/machine/src/a.rs", &text)]);
            assert!(
                found.iter().any(|f| f.starts_with(&format!("crates/machine/src/a.rs:2: `{name}`"))),
                "{name}: {found:?}"
            );
        }
        check(
            &RULE,
            &[("crates/words/src/a.rs", "use std::collections::HashMap;")],
            &["crates/words/src/a.rs:1: a std hash"],
        );
        check(&RULE, &[("crates/words/src/a.rs", "const A: X = g(1.5);")], &["crates/words/src/a.rs:1: a float"]);
    }

    #[test]
    fn words_that_only_look_alike_are_fine() {
        let fine = "// f64 and Instant\nlet operand = x.0.1 + \"println\".len() + Instantly;\nuse std::collections::BTreeMap;\n";
        check(&RULE, &[("crates/machine/src/a.rs", fine)], &[]);
        check(
            &RULE,
            &[("crates/machine/src/a.rs", "#[cfg(test)]\nmod tests {\n    use std::time::Instant;\n}\n")],
            &[],
        );
        check(&RULE, &[("crates/cell/src/a.rs", "use std::time::Instant;")], &[]);
    }
}
