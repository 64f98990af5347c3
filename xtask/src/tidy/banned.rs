//! Names that are banned everywhere.

use super::source::{Source, words};
use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "banned",
    why: "a name that says nothing, a thing left undone, a check switched off: each is fine today and costs later",
    check,
};

const MODULES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Files that may say `unsafe`, each with its reason.
const UNSAFE: &[(&str, &str)] =
    &[("xtask/purity/src/lib.rs", "exports for WebAssembly need #[unsafe(no_mangle)]; there is no unsafe block")];

fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, what: String| findings.push(Finding::new(&source.path, line, what));
    let stem = source.path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap_or("");
    if MODULES.contains(&stem) {
        find(0, format!("a module called `{stem}` attracts what has no place: name what it knows"));
    }
    for (line, code) in source.all_lines() {
        for macro_name in ["todo!", "unimplemented!", "dbg!"] {
            if code.contains(macro_name) {
                find(line, format!("`{macro_name}` is for the desk, not for the shelf"));
            }
        }
        if code.contains("#[ignore") {
            find(line, "an ignored test: make it pass, or delete it".into());
        }
        if words(code, "unsafe").next().is_some() && !UNSAFE.iter().any(|(path, _)| *path == source.path) {
            find(line, "`unsafe` outside the list in xtask/src/tidy/banned.rs".into());
        }
        if ["#[allow(", "#![allow(", "#[expect(", "#![expect("].iter().any(|open| code.contains(open))
            && !has_reason(&source.text, line)
        {
            find(line, "a lint switched off without `reason = ...` or a comment beside it".into());
        }
    }
    for (line, code) in source.lines() {
        if code.contains(".unwrap()") {
            find(line, "`.unwrap()` outside tests: return the error, or say in `expect` why it cannot be".into());
        }
    }
    findings
}

/// In the attribute, which may take a few lines, or as a comment on its line or the one before.
fn has_reason(text: &str, line: usize) -> bool {
    let mut around = text.lines().skip(line.saturating_sub(2)).take(5);
    let before = around.next().unwrap_or("");
    let attribute = around.next().unwrap_or("");
    let ends_here = attribute.contains(")]");
    let reason = |text: &str| text.contains("reason =") || text.contains("//");
    // On line 1 there is no line before: both looks fall on the first two lines then, which does no harm.
    before.trim_start().starts_with("// ") || reason(attribute) || (!ends_here && around.any(reason))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const FILE: &str = "crates/a/src/b.rs";

    #[test]
    fn each_is_found() {
        for text in [
            "fn f() { todo!() }",
            "fn f() { unimplemented!() }",
            "fn f() { dbg!(1); }",
            "fn f() { unsafe { g() } }",
            "#[ignore]\nfn f() {}",
            "fn f() { g().unwrap(); }",
            "\n#[allow(dead_code)]\nfn f() {}",
        ] {
            assert_eq!(super::super::found(&RULE, &[(FILE, text)]).len(), 1, "{text}");
        }
        for file in ["crates/a/src/util.rs", "crates/a/src/common/mod.rs"] {
            check(&RULE, &[(file, "")], &[&format!("{file}:0: a module called")]);
        }
    }

    #[test]
    fn what_is_explained_or_only_named_is_fine() {
        for text in [
            "// todo!() and unsafe\nfn f() { g(\"dbg!\") }",
            "#![forbid(unsafe_code)]",
            "#[cfg(test)]\nmod tests {\n fn f() { g().unwrap(); }\n}",
            "\n#[allow(dead_code, reason = \"read by eyes\")]\nfn f() {}",
            "\n#[expect(\n    dead_code,\n    reason = \"read by eyes\"\n)]\nfn f() {}",
            "fn f() {}\n// Read by eyes.\n#[allow(dead_code)]\nfn g() {}",
        ] {
            check(&RULE, &[(FILE, text)], &[]);
        }
    }
}
