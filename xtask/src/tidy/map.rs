//! ARCHITECTURE.md's map is generated, not kept.

use super::first_lines::first_line;
use super::tree::Tree;
use super::{Finding, Rule};

pub(super) const RULE: Rule =
    Rule { name: "map", why: "a map of the code kept by hand is wrong from the second change on", check };

/// The page with the map.
pub(super) const PAGE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- map: written by `cargo xtask map` -->\n";
const END: &str = "<!-- end of map -->\n";

fn check(tree: &Tree) -> Vec<Finding> {
    match rewritten(tree) {
        Ok(page) if page == tree.text(PAGE) => Vec::new(),
        Ok(_) => vec![Finding::new(PAGE, 0, "the map is not what the code says: run `cargo xtask map`")],
        Err(why) => vec![Finding::new(PAGE, 0, why)],
    }
}

/// The page with its map as it should be.
pub(super) fn rewritten(tree: &Tree) -> Result<String, String> {
    let page = tree.text(PAGE);
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or(format!("{PAGE} needs the lines {} and {}", BEGIN.trim(), END.trim()))?;
    let mut map = String::from("| where | why it exists |\n|---|---|\n");
    for member in tree.members() {
        let (_, line) = first_line(tree, &member);
        map += &format!("| [`{dir}`]({dir}) | {} |\n", line.replace('|', "\\|"), dir = member.dir);
    }
    Ok(format!("{before}{BEGIN}{map}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn an_old_map_is_found_and_rewritten() {
        let old = format!("# A\n{BEGIN}old\n{END}rest\n");
        let files = |page| {
            [
                ("Cargo.toml", "[workspace]\nmembers = [\"z\", \"a\"]"),
                ("z/src/lib.rs", "//! Last."),
                ("a/src/main.rs", "//! First."),
                (PAGE, page),
            ]
        };
        check(&RULE, &files(&old), &["ARCHITECTURE.md:0: the map is not"]);
        let new = rewritten(&Tree::of_files(&files(&old))).unwrap();
        assert_eq!(
            new,
            format!(
                "# A\n{BEGIN}| where | why it exists |\n|---|---|\n| [`z`](z) | Last. |\n| [`a`](a) | First. |\n{END}rest\n"
            )
        );
        check(&RULE, &files(&new), &[]);
    }

    #[test]
    fn a_page_without_a_place_for_it_is_found() {
        check(&RULE, &[(PAGE, "# A")], &["ARCHITECTURE.md:0: ARCHITECTURE.md needs the lines"]);
    }
}
