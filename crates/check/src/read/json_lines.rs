//! The project's own form: the first line may name the model, each other line is an operation, whole.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::{Lines, push};
use crate::error::HistoryError;
use crate::history::{Account, Action, Answer, Model, ModelKind, Operation, Value};

/// What a history is of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    model: String,
    #[serde(default, deserialize_with = "present")]
    initial: Option<Json>,
    accounts: Option<BTreeMap<String, OpenAccount>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAccount {
    #[serde(default, deserialize_with = "present")]
    balance: Option<Json>,
    /// Zero where it is not there, none where it is null.
    #[serde(default, deserialize_with = "present")]
    floor: Option<Json>,
}

/// An operation; which fields there must be, `op` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    client: Json,
    call: u64,
    #[serde(rename = "return")]
    returned: Option<u64>,
    op: String,
    outcome: String,
    code: Option<String>,
    key: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    from: Option<Json>,
    #[serde(default, deserialize_with = "present")]
    to: Option<Json>,
    amount: Option<Json>,
    balances: Option<BTreeMap<String, Json>>,
    found: Option<bool>,
    values: Option<Vec<Json>>,
}

/// Null is a value; only a field that is not there is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

pub(super) fn read<R: BufRead>(
    lines: &mut Lines<R>,
    model: Option<ModelKind>,
) -> Result<(Model, Vec<Operation>), HistoryError> {
    let mut found = None;
    let mut operations = Vec::new();
    let mut is_first = true;
    while let Some((number, line)) = lines.next()? {
        let wrong = |what| HistoryError::malformed(number, what);
        let json: Json = serde_json::from_str(line).map_err(|error| wrong(told(&error)))?;
        if std::mem::take(&mut is_first) && json.get("model").is_some() {
            let header = Header::deserialize(json).map_err(|error| wrong(error.to_string()))?;
            found = Some(header.model().map_err(wrong)?);
            continue;
        }
        let kind = found.as_ref().map(Model::kind).or(model).ok_or_else(no_model)?;
        let line = Line::deserialize(json).map_err(|error| wrong(error.to_string()))?;
        push(&mut operations, line.operation(number, kind).map_err(wrong)?)?;
    }
    let found = match (found, model) {
        (Some(found), _) => found,
        (None, Some(ModelKind::Register)) => Model::Register { initial: Value::Nothing },
        (None, Some(ModelKind::Map)) => Model::Map { initial: Value::Nothing },
        (None, Some(ModelKind::Set)) => Model::Set,
        (None, Some(ModelKind::Ledger)) => {
            let what = "a ledger's history begins with a line that names its accounts";
            return Err(HistoryError::Model(what.to_owned()));
        }
        (None, None) => return Err(no_model()),
    };
    Ok((found, operations))
}

fn no_model() -> HistoryError {
    HistoryError::Model("the history does not begin with its model, and none is given".to_owned())
}

/// What is wrong, with the column. The line is that of the history, where the parser sees only one.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("column {}: {what}", error.column())
}

impl Header {
    fn model(self) -> Result<Model, String> {
        let kind = ModelKind::ALL.into_iter().find(|kind| kind.as_str() == self.model);
        let Some(kind) = kind else {
            let known: Vec<&str> = ModelKind::ALL.iter().map(|kind| kind.as_str()).collect();
            return Err(format!("there is no model `{}`, but {}", self.model, known.join(", ")));
        };
        if self.initial.is_some() && !matches!(kind, ModelKind::Register | ModelKind::Map) {
            return Err("`initial` is of registers and maps".to_owned());
        }
        if self.accounts.is_some() != (kind == ModelKind::Ledger) {
            return Err("a ledger names its `accounts`, and nothing else does".to_owned());
        }
        let initial = self.initial.map_or(Ok(Value::Nothing), |json| value("initial", &json));
        Ok(match kind {
            ModelKind::Register => Model::Register { initial: initial? },
            ModelKind::Map => Model::Map { initial: initial? },
            ModelKind::Set => Model::Set,
            ModelKind::Ledger => {
                let accounts = self.accounts.unwrap_or_default().into_iter();
                let accounts = accounts.map(|(id, account)| Ok((id, account.account()?)));
                Model::Ledger { accounts: accounts.collect::<Result<_, String>>()? }
            }
        })
    }
}

impl OpenAccount {
    fn account(self) -> Result<Account, String> {
        let balance = self.balance.map_or(Ok(0), |json| integer("balance", &json))?;
        let floor = match self.floor {
            Some(Json::Null) => None,
            Some(json) => Some(integer("floor", &json)?),
            None => Some(0),
        };
        Ok(Account { balance, floor })
    }
}

impl Line {
    fn operation(mut self, line: u64, model: ModelKind) -> Result<Operation, String> {
        let client = match &self.client {
            Json::String(name) => name.clone(),
            Json::Number(number) => number.to_string(),
            _ => return Err("`client` is a text or a number".to_owned()),
        };
        let answer = self.answer()?;
        let action = self.action(model, matches!(answer, Answer::Committed { .. }))?;
        self.is_used_up()?;
        Ok(Operation { line, client, call: self.call, answer, action })
    }

    fn answer(&mut self) -> Result<Answer, String> {
        let code = self.code.take();
        if code.is_some() && self.outcome != "refused" {
            return Err("`code` is of what was refused".to_owned());
        }
        let at = || self.returned.ok_or_else(|| format!("what is {} has its `return`", self.outcome));
        match (self.outcome.as_str(), code.as_deref()) {
            ("committed", _) => Ok(Answer::Committed { at: at()? }),
            ("refused", Some("mismatch" | "insufficient-funds")) => Ok(Answer::Refused { at: at()? }),
            ("refused", _) => at().map(|_| Answer::NotDone),
            ("uncertain", _) => Ok(Answer::Uncertain),
            (other, _) => Err(format!("there is no outcome `{other}`, but committed, refused, uncertain")),
        }
    }

    fn action(&mut self, model: ModelKind, is_committed: bool) -> Result<Action, String> {
        // What a read would have answered is not known, and not asked for, where it did not answer.
        let nothing = |json: Option<Json>| if is_committed { json } else { json.or(Some(Json::Null)) };
        let key = match model {
            ModelKind::Map => Some(self.key.take().ok_or("`key` is missing")?),
            _ => None,
        };
        Ok(match (model, self.op.as_str()) {
            (ModelKind::Register, "read") | (ModelKind::Map, "get") => {
                Action::Read { key, value: needed("value", nothing(self.value.take()))? }
            }
            (ModelKind::Register, "write") | (ModelKind::Map, "put") => {
                Action::Write { key, value: needed("value", self.value.take())? }
            }
            (ModelKind::Register | ModelKind::Map, "cas") => Action::CompareAndSet {
                key,
                from: needed("from", self.from.take())?,
                to: needed("to", self.to.take())?,
            },
            (ModelKind::Map, "append") => {
                Action::Append { key: key.unwrap_or_default(), text: text("value", self.value.take())? }
            }
            (ModelKind::Ledger, "transfer") => Action::Transfer {
                from: text("from", self.from.take())?,
                to: text("to", self.to.take())?,
                amount: integer("amount", &self.amount.take().ok_or("`amount` is missing")?)?,
            },
            (ModelKind::Ledger, "read") => {
                let balances = self.balances.take().or((!is_committed).then(BTreeMap::new));
                let balances = balances.ok_or("`balances` is missing")?.into_iter();
                let balances = balances.map(|(id, json)| Ok((id, integer("balances", &json)?)));
                Action::Balances(balances.collect::<Result<_, String>>()?)
            }
            (ModelKind::Set, "add") => Action::Add(needed("value", self.value.take())?),
            (ModelKind::Set, "contains") => {
                let found = self.found.take().or((!is_committed).then_some(false));
                Action::Contains {
                    value: needed("value", self.value.take())?,
                    found: found.ok_or("`found` is missing")?,
                }
            }
            (ModelKind::Set, "read") => {
                let values = self.values.take().or((!is_committed).then(Vec::new)).ok_or("`values` is missing")?;
                Action::Members(values.iter().map(|json| value("values", json)).collect::<Result<_, _>>()?)
            }
            (model, op) => return Err(format!("a {} is not asked to `{op}`", model.as_str())),
        })
    }

    /// A field that means nothing here was meant to mean something.
    fn is_used_up(&self) -> Result<(), String> {
        let left = [
            ("key", self.key.is_some()),
            ("value", self.value.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("amount", self.amount.is_some()),
            ("balances", self.balances.is_some()),
            ("found", self.found.is_some()),
            ("values", self.values.is_some()),
        ];
        let unused = left.into_iter().find(|(_, is_there)| *is_there);
        unused.map_or(Ok(()), |(name, _)| Err(format!("`{name}` has no meaning for `{}`", self.op)))
    }
}

fn needed(name: &str, json: Option<Json>) -> Result<Value, String> {
    value(name, &json.ok_or_else(|| format!("`{name}` is missing"))?)
}

fn value(name: &str, json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Nothing,
        Json::Bool(truth) => Value::Truth(*truth),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(_) => Value::Number(integer(name, json)?),
        Json::Array(_) | Json::Object(_) => {
            return Err(format!("`{name}` is null, true, false, an integer or a text"));
        }
    })
}

fn text(name: &str, json: Option<Json>) -> Result<String, String> {
    match json {
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(format!("`{name}` is a text")),
        None => Err(format!("`{name}` is missing")),
    }
}

/// A JSON integer, or one as a decimal string.
fn integer(name: &str, json: &Json) -> Result<i128, String> {
    let found = match json {
        Json::Number(number) => number.as_i128(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| format!("`{name}` is an integer, above 2^63 as a text"))
}
