//! A Rust file without its comments and literals, so that a rule's words are found only where they are code.

use std::ops::RangeInclusive;

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// The same lines and columns; what is in comments and literals is blank.
    pub(super) code: String,
    /// For each line, from 0: whether it is only compiled for tests.
    test: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let mut test = vec![is_test_path(path); code.lines().count()];
        for attribute in ["#[cfg(test)]", "#[test]", "#[cfg(any(test"] {
            for (at, _) in code.match_indices(attribute) {
                let first = line_of(&code, at);
                for line in first..=line_of(&code, item_end(&code, at)) {
                    test[line - 1] = true;
                }
            }
        }
        Self { path: path.into(), text: text.into(), code, test }
    }

    /// The lines that are not only for tests: number from 1, code.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().filter(|(at, _)| !self.test[*at]).map(|(at, line)| (at + 1, line))
    }

    /// All lines: number from 1, code.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The functions that are not only for tests: name, first and last line.
    pub(super) fn functions(&self) -> Vec<(String, RangeInclusive<usize>)> {
        let mut functions = Vec::new();
        for at in words(&self.code, "fn") {
            let name: String = self.code[at + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            let first = line_of(&self.code, at);
            // Without a name it is the type of a function.
            if !name.is_empty() && !self.test[first - 1] {
                functions.push((name, first..=line_of(&self.code, item_end(&self.code, at))));
            }
        }
        functions
    }

    /// The files of modules that are only compiled for tests.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let dir = ["lib", "main", "mod"].iter().find_map(|root| stem.strip_suffix(root)?.strip_suffix('/'));
        let dir = dir.unwrap_or(stem);
        let marked = self.code.lines().zip(&self.test).filter(|(_, test)| **test);
        let names =
            marked.filter_map(|(line, _)| line.trim().strip_suffix(';')?.split_once("mod ").map(|(_, name)| name));
        names.flat_map(|name| [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")]).collect()
    }

    pub(super) fn mark_as_test(&mut self) {
        self.test.fill(true);
    }
}

/// Where `word` stands in `code` as a word of its own.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/") || path.ends_with("/tests.rs")
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The last byte of the item that begins at `from`: its closing brace, or its semicolon where it has no body.
fn item_end(code: &str, from: usize) -> usize {
    let mut braces = 0usize;
    let mut others = 0usize;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + at,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return from + at,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Replaces comments and the insides of literals by blanks, byte for byte, keeping the ends of lines.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_len(&text[at..], text[..at].chars().next_back());
        if end > at {
            code.extend(text[at..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let c = text[at..].chars().next().unwrap_or(' ');
            // One byte for each byte, so that places in the code are places in the text.
            if c.is_ascii() {
                code.push(c)
            } else {
                code.extend(std::iter::repeat_n('_', c.len_utf8()))
            }
            at += c.len_utf8();
        }
    }
    code
}

/// The length of the comment or literal that begins here; 0 if none does.
fn literal_len(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if rest.starts_with('"') {
        return quoted_len(rest, '"');
    }
    if rest.starts_with('\'') {
        return char_len(rest);
    }
    let starts_word = !before.is_some_and(is_word);
    let prefix = ["br", "cr", "r"].iter().find(|prefix| starts_word && rest.starts_with(**prefix));
    prefix.map_or(0, |prefix| raw_len(rest, prefix.len()))
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, or nothing if it is a lifetime.
fn char_len(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted_len(rest, '\''),
        _ => 0,
    }
}

fn raw_len(rest: &str, prefix: usize) -> usize {
    let hashes = rest[prefix..].chars().take_while(|c| *c == '#').count();
    let open = prefix + hashes;
    if !rest[open..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    rest[open + 1..].find(&close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", 'z', '\'', b'q')"#, "f(      ,    ,     , b   )"),
            ("r#\"a\"b\"# r#type br\"c\"", "         r#type      "),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("for\"x\" é", "for    __"),
        ] {
            assert_eq!(blank(text), code, "{text}");
            assert_eq!(blank(text).len(), text.len());
        }
    }

    #[test]
    fn test_code_is_known() {
        let source = Source::new("a/src/lib.rs", "fn f() {\n}\n#[cfg(test)]\nmod tests {\n  fn g() {}\n}\nfn h() {}\n");
        let names: Vec<_> =
            source.functions().into_iter().map(|(name, lines)| (name, *lines.start(), *lines.end())).collect();
        assert_eq!(names, [("f".into(), 1, 2), ("h".into(), 7, 7)]);
        assert_eq!(source.lines().map(|(line, _)| line).collect::<Vec<_>>(), [1, 2, 7]);
    }

    #[test]
    fn modules_for_tests_in_files_of_their_own_are_known() {
        let root = Source::new("a/src/lib.rs", "#[cfg(test)]\nmod model;\nmod other;\n");
        assert_eq!(root.test_modules(), ["a/src/model.rs", "a/src/model/mod.rs"]);
        let inner = Source::new("a/src/b.rs", "#[cfg(test)]\nmod model;\n");
        assert_eq!(inner.test_modules(), ["a/src/b/model.rs", "a/src/b/model/mod.rs"]);
    }
}
