//! From rows to operations: each with its key, its direction and an exact amount.

use std::collections::HashMap;

use super::decimal::Decimal;
use super::rows::Row;
use super::template::Template;

/// What to make of a row.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) from: Template,
    pub(crate) to: Template,
    pub(crate) amount: Template,
    /// The amount is multiplied by this field.
    pub(crate) times: Option<Template>,
    /// `None`: the line is the name of the row, after this prefix.
    pub(crate) key: KeyRule,
    pub(crate) memo: Option<Template>,
    pub(crate) group: Option<Template>,
    /// Places of the amounts: 10^scale smallest parts are one.
    pub(crate) scale: u32,
    pub(crate) negative: Negative,
}

/// Where the key of an operation comes from.
#[derive(Debug)]
pub(crate) enum KeyRule {
    Template(Template),
    /// This prefix and the line's number.
    Line(String),
}

/// What a negative amount means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Negative {
    /// The row cannot be read.
    Refuse,
    /// It goes back: from and to change places.
    ReverseDirection,
}

/// One transfer to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Planned {
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) to: String,
    /// Before directions are turned: negative if it goes back.
    pub(crate) net: i128,
    pub(crate) memo: Option<String>,
    /// The first line it is made of.
    pub(crate) line: u64,
    /// How many lines it is made of.
    pub(crate) lines: u64,
}

/// A line that did not become part of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unread {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// What a file asks for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of their first lines. None nets to zero.
    pub(crate) operations: Vec<Planned>,
    /// Operations whose lines net to zero: they move nothing, and are not sent.
    pub(crate) zeros: Vec<Planned>,
    pub(crate) unread: Vec<Unread>,
    /// Lines in all, the first of a CSV file not counted.
    pub(crate) lines: u64,
}

/// Gathers rows into a plan.
#[derive(Debug)]
pub(crate) struct Planner<'m> {
    mapping: &'m Mapping,
    gathered: Vec<Gathered>,
    by_name: HashMap<String, usize>,
    unread: Vec<Unread>,
    lines: u64,
}

#[derive(Debug)]
struct Gathered {
    planned: Planned,
    /// A line of it could not be read, and so none of it is sent: part of an invoice is no invoice.
    is_spoiled: bool,
}

impl<'m> Planner<'m> {
    pub(crate) fn new(mapping: &'m Mapping) -> Self {
        Self { mapping, gathered: Vec::new(), by_name: HashMap::new(), unread: Vec::new(), lines: 0 }
    }

    /// Takes a row and what is wrong with it, if anything is.
    pub(crate) fn add(&mut self, line: u64, row: &Row<'_>, defect: Option<String>) {
        self.lines += 1;
        if let Err(reason) = self.add_row(line, row, defect) {
            self.unread.push(Unread { line, reason });
        }
    }

    fn add_row(&mut self, line: u64, row: &Row<'_>, defect: Option<String>) -> Result<(), String> {
        let named = match (&self.mapping.group, &self.mapping.key) {
            (Some(group), _) => group.fill(row).map_err(|error| format!("no group: {error}")),
            (None, KeyRule::Template(key)) => key.fill(row).map_err(|error| format!("no key: {error}")),
            (None, KeyRule::Line(prefix)) => Ok(format!("{prefix}{line}")),
        };
        let name = named.map_err(|error| defect.clone().unwrap_or(error))?;
        let read = match defect {
            Some(defect) => Err(defect),
            None => self.read_row(line, row),
        };
        match (self.by_name.get(&name), read) {
            (Some(&at), Ok(_)) if self.mapping.group.is_none() => {
                let first = self.gathered[at].planned.line;
                Err(format!("it has the key of line {first}: two operations need two keys"))
            }
            (Some(&at), read) => self.gathered[at].join(read),
            (None, read) => {
                let reason = read.as_ref().err().cloned();
                let planned = read.unwrap_or_else(|_| Planned::nothing(line, &name));
                self.by_name.insert(name, self.gathered.len());
                self.gathered.push(Gathered { planned, is_spoiled: reason.is_some() });
                reason.map_or(Ok(()), Err)
            }
        }
    }

    fn read_row(&self, line: u64, row: &Row<'_>) -> Result<Planned, String> {
        let mapping = self.mapping;
        let key = match &mapping.key {
            KeyRule::Template(template) => template.fill(row).map_err(|error| format!("no key: {error}"))?,
            KeyRule::Line(prefix) => format!("{prefix}{line}"),
        };
        words::check_key(&key).map_err(|error| format!("key `{key}`: {error}"))?;
        let account = |what: &str, template: &Template| {
            let id = template.fill(row).map_err(|error| format!("no `{what}` account: {error}"))?;
            words::check_id(&id).map_err(|error| format!("account `{id}`: {error}"))?;
            Ok::<_, String>(id)
        };
        let (from, to) = (account("from", &mapping.from)?, account("to", &mapping.to)?);
        let mut amount = Decimal::parse(&mapping.amount.fill(row).map_err(|error| format!("no amount: {error}"))?)?;
        if let Some(times) = &mapping.times {
            amount = amount.times(Decimal::parse(&times.fill(row)?)?)?;
        }
        let net = amount.to_units(mapping.scale)?;
        let memo = mapping.memo.as_ref().map(|memo| memo.fill(row)).transpose()?;
        if net < 0 && mapping.negative == Negative::Refuse && mapping.group.is_none() {
            return Err("the amount is negative: see --negative".to_owned());
        }
        Ok(Planned { key, from, to, net, memo, line, lines: 1 })
    }

    /// The plan, with at most so many operations.
    pub(crate) fn finish(mut self, limit: Option<usize>) -> Plan {
        let mut plan = Plan { lines: self.lines, ..Plan::default() };
        for Gathered { planned, is_spoiled } in self.gathered {
            if is_spoiled {
                if planned.lines > 1 {
                    let reason = format!(
                        "with its {} lines, `{}` is left out: one of them cannot be read",
                        planned.lines, planned.key
                    );
                    self.unread.push(Unread { line: planned.line, reason });
                }
            } else if planned.net == 0 {
                plan.zeros.push(planned);
            } else if planned.net < 0 && self.mapping.negative == Negative::Refuse {
                let reason = format!("`{}` is negative in all: see --negative", planned.key);
                self.unread.push(Unread { line: planned.line, reason });
            } else if limit.is_none_or(|limit| plan.operations.len() < limit) {
                plan.operations.push(planned);
            }
        }
        self.unread.sort_by_key(|unread| unread.line);
        plan.unread = self.unread;
        plan
    }
}

impl Gathered {
    fn join(&mut self, read: Result<Planned, String>) -> Result<(), String> {
        let joined = read.and_then(|read| {
            let have = &self.planned;
            if !self.is_spoiled && (read.from != have.from || read.to != have.to || read.key != have.key) {
                return Err(format!("it differs from line {} of its group in accounts or key", have.line));
            }
            have.net.checked_add(read.net).ok_or_else(|| "the group's sum is too large".to_owned())
        });
        self.planned.lines += 1;
        match joined {
            Ok(net) => {
                self.planned.net = net;
                Ok(())
            }
            Err(reason) => {
                self.is_spoiled = true;
                Err(reason)
            }
        }
    }
}

impl Planned {
    fn nothing(line: u64, name: &str) -> Self {
        Self { key: name.to_owned(), from: String::new(), to: String::new(), net: 0, memo: None, line, lines: 1 }
    }

    /// From, to and how much, as the server is to be told: an amount below zero goes the other way.
    pub(crate) fn directed(&self) -> (&str, &str, u128) {
        let (from, to) = if self.net < 0 { (&self.to, &self.from) } else { (&self.from, &self.to) };
        (from, to, self.net.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::rows::{FileFormat, read};
    use super::*;

    fn mapping(group: bool, negative: Negative) -> Mapping {
        let template = |text: &str| Template::parse(text).unwrap();
        Mapping {
            from: template("{who|guest}"),
            to: template("shop"),
            amount: template("{n}"),
            times: Some(template("{price}")),
            key: KeyRule::Template(template("invoice/{no}")),
            memo: None,
            group: group.then(|| template("{no}")),
            scale: 3,
            negative,
        }
    }

    fn check(mapping: &Mapping, text: &'static str, expect: Expect) {
        let mut planner = Planner::new(mapping);
        let needed = ["no", "n", "price", "who"];
        read(Box::new(text.as_bytes()), FileFormat::Csv, &needed, &mut |line, row, defect| {
            planner.add(line, &row, defect);
            Ok(())
        })
        .unwrap();
        let plan = planner.finish(None);
        let mut out = String::new();
        for operation in &plan.operations {
            let (from, to, amount) = operation.directed();
            out.push_str(&format!("{} {from} -> {to} {amount} ({} lines)\n", operation.key, operation.lines));
        }
        plan.zeros.iter().for_each(|zero| out.push_str(&format!("{} nothing\n", zero.key)));
        plan.unread.iter().for_each(|unread| out.push_str(&format!("line {}: {}\n", unread.line, unread.reason)));
        expect.assert_eq(&out);
    }

    #[test]
    fn groups() {
        check(
            &mapping(true, Negative::ReverseDirection),
            "no,n,price,who\n1,2,2.55,a\n1,2,2.55,a\nC1,-1,5.1,a\n2,1,1,\n2,-1,1,\n1,1,0.001,a\n",
            expect![[r#"
                invoice/1 a -> shop 10201 (3 lines)
                invoice/C1 shop -> a 5100 (1 lines)
                invoice/2 nothing
            "#]],
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_takes_its_group_with_it() {
        check(
            &mapping(true, Negative::ReverseDirection),
            "no,n,price,who\n1,2,2.55,a\n1,x,2.55,a\n1,1,1,a\n2,1,1,b\n3,1,0.0001,b\n4,1,1,a\n4,1,1,b\n5,1\n6,1,1,a\n6,1\n",
            expect![[r#"
                invoice/2 b -> shop 1000 (1 lines)
                line 2: with its 3 lines, `invoice/1` is left out: one of them cannot be read
                line 3: `x` is not a decimal number
                line 6: the amount has 4 decimal places, and --scale 3 would round it
                line 7: with its 2 lines, `invoice/4` is left out: one of them cannot be read
                line 8: it differs from line 7 of its group in accounts or key
                line 9: it has 2 fields, the first line 4
                line 10: with its 2 lines, `invoice/6` is left out: one of them cannot be read
                line 11: it has 2 fields, the first line 4
            "#]],
        );
    }

    #[test]
    fn without_groups_a_key_is_used_once() {
        check(
            &mapping(false, Negative::Refuse),
            "no,n,price,who\n1,1,1,a\n1,1,1,a\n2,-1,1,a\n3,1,1,a b\nx y,1,1,a\n",
            expect![[r#"
                invoice/1 a -> shop 1000 (1 lines)
                line 3: it has the key of line 2: two operations need two keys
                line 4: the amount is negative: see --negative
                line 5: account `a b`: an id is made of A-Z a-z 0-9 . _ : / -, the character at offset 1 is not
                line 6: key `invoice/x y`: a key is made of visible ASCII characters, the one at offset 9 is not
            "#]],
        );
    }
}
