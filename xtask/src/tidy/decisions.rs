//! Each decision has the same four parts and stands in the index.

use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "decisions",
    why: "a decision without what was measured, and what would change it, is an opinion",
    check,
};

const DIR: &str = "docs/adr/";
const INDEX: &str = "docs/adr/README.md";
const HEADINGS: [&str; 4] = ["## Context", "## Options measured", "## Choice", "## What would change our mind"];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.starts_with(DIR) && *path != INDEX) {
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != HEADINGS {
            let what = format!("its headings must be {}", HEADINGS.join(", ").replace("## ", ""));
            findings.push(Finding::new(path, 0, what));
        }
        if !tree.text(INDEX).contains(&format!("]({})", &path[DIR.len()..])) {
            findings.push(Finding::new(path, 0, format!("is not linked from {INDEX}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const PAGE: &str = "docs/adr/0001-a.md";

    #[test]
    fn parts_and_index_are_checked() {
        let whole = format!("# A\n\n{}\n", HEADINGS.join("\n\ntext\n\n"));
        let index = (INDEX, "- [A](0001-a.md)");
        check(&RULE, &[index, (PAGE, &whole)], &[]);
        check(&RULE, &[(PAGE, &whole)], &["docs/adr/0001-a.md:0: is not linked"]);
        for missing in HEADINGS {
            check(&RULE, &[index, (PAGE, &whole.replace(missing, ""))], &["docs/adr/0001-a.md:0: its headings"]);
        }
    }
}
