//! Nothing in the work tree tells on which machine it was made.

use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "traces",
    why: "a path or a host of one machine is wrong on every other, and nobody else's business",
    check,
};

/// Written in two parts each, so that this file is not found by itself.
const BANNED: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("fa", "rm-"),
    concat!("issues ", "show"),
    concat!("arti", "factory"),
    concat!("crates.io", ":443"),
    concat!("Co-", "authored-by"),
    concat!("Gener", "ated with"),
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.texts {
        for (at, line) in text.lines().enumerate() {
            if let Some(banned) = BANNED.iter().find(|banned| line.contains(**banned)) {
                findings.push(Finding::new(path, at + 1, format!("`{banned}` belongs to one machine")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn each_trace_is_found() {
        for banned in BANNED {
            let text = format!("fine\nnot {banned} fine\n");
            check(&RULE, &[("docs/a.md", &text)], &[&format!("docs/a.md:2: `{banned}`")]);
        }
        check(&RULE, &[("docs/a.md", "framework/ and ~/.cargo")], &[]);
    }
}
