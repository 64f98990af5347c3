//! A short page for each code: what it means, what to do, whether the same key may be tried again.

use std::fmt::Write as _;

use crate::codes::{Code, TABLE};

/// How a page can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `text/html`, for a browser.
    Html,
    /// `text/markdown`, for a terminal.
    Markdown,
}

impl Form {
    /// What `Accept` asks for: HTML where it is named, Markdown for everyone else.
    pub fn of_accept(value: Option<&[u8]>) -> Self {
        let wants_html = value.unwrap_or_default().split(|byte| *byte == b',').any(|range| {
            let essence = range.split(|byte| *byte == b';').next().unwrap_or_default();
            essence.trim_ascii().eq_ignore_ascii_case(b"text/html")
        });
        if wants_html { Self::Html } else { Self::Markdown }
    }

    /// For `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }
}

/// The page at `/errors/<code>`.
pub fn page(code: Code, form: Form) -> String {
    let row = code.row();
    let facts = format!("HTTP {}, outcome {}", row.status, row.outcome);
    match form {
        Form::Markdown => format!(
            "# {}\n\n`{}` ({facts})\n\n{}\n\n**What to do.** {}\n\n**The same key.** {}\n",
            row.title,
            row.text,
            row.meaning,
            row.remedy,
            row.retry.sentence()
        ),
        Form::Html => html(
            row.title,
            &format!(
                "<p><code>{}</code> ({facts})</p>\n<p>{}</p>\n<h2>What to do</h2>\n<p>{}</p>\n<h2>The same key</h2>\n<p>{}</p>\n\
                 <p><a href=\"/errors\">All codes</a></p>",
                row.text,
                inline_html(row.meaning),
                inline_html(row.remedy),
                inline_html(row.retry.sentence())
            ),
        ),
    }
}

/// The page at `/errors`: all codes.
pub fn index(form: Form) -> String {
    let mut list = String::new();
    for row in &TABLE {
        let _infallible = match form {
            Form::Markdown => writeln!(list, "- `{}` (HTTP {}, {}): {}", row.text, row.status, row.outcome, row.title),
            Form::Html => writeln!(
                list,
                "<li><a href=\"/errors/{0}\"><code>{0}</code></a> (HTTP {1}, {2}): {3}</li>",
                row.text, row.status, row.outcome, row.title
            ),
        };
    }
    match form {
        Form::Markdown => format!("# Codes\n\n{list}"),
        Form::Html => html("Codes", &format!("<ul>\n{list}</ul>")),
    }
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;\
         margin:2rem auto;padding:0 1rem}}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )
}

/// Escapes a text of the table and turns its backquotes into `code`.
fn inline_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for (at, part) in text.split('`').enumerate() {
        if at > 0 {
            out.push_str(if at % 2 == 1 { "<code>" } else { "</code>" });
        }
        for character in part.chars() {
            match character {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                other => out.push(other),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_page_for_a_terminal() {
        expect![[r#"
            # Nobody knows yet whether it happened

            `outcome-unknown` (HTTP 504, outcome uncertain)

            The deadline passed, or the log was lost, after the operation's entry had begun to be appended. It may or may not have happened, and not later than its deadline.

            **What to do.** Ask `GET` on the path in `operation`, or make it definite with `POST` to the same path and `/settle`. Sending the same request again with the same key is safe as well.

            **The same key.** The same key may be tried again. Do not use a new one: the effect could then happen twice.
        "#]].assert_eq(&page(Code::OutcomeUnknown, Form::Markdown));
    }

    #[test]
    fn a_page_for_a_browser() {
        expect![[r#"
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width">
            <title>The deadline is not one</title>
            <style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}</style>
            </head>
            <body>
            <h1>The deadline is not one</h1>
            <p><code>deadline-invalid</code> (HTTP 400, outcome refused)</p>
            <p><code>X-Request-Deadline</code> is neither remaining time like <code>250ms</code> or <code>2s</code> nor an RFC 3339 instant, or it is more than an hour away.</p>
            <h2>What to do</h2>
            <p>Send remaining time in whole <code>ms</code> or <code>s</code>, or leave the header out for 10 s.</p>
            <h2>The same key</h2>
            <p>Nothing was remembered: the same key may be used for the corrected request.</p>
            <p><a href="/errors">All codes</a></p>
            </body>
            </html>
        "#]].assert_eq(&page(Code::DeadlineInvalid, Form::Html));
    }

    #[test]
    fn every_page_is_whole() {
        for row in &TABLE {
            let html = page(row.code, Form::Html);
            assert_eq!(html.matches("<code>").count(), html.matches("</code>").count(), "{}", row.text);
            assert!(!html.contains('`') && !html.contains("<script"), "{}", row.text);
            let markdown = page(row.code, Form::Markdown);
            assert_eq!(markdown.matches('`').count() % 2, 0, "{}", row.text);
            for form in [Form::Html, Form::Markdown] {
                assert!(index(form).contains(row.text), "{}", row.text);
            }
        }
    }

    #[test]
    fn who_gets_what() {
        for (accept, form) in [
            (None, Form::Markdown),
            (Some("*/*"), Form::Markdown),
            (Some("text/html"), Form::Html),
            (Some("application/xml, TEXT/HTML;q=0.9"), Form::Html),
            (Some("text/plain"), Form::Markdown),
        ] {
            assert_eq!(Form::of_accept(accept.map(str::as_bytes)), form, "{accept:?}");
        }
    }
}
