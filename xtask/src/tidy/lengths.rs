//! How long files and functions may be.

use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule =
    Rule { name: "lengths", why: "what fits a screen can be seen whole; what does not is two things", check };

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// What may be longer: the file, the function (empty for the file itself), how long it may be, and why.
const LONGER: &[(&str, &str, usize, &str)] = &[];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        let path = &source.path;
        let lines = source.lines().count();
        let max = allowed(path, "").unwrap_or(FILE_LINES_MAX);
        if lines > max {
            findings.push(Finding::new(path, 0, format!("{lines} lines besides tests, {max} allowed: split it")));
        }
        for (name, range) in source.functions() {
            let lines = range.clone().count();
            let max = allowed(path, &name).unwrap_or(FUNCTION_LINES_MAX);
            if lines > max {
                let what = format!("`{name}` has {lines} lines, {max} allowed: split it");
                findings.push(Finding::new(path, *range.start(), what));
            }
        }
    }
    findings
}

fn allowed(path: &str, function: &str) -> Option<usize> {
    LONGER.iter().find(|(file, name, ..)| *file == path && *name == function).map(|(_, _, max, _)| *max)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    f();\n".repeat(lines - 2))
    }

    #[test]
    fn the_limit_is_exact() {
        check(&RULE, &[("a/src/b.rs", &function(70))], &[]);
        check(&RULE, &[("a/src/b.rs", &function(71))], &["a/src/b.rs:1: `long` has 71 lines"]);
        check(&RULE, &[("a/src/b.rs", &"//\n".repeat(600))], &[]);
        check(&RULE, &[("a/src/b.rs", &"//\n".repeat(601))], &["a/src/b.rs:0: 601 lines"]);
    }

    #[test]
    fn tests_do_not_count() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{}{}}}\n", function(200), "//\n".repeat(600));
        check(&RULE, &[("a/src/b.rs", &text)], &[]);
        check(&RULE, &[("a/tests/b.rs", &function(200))], &[]);
    }
}
