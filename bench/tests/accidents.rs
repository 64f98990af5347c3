//! The five classic accidents: each happens with the protection off, and does not with it on. What they come to is the
//! table in `docs/accidents.md`.
//!
//! `TERTIUM_BIN` names the server. `UPDATE_EXPECT=1` writes the table anew.

use std::path::Path;

use tertium_bench::accidents::{self, Accident, Stage};
use tertium_bench::process::{release_binary, workspace};

const TABLE: [&str; 2] = ["<!-- table: what `bench/tests/accidents.rs` saw -->\n", "<!-- end of table -->\n"];

#[test]
fn each_happens_without_its_protection_and_not_with_it() {
    let bench = Path::new(env!("CARGO_BIN_EXE_tertium-bench")).to_owned();
    let stage = Stage::new(release_binary().unwrap(), bench).unwrap();
    let seen: Vec<Accident> = accidents::ALL.iter().map(|accident| accident(&stage).unwrap()).collect();
    let table = accidents::table(&seen);
    println!("{table}");
    for accident in &seen {
        let Accident { name, without, with, .. } = accident;
        println!("{name}: without {}; with {}", without.remark, with.remark);
        assert!(without.harmed > 0, "{name}: no harm without protection: {without:?}");
        assert_eq!(with.harmed, 0, "{name}: {with:?}");
    }
    let path = workspace().join("docs/accidents.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(TABLE[0]).unwrap();
    let (_, after) = rest.split_once(TABLE[1]).unwrap();
    let [begin, end] = TABLE;
    expect_test::expect_file![path].assert_eq(&format!("{before}{begin}{table}{end}{after}"));
}
