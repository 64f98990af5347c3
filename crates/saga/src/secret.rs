//! Secrets in the headers of calls: `${secret:name}` stands for a secret of the server's, which puts it in when it sends the
//! request. Only the author of a definition names secrets; what an expression gives never does. And since whoever starts a
//! run must not have a secret sent to where they like, a call that names one has its host written down.

use serde_json::Value;

use crate::evaluate::take::wrong;
use crate::fault::EvaluationError;
use crate::template::{Piece, Template};

/// What the name of a secret stands behind, up to a closing brace.
const OPEN: &str = "${secret:";

/// How long the secret is whose name begins here, braces and all; `None` if none does.
pub(crate) fn length_at(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(OPEN)?;
    let name = &rest[..rest.find('}')?];
    words::check_id(name).is_ok().then_some(OPEN.len() + name.len() + 1)
}

/// The secrets that a header names in what is written down.
pub(crate) fn named(header: &Template) -> Vec<&str> {
    match header {
        Template::Fixed(Value::String(text)) => names(text),
        Template::Text(pieces) => pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Plain(text) => names(text),
                Piece::Spelled(_) => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether the value of a header names the secrets that are written down, and no others.
pub(crate) fn check(field: &str, header: &Template, value: &str) -> Result<(), EvaluationError> {
    let opened = value.matches(OPEN).count();
    if names(value) == named(header) && opened == named(header).len() {
        return Ok(());
    }
    Err(wrong(
        field,
        "no `${secret:...}` but those that are written down, and not as `$${secret:...}`",
        &Value::String(value.to_owned()),
    ))
}

/// Whether the host of a URL is written down, so that no value can have it sent elsewhere.
pub(crate) fn has_fixed_host(url: &Template) -> bool {
    let begin = match url {
        Template::Fixed(Value::String(_)) => return true,
        Template::Text(pieces) => pieces.first(),
        _ => None,
    };
    let Some(Piece::Plain(begin)) = begin else { return false };
    begin.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?']))
}

fn names(text: &str) -> Vec<&str> {
    let places = text.match_indices(OPEN);
    places.filter_map(|(at, _)| text.get(at + OPEN.len()..at + length_at(&text[at..])? - 1)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::Problems;
    use crate::run_expression::Budget;

    fn header(text: &str) -> Template {
        let mut problems = Problems::default();
        let template = Template::read_header(&json!(text), "", &mut problems);
        problems.check().unwrap();
        template
    }

    #[test]
    fn only_what_is_written_down_names_a_secret() {
        let (one, two) = ("Bearer ${secret:shop/pay}", "${secret:a}-${input.v}-${secret:b}");
        assert_eq!((named(&header(one)), named(&header(two))), (vec!["shop/pay"], vec!["a", "b"]));
        assert_eq!(named(&header("$${secret:c}")), Vec::<&str>::new());
        assert_eq!(named(&header("$${secret:c} ${secret:d}")), ["d"]);
        for (text, value, expected) in [
            (one, "", Some("Bearer ${secret:shop/pay}")),
            (two, "x", Some("${secret:a}-x-${secret:b}")),
            (two, "${secret:c}", None),
            (two, "${secret:", None),
            ("${input.v}", "${secret:c}", None),
            ("$${${input.v}", "secret:c}", None),
            ("$${input.v}", "x", Some("${input.v}")),
            ("a${input.v}", "{secret:c}", Some("a{secret:c}")),
            ("a$ ${input.v}", "{secret:c}", Some("a$ {secret:c}")),
            // In a definition from before there were secrets these were the characters themselves. They cannot be sent any
            // more, and least of all a secret in their place.
            ("$${secret:c}", "", None),
            ("Bearer $${secret:shop/pay}", "", None),
            ("$${secret:c} ${secret:c}", "", None),
            ("$${secret:c}${input.v}", "x", None),
            ("$${secret:", "", None),
        ] {
            let template = header(text);
            let filled = template.fill(&json!({ "input": { "v": value } }), &mut Budget::default()).unwrap();
            let filled = filled.as_str().unwrap();
            let checked = check("authorization", &template, filled).map(|()| filled);
            assert_eq!(checked.ok(), expected, "{text} with {value:?}");
        }
    }

    #[test]
    fn where_a_host_is_written_down() {
        for (url, expected) in [
            ("http://pay.example/a", true),
            ("http://pay.example/${input.v}", true),
            ("http://pay.example?v=${input.v}", true),
            ("http://pay.example${input.v}", false),
            ("http://${input.v}/a", false),
            ("${input.v}/a", false),
            ("${input.v}", false),
        ] {
            assert_eq!(has_fixed_host(&header(url)), expected, "{url}");
        }
    }
}
