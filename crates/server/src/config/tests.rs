use std::collections::HashSet;
use std::path::Path;

use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn check_errors(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], expect: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.toml");
    std::fs::write(&path, file).unwrap();
    let errors = load(Some(&path), &pairs(environment), &pairs(flags)).unwrap_err().to_string();
    let errors = errors.replace(&path.display().to_string(), "FILE");
    assert_eq!(errors.lines().collect::<Vec<_>>(), expect);
}

#[test]
fn each_setting_reads_what_it_shows() {
    let mut names = HashSet::new();
    for setting in SETTINGS {
        assert!(names.insert(setting.name), "{} stands twice", setting.name);
        let default = setting.default();
        if !default.is_empty() {
            let mut config = Config::default();
            (setting.set)(&mut config, &default)
                .unwrap_or_else(|error| panic!("{} = {default}: {error}", setting.name));
            assert_eq!((setting.show)(&config), default, "{}", setting.name);
        }
        assert!((setting.set)(&mut Config::default(), "").is_err() || setting.name == "log_level", "{}", setting.name);
    }
}

#[test]
fn flags_overrule_environment_overrules_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    std::fs::write(
        dir.path().join("tertium.toml"),
        "# comment\nlisten = \"127.0.0.1:1\"\nheaders_max = 50\nkey_retention = \"2h\"\n",
    )
    .unwrap();
    let loaded = load(
        None,
        &pairs(&[("TERTIUM_LISTEN", "127.0.0.1:2"), ("TERTIUM_KEY_RETENTION", "3h"), ("HOME", "x")]),
        &pairs(&[("data", &data), ("key-retention", "4h")]),
    )
    .unwrap();
    let file = dir.path().join("tertium.toml");
    let check = |name: &str, text: &str, source: Source| {
        let value = loaded.values.iter().find(|value| value.setting.name == name).unwrap();
        assert_eq!((value.text.as_str(), &value.source), (text, &source), "{name}");
    };
    check("data", &data, Source::Flag("data".to_owned()));
    check("key_retention", "4h", Source::Flag("key-retention".to_owned()));
    check("listen", "127.0.0.1:2", Source::Environment("TERTIUM_LISTEN".to_owned()));
    check("headers_max", "50", Source::File { path: file.clone(), line: 3 });
    check("body_bytes_max", "4MiB", Source::Default);
    assert_eq!(loaded.config.cell.key_retention_ms, 4 * 3_600_000);
    assert_eq!(loaded.file.as_deref(), Some(file.as_path()));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    check_errors(
        "header_timeout = \"soon\"\nbody_byte_max = 5\nconnections_max = 0\nnode = [1]\n",
        &[("TERTIUM_SEGMENT_BYTES", "12")],
        &[("listen", "everywhere"), ("color", "red")],
        &[
            "header_timeout = `soon` (FILE line 1): must be a whole number with its unit, like `250ms`, `10s` or `7d`, from 250ms to 1h",
            "body_byte_max = `5` (FILE line 2): there is no such setting: did you mean `body_bytes_max`?",
            "connections_max = `0` (FILE line 3): must be a whole number from 1 to 1000000",
            "FILE line 4: node must be a string, a whole number or true/false",
            "segment_bytes = `12` (environment TERTIUM_SEGMENT_BYTES): must be a whole number of bytes, or one with `KiB`, `MiB` or `GiB`, from 1MiB to 1GiB",
            "listen = `everywhere` (flag --listen): must be an IP address and a port, like `127.0.0.1:7700`",
            "color = `red` (flag --color): there is no such setting: `tertium config show` lists all",
        ],
    );
    check_errors("listen = ", &[], &[], &["FILE line 1: string values must be quoted, expected literal string"]);
}

#[test]
fn beyond_loopback_only_with_tls_and_authentication() {
    let tls = "listening beyond loopback needs TLS: set tls_certificate and tls_key, or listen on 127.0.0.1";
    let keys = "listening beyond loopback needs it on (make keys with `tertium keys create`), or listen on 127.0.0.1";
    check_errors(
        "",
        &[],
        &[("listen", "0.0.0.0:7700")],
        &[&format!("tls_certificate: {tls}"), &format!("authentication: {keys}")],
    );
    check_errors("", &[], &[("listen", "[::]:7700"), ("authentication", "on")], &[&format!("tls_certificate: {tls}")]);
    check_errors("tls_key = 'k'", &[], &[], &["tls_certificate: tls_key is set: set both, or neither"]);
    let flags = pairs(&[("listen", "0.0.0.0:1"), ("authentication", "on"), ("tls_key", "k"), ("tls_certificate", "c")]);
    assert!(load(None, &[], &flags).is_ok());
    assert!(load(None, &[], &pairs(&[("listen", "[::1]:1")])).is_ok());
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let error = load(Some(Path::new("/nonexistent/t.toml")), &[], &[]).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/t.toml: cannot be read"), "{error}");
}
