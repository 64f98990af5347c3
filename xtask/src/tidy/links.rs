//! Links in Markdown lead to files that are there.

use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule { name: "links", why: "a dead link is a promise nobody keeps", check };

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        let mut fenced = false;
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            for target in if fenced { Vec::new() } else { targets(line) } {
                if !leads_somewhere(tree, path, target) {
                    findings.push(Finding::new(path, at + 1, format!("`{target}` leads nowhere")));
                }
            }
        }
    }
    findings
}

/// What stands in round brackets directly behind square ones, or behind `[name]: `.
fn targets(line: &str) -> Vec<&str> {
    let outside_code = line.split('`').step_by(2);
    let mut targets: Vec<&str> = outside_code
        .flat_map(|part| part.match_indices("](").filter_map(|(at, _)| part[at + 2..].split(')').next()))
        .collect();
    if line.starts_with('[') {
        targets.extend(line.split_once("]: ").map(|(_, target)| target.trim()));
    }
    targets
}

fn leads_somewhere(tree: &Tree, from: &str, target: &str) -> bool {
    let is_elsewhere = ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme));
    let file = target.split('#').next().unwrap_or("");
    if is_elsewhere || file.is_empty() {
        return true;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let below = format!("{path}/");
    path.is_empty() || tree.paths.contains(&path) || tree.paths.iter().any(|other| other.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, expected: &[&str]) {
        super::super::check(&RULE, &[("docs/a.md", page), ("docs/b/c.md", ""), ("LICENSE", "")], expected);
    }

    #[test]
    fn dead_links_are_found() {
        check("see [b](c.md)", &["docs/a.md:1: `c.md` leads nowhere"]);
        check("\n[`b`](b/c.md) and [d](../d#e)", &["docs/a.md:2: `../d#e` leads nowhere"]);
        check("[b]: x.md", &["docs/a.md:1: `x.md` leads nowhere"]);
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        check("[a](b/c.md#top) [b](b) [c](../LICENSE) [d](#here) [e](https://example.org/x)", &[]);
        check("`[a](nowhere)`\n```\n[a](nowhere)\n```\n", &[]);
    }
}
