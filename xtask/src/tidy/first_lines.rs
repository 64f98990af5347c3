//! Each member says in its first line why it exists.

use super::tree::{Member, Tree};
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "first-lines",
    why: "a crate's first line is its line in the map; a module begins with why it exists",
    check,
};

const LINE_MAX: usize = 140;

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in tree.members() {
        let (file, line) = first_line(tree, &member);
        if line.is_empty() || line == "TBD" {
            findings.push(Finding::new(&file, 1, "must begin with `//!` and one sentence that says why it exists"));
        } else if line.len() > LINE_MAX {
            findings.push(Finding::new(
                &file,
                1,
                format!("the first line is its line in the map: {LINE_MAX} bytes at most"),
            ));
        }
    }
    for source in &tree.sources {
        let is_root = source.path.ends_with("/lib.rs") || source.path.ends_with("/main.rs");
        let only_for_tests = source.lines().next().is_none();
        if !is_root && !only_for_tests && !source.text.starts_with("//!") {
            findings.push(Finding::new(&source.path, 1, "must begin with `//!` and why it exists"));
        }
    }
    findings
}

/// The file that a member begins with, and its first sentence's line.
pub(super) fn first_line<'a>(tree: &'a Tree, member: &Member) -> (String, &'a str) {
    let roots = ["lib", "main"].map(|root| format!("{}/src/{root}.rs", member.dir));
    let [lib, main] = roots;
    let file = if tree.texts.contains_key(&lib) { lib } else { main };
    let line = tree.text(&file).lines().next().unwrap_or("");
    (file, line.strip_prefix("//!").unwrap_or("").trim())
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const ROOT: (&str, &str) = ("Cargo.toml", "[workspace]\nmembers = [\"a\"]");

    #[test]
    fn a_member_without_a_reason_is_found() {
        check(&RULE, &[ROOT, ("a/src/lib.rs", "use b;")], &["a/src/lib.rs:1: must begin"]);
        check(&RULE, &[ROOT, ("a/src/main.rs", "//! TBD")], &["a/src/main.rs:1: must begin"]);
        check(&RULE, &[ROOT, ("a/src/lib.rs", "//! Why."), ("a/src/b.rs", "fn f() {}")], &["a/src/b.rs:1: must begin"]);
        check(
            &RULE,
            &[ROOT, ("a/src/lib.rs", &format!("//! {}", "a".repeat(141)))],
            &["a/src/lib.rs:1: the first line"],
        );
    }

    #[test]
    fn one_sentence_is_enough() {
        check(&RULE, &[ROOT, ("a/src/lib.rs", "//! Why."), ("a/src/b.rs", "//! Why.")], &[]);
    }
}
