//! `cargo xtask tidy`: the house rules that neither rustc nor clippy knows, each in its own file.
//!
//! A rule sees the files of the work tree as texts, so that its tests can show it a tree in which it must find something.

mod banned;
mod changelog;
mod decisions;
mod edges;
mod first_lines;
mod lengths;
mod links;
mod map;
mod order;
mod pure;
mod source;
mod traces;
mod tree;

use std::fs;

use crate::house::House;
use crate::steps::Outcome;
use tree::Tree;

/// One place where a rule is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    file: String,
    /// From 1; 0 where it is about the whole file.
    line: usize,
    /// What is wrong, and what would be right.
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

/// A habit with a tool behind it.
struct Rule {
    name: &'static str,
    why: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    edges::RULE,
    pure::RULE,
    order::RULE,
    banned::RULE,
    lengths::RULE,
    first_lines::RULE,
    map::RULE,
    changelog::RULE,
    decisions::RULE,
    links::RULE,
    traces::RULE,
];

/// `cargo xtask tidy`
pub(crate) fn run(house: &House, arguments: &[String]) -> Result<bool, String> {
    if arguments.iter().any(|argument| argument == "--rules") {
        RULES.iter().for_each(|rule| println!("{:12} {}", rule.name, rule.why));
        return Ok(true);
    }
    let outcome = step(house);
    println!("tidy: {outcome}");
    Ok(outcome == Outcome::passed())
}

/// All rules over the work tree.
pub(crate) fn step(house: &House) -> Outcome {
    let tree = match Tree::of_work_tree(&house.root) {
        Ok(tree) => tree,
        Err(why) => return Outcome::NotRun(why),
    };
    let mut findings = 0;
    for rule in RULES {
        for Finding { file, line, what } in (rule.check)(&tree) {
            println!("{file}:{line}: {}: {what}", rule.name);
            findings += 1;
        }
    }
    if findings == 0 { Outcome::passed() } else { Outcome::failed(format!("{findings} findings")) }
}

/// `cargo xtask map`
pub(crate) fn write_map(house: &House, _arguments: &[String]) -> Result<bool, String> {
    let tree = Tree::of_work_tree(&house.root)?;
    let page = map::rewritten(&tree)?;
    fs::write(house.root.join(map::PAGE), page).map_err(|error| format!("{}: {error}", map::PAGE))?;
    Ok(true)
}

/// For the rules' tests: what a rule finds in a tree of these files, one `file:line: what` each.
#[cfg(test)]
fn found(rule: &Rule, files: &[(&str, &str)]) -> Vec<String> {
    let findings = (rule.check)(&Tree::of_files(files));
    findings.into_iter().map(|Finding { file, line, what }| format!("{file}:{line}: {what}")).collect()
}

/// For the rules' tests: the rule finds exactly these, each given by how it begins.
#[cfg(test)]
#[track_caller]
fn check(rule: &Rule, files: &[(&str, &str)], expected: &[&str]) {
    let found = found(rule, files);
    let as_expected = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(as_expected, "found {found:#?}, expected {expected:#?}");
}
