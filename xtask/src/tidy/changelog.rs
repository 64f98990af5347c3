//! The change log has a place for what is not released yet.

use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "changelog",
    why: "what a user notices is written down with the change, not before the release",
    check,
};

const PAGE: &str = "CHANGELOG.md";

fn check(tree: &Tree) -> Vec<Finding> {
    let text = tree.text(PAGE);
    let first = text.lines().find(|line| line.starts_with("## "));
    if first == Some("## Unreleased") {
        return Vec::new();
    }
    vec![Finding::new(PAGE, 0, "its first section must be `## Unreleased`")]
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn the_section_comes_first() {
        check(&RULE, &[(PAGE, "# Changes\n\n## Unreleased\n\n## 0.1.0\n")], &[]);
        check(&RULE, &[(PAGE, "# Changes\n\n## 0.1.0\n\n## Unreleased\n")], &["CHANGELOG.md:0: its first"]);
        check(&RULE, &[], &["CHANGELOG.md:0: its first"]);
    }
}
