//! Who may depend on whom.

use super::tree::{Member, Tree};
use super::{Finding, Rule};

pub(super) const RULE: Rule = Rule {
    name: "edges",
    why: "laws 9 and 10 are absences, and an absence holds only while somebody counts the edges",
    check,
};

/// Each member and the members it may depend on. What is not here must not be; a new edge is a decision, made here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("crates/words", &[]),
    ("crates/suspicion", &[]),
    ("crates/wire", &["crates/words", "crates/machine"]),
    ("crates/edge", &["crates/words", "crates/wire"]),
    ("crates/call", &["crates/words", "crates/suspicion"]),
    ("crates/saga", &["crates/words", "crates/machine"]),
    (
        "crates/cell",
        &["crates/words", "crates/suspicion", "crates/machine", "crates/log", "crates/archive", "crates/disk"],
    ),
    ("crates/log", &["crates/words"]),
    ("crates/disk", &[]),
    ("crates/log-file", &["crates/words", "crates/log", "crates/disk"]),
    ("crates/log-postgres", &["crates/words", "crates/log"]),
    ("crates/archive", &["crates/words", "crates/machine", "crates/disk"]),
    ("crates/machine", &["crates/words"]),
    ("crates/outbox", &["crates/words", "crates/wire", "crates/machine", "crates/cell", "crates/call", "crates/saga"]),
    ("crates/client", &["crates/words"]),
    ("crates/inbox-sql", &["crates/words"]),
    // It judges the system by what clients see: it knows nothing of what they talk to, not even the words.
    ("crates/check", &[]),
    (
        "crates/server",
        &[
            "crates/words",
            "crates/wire",
            "crates/edge",
            "crates/call",
            "crates/outbox",
            // A definition is refused where it comes in.
            "crates/saga",
            "crates/cell",
            "crates/log",
            "crates/disk",
            "crates/log-file",
            "crates/log-postgres",
            "crates/archive",
            "crates/machine",
        ],
    ),
    (
        "crates/cli",
        &[
            "crates/words",
            "crates/wire",
            "crates/client",
            "crates/server",
            // The keys of a server that is not running are made and revoked in its file.
            "crates/edge",
            // So are its log and its backups read.
            "crates/log",
            "crates/log-file",
            "crates/disk",
            "crates/machine",
            "crates/check",
        ],
    ),
    (
        "sim",
        &[
            "crates/words",
            "crates/machine",
            "crates/log",
            "crates/log-file",
            "crates/archive",
            "crates/disk",
            "crates/cell",
            // The retry budget, which is pure.
            "crates/call",
            // So is the evaluation of what steps ask for.
            "crates/saga",
        ],
    ),
    ("own-postgres", &[]),
    (
        "bench",
        // The inbox is of the services that it has called: they are strangers' services, and so is what they are made of.
        &["crates/words", "crates/machine", "crates/wire", "crates/client", "crates/inbox-sql", "own-postgres"],
    ),
    // It has the server as a program, as whoever runs it has.
    ("lab", &["own-postgres"]),
    ("fuzz/replay", &["crates/words", "crates/machine", "crates/wire", "crates/log", "crates/log-file", "crates/disk"]),
    ("xtask", &[]),
];

/// Edges that only a member's tests may have.
const IN_TESTS: &[(&str, &str)] = &[
    ("crates/cell", "crates/log-file"),
    ("crates/outbox", "crates/log-file"),
    ("crates/inbox-sql", "own-postgres"),
    ("crates/log-postgres", "own-postgres"),
    ("crates/server", "own-postgres"),
    // Where the server is that everything tests.
    ("lab", "bench"),
    // Both chain the same digests.
    ("crates/log-postgres", "crates/log-file"),
    ("crates/log-postgres", "crates/disk"),
    // Itself, so that its tests have all its features.
    ("crates/inbox-sql", "crates/inbox-sql"),
];

/// Members that may link only these crates of others: their purity rests on it.
const OUTSIDE: &[(&str, &[&str])] =
    &[("crates/words", &["xxhash-rust"]), ("crates/machine", &["xxhash-rust", "hashbrown"]), ("crates/log", &[])];

fn check(tree: &Tree) -> Vec<Finding> {
    let members = tree.members();
    let root = tree.root_manifest();
    let shared = root.get("workspace").and_then(|w| w.get("dependencies")).and_then(toml::Value::as_table);
    let mut findings = Vec::new();
    for member in &members {
        let manifest = format!("{}/Cargo.toml", member.dir);
        let Some((_, allowed)) = ALLOWED.iter().find(|(dir, _)| *dir == member.dir) else {
            findings.push(Finding::new(&manifest, 0, "a member that the table of edges in xtask does not know"));
            continue;
        };
        for dependency in dependencies(member) {
            let target = shared.and_then(|shared| directory(dependency.value, "", shared.get(dependency.name)));
            let own = directory(dependency.value, &member.dir, None);
            match own.or(target) {
                Some(dir) if allowed.contains(&dir.as_str()) => {}
                Some(dir) if dependency.for_tests && IN_TESTS.contains(&(&member.dir, &dir)) => {}
                Some(dir) => findings.push(Finding::new(&manifest, 0, format!("must not depend on {dir}"))),
                None if dependency.for_tests || may_link(&member.dir, dependency.name) => {}
                None => findings.push(Finding::new(&manifest, 0, format!("must not link {}", dependency.name))),
            }
        }
    }
    findings
}

fn may_link(dir: &str, name: &str) -> bool {
    OUTSIDE.iter().find(|(member, _)| *member == dir).is_none_or(|(_, allowed)| allowed.contains(&name))
}

struct Dependency<'a> {
    name: &'a str,
    value: &'a toml::Value,
    for_tests: bool,
}

/// All sections that name dependencies, those of single platforms too.
fn dependencies(member: &Member) -> Vec<Dependency<'_>> {
    let platforms = member.manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = platforms.filter_map(|(_, platform)| platform.as_table()).chain([&member.manifest]);
    let sections = tables.flat_map(|table| {
        ["dependencies", "dev-dependencies", "build-dependencies"].map(|section| (section, table.get(section)))
    });
    let mut all = Vec::new();
    for (section, entries) in sections {
        for (name, value) in entries.and_then(toml::Value::as_table).into_iter().flatten() {
            all.push(Dependency { name, value, for_tests: section == "dev-dependencies" });
        }
    }
    all
}

/// The member's directory that a dependency means, if it means one.
fn directory(value: &toml::Value, base: &str, shared: Option<&toml::Value>) -> Option<String> {
    let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    let value = if inherits { shared? } else { value };
    Some(joined(base, value.get("path")?.as_str()?))
}

fn joined(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\"crates/log\", \"crates/machine\"]\n[workspace.dependencies]\n\
                        words = { path = \"crates/words\" }\nmachine = { path = \"crates/machine\" }\nserde = \"1\"\n";

    #[track_caller]
    fn check(log: &str, machine: &str, expected: &[&str]) {
        let files = [("Cargo.toml", ROOT), ("crates/log/Cargo.toml", log), ("crates/machine/Cargo.toml", machine)];
        super::super::check(&RULE, &files, expected);
    }

    #[test]
    fn edges_of_the_table_are_fine() {
        check("[dependencies]\nwords.workspace = true", "[dependencies]\nwords = { path = \"../words\" }", &[]);
        check("", "[dev-dependencies]\nserde = \"1\"", &[]);
    }

    #[test]
    fn other_edges_are_found_however_they_are_written() {
        let found = "crates/log/Cargo.toml:0: must not depend on crates/machine";
        check("[dependencies]\nmachine.workspace = true", "", &[found]);
        check("[dependencies]\nmachine = { workspace = true }", "", &[found]);
        check("[dependencies.m]\npath = \"../machine\"", "", &[found]);
        check("[dev-dependencies]\nmachine.workspace = true", "", &[found]);
        check("[target.'cfg(unix)'.dependencies]\nmachine.workspace = true", "", &[found]);
    }

    #[test]
    fn a_pure_member_links_nothing_else() {
        check("", "[dependencies]\nserde.workspace = true", &["crates/machine/Cargo.toml:0: must not link serde"]);
    }

    #[test]
    fn an_unknown_member_is_found() {
        let files = [("Cargo.toml", "[workspace]\nmembers = [\"crates/new\"]")];
        super::super::check(&RULE, &files, &["crates/new/Cargo.toml:0: a member that"]);
    }
}
