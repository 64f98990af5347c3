//! The files of the work tree as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use super::source::Source;

/// Texts by path, relative to the root and with `/`.
pub(super) struct Tree {
    /// Every file, texts or not.
    pub(super) paths: BTreeSet<String>,
    /// The files that are UTF-8.
    pub(super) texts: BTreeMap<String, String>,
    /// The Rust files that people wrote.
    pub(super) sources: Vec<Source>,
}

/// A member of the workspace.
#[derive(Debug)]
pub(super) struct Member {
    /// Its directory.
    pub(super) dir: String,
    /// Its Cargo.toml.
    pub(super) manifest: toml::Table,
}

impl Tree {
    /// What git tracks there, and what it would if one said `git add`.
    pub(super) fn of_work_tree(root: &Path) -> Result<Self, String> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("git tells which files count, and cannot be started: {error}"))?;
        if !output.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let mut paths = BTreeSet::new();
        let mut texts = BTreeMap::new();
        for path in String::from_utf8_lossy(&output.stdout).split_terminator('\0') {
            // A file that was removed, but is still in the index, is not there any more.
            let Ok(bytes) = fs::read(root.join(path)) else { continue };
            paths.insert(path.to_owned());
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(path.to_owned(), text);
            }
        }
        Ok(Self::new(paths, texts))
    }

    #[cfg(test)]
    pub(super) fn of_files(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> = files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        Self::new(texts.keys().cloned().collect(), texts)
    }

    fn new(paths: BTreeSet<String>, texts: BTreeMap<String, String>) -> Self {
        // What a generator wrote is nobody's style.
        let is_ours =
            |text: &str| !text.lines().take(3).any(|line| line.starts_with("//") && line.contains("@generated"));
        let rust = texts.iter().filter(|(path, text)| path.ends_with(".rs") && is_ours(text));
        let mut sources: Vec<_> = rust.map(|(path, text)| Source::new(path, text)).collect();
        let of_tests: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            if of_tests.contains(&source.path) {
                source.mark_as_test();
            }
        }
        Self { paths, texts, sources }
    }

    /// A text, empty where there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// The root's Cargo.toml.
    pub(super) fn root_manifest(&self) -> toml::Table {
        // Cargo has read it before this program could run.
        self.text("Cargo.toml").parse().unwrap_or_default()
    }

    /// The workspace's members in its order.
    pub(super) fn members(&self) -> Vec<Member> {
        let root = self.root_manifest();
        let members = root.get("workspace").and_then(|w| w.get("members")).and_then(toml::Value::as_array);
        let dirs = members.into_iter().flatten().filter_map(toml::Value::as_str);
        dirs.map(|dir| Member {
            dir: dir.to_owned(),
            manifest: self.text(&format!("{dir}/Cargo.toml")).parse().unwrap_or_default(),
        })
        .collect()
    }
}
