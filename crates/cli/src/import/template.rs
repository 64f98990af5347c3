//! Templates: `invoice/{InvoiceNo}`, `customer/{CustomerID|guest}`, filled from the fields of a row.

use super::rows::Row;

/// Literal text and fields, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Field { name: String, default: Option<String> },
}

impl Template {
    /// Reads a template. `{{` and `}}` stand for braces.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = (rest.as_bytes()[at], &rest[at + 1..]);
            if after.as_bytes().first() == Some(&brace) {
                literal.push(char::from(brace));
                rest = &after[1..];
                continue;
            }
            let end = after.find('}').filter(|_| brace == b'{');
            let end =
                end.ok_or_else(|| format!("`{text}`: a `{}` alone; write it twice to mean itself", char::from(brace)))?;
            let inside = &after[..end];
            let (name, default) = match inside.split_once('|') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inside, None),
            };
            if name.is_empty() {
                return Err(format!("`{text}`: `{{}}` names no field"));
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field { name: name.to_owned(), default });
            rest = &after[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(Self(parts))
    }

    /// The field alone.
    pub(crate) fn of_field(name: &str) -> Self {
        Self(vec![Part::Field { name: name.to_owned(), default: None }])
    }

    /// With the row's fields put in. A field that is missing or empty and has no default is an error.
    pub(crate) fn fill(&self, row: &Row<'_>) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { name, default } => match (row.field(name).filter(|value| !value.is_empty()), default) {
                    (Some(value), _) => out.push_str(&value),
                    (None, Some(default)) => out.push_str(default),
                    (None, None) => return Err(format!("`{name}` is empty")),
                },
            }
        }
        Ok(out)
    }

    /// The fields it needs.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Field { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: Result<&str, &str>) {
        let header = ["a", "b c", "empty"].map(str::to_owned).to_vec();
        let record = csv::StringRecord::from(vec!["1", "two", ""]);
        let filled =
            Template::parse(template).and_then(|parsed| parsed.fill(&Row::Csv { header: &header, record: &record }));
        assert_eq!(filled.as_deref().map_err(String::as_str), expect, "{template}");
    }

    #[test]
    fn filled_or_said_why_not() {
        check("invoice/{a}", Ok("invoice/1"));
        check("{b c}-{a}", Ok("two-1"));
        check("{empty|guest}", Ok("guest"));
        check("{a|guest}", Ok("1"));
        check("{empty|}x", Ok("x"));
        check("shop", Ok("shop"));
        check("{{{a}}}", Ok("{1}"));
        check("{empty}", Err("`empty` is empty"));
        check("{a", Err("`{a`: a `{` alone; write it twice to mean itself"));
        check("a}", Err("`a}`: a `}` alone; write it twice to mean itself"));
        check("{}", Err("`{}`: `{}` names no field"));
        check("", Err("it is empty"));
    }
}
