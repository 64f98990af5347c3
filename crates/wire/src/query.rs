//! Query strings: few parameters, each known, each once.

use machine::{RunEnd, RunState};
use words::{DEADLINE_MS_MAX, Stamp, check_id};

use crate::codes::Code;
use crate::cursor::{Cursor, List};
use crate::instant::parse_instant;
use crate::path::decode;
use crate::problem::Problem;
use crate::request::open_state;

/// The most items on a page.
pub const LIMIT_MAX: usize = 1_000;
/// The items on a page that names no limit.
pub const LIMIT_DEFAULT: usize = 100;

/// The query of `GET /v1/accounts`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountsQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// Where to go on, as the list's cursor said it.
    pub at: Option<u64>,
    /// Only accounts of this unit.
    pub unit: Option<String>,
}

/// The query of `GET /v1/accounts/{id}/transfers`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// Where to go on, as the list's cursor said it.
    pub at: Option<u64>,
    /// Only what happened at this instant or later.
    pub from: Option<Stamp>,
    /// Only what happened before this instant.
    pub to: Option<Stamp>,
}

/// The query of `GET /v1/operations/{key}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OperationQuery {
    /// How long to wait for one in flight, in milliseconds: 0 to one hour.
    pub wait_ms: u64,
}

/// The query of `GET /v1/topics/{topic}/events` and `GET /v1/subscriptions/{name}/events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventsQuery {
    /// The offset to begin at.
    pub from: u64,
    /// Events per page: 1 to 1000.
    pub limit: usize,
    /// How long to wait if there is no event yet, in milliseconds: 0 to one hour.
    pub wait_ms: u64,
}

/// The query of a list that is sorted by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamesQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// The name to begin after; empty at the beginning.
    pub after: String,
}

/// The query of `GET /v1/subscriptions/{name}/dead-letters`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LettersQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// The offset to begin at.
    pub from: u64,
}

impl AccountsQuery {
    /// Reads what follows the question mark; empty if nothing does.
    ///
    /// # Errors
    /// `invalid-request` naming the parameter, or `cursor-invalid`.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let unit = parameters.take("unit");
        if let Some(unit) = &unit {
            check_id(unit).map_err(|error| Problem::field(Code::InvalidRequest, "unit", error))?;
        }
        let at = parameters.cursor(List::Accounts, unit.as_deref().unwrap_or(""))?;
        parameters.finish(&["limit", "cursor", "unit"])?;
        Ok(Self { limit, at, unit })
    }
}

impl HistoryQuery {
    /// Reads what follows the question mark for the history of `account`.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str, account: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let at = parameters.cursor(List::Transfers, account)?;
        let (from, to) = (parameters.instant("from")?, parameters.instant("to")?);
        parameters.finish(&["limit", "cursor", "from", "to"])?;
        Ok(Self { limit, at, from, to })
    }
}

/// The query of `GET /v1/uncertain`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UncertainQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// After the call that became uncertain then, under that number.
    pub after: (Stamp, u64),
}

impl UncertainQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let after = parameters.take("cursor").map(|text| Self::place(&text)).transpose()?;
        parameters.finish(&["limit", "cursor"])?;
        Ok(Self { limit, after: after.unwrap_or((Stamp::ZERO, 0)) })
    }

    /// The cursor that goes on after that call.
    pub fn cursor((since, call): (Stamp, u64)) -> String {
        let number = call.to_string();
        format!("{}-{number}", Cursor::new(List::Uncertain, &number, since.raw()))
    }

    fn place(text: &str) -> Result<(Stamp, u64), Problem> {
        let invalid = || Problem::of(Code::CursorInvalid);
        let (cursor, number) = text.split_once('-').ok_or_else(invalid)?;
        let since = Cursor::parse(List::Uncertain, number, cursor)?;
        Ok((Stamp::from_raw(since), number.parse().map_err(|_| invalid())?))
    }
}

impl OperationQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let wait_ms = parameters.number("wait_ms", 0, DEADLINE_MS_MAX)?.unwrap_or(0);
        parameters.finish(&["wait_ms"])?;
        Ok(Self { wait_ms })
    }
}

impl EventsQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let from = parameters.number("from", 0, u64::MAX)?.unwrap_or(0);
        let limit = parameters.limit()?;
        let wait_ms = parameters.number("wait_ms", 0, DEADLINE_MS_MAX)?.unwrap_or(0);
        parameters.finish(&["from", "limit", "wait_ms"])?;
        Ok(Self { from, limit, wait_ms })
    }
}

impl NamesQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let after = parameters.take("cursor").unwrap_or_default();
        if !after.is_empty() && check_id(&after).is_err() {
            return Err(Problem::of(Code::CursorInvalid));
        }
        parameters.finish(&["limit", "cursor"])?;
        Ok(Self { limit, after })
    }
}

/// The query of `GET /v1/sagas/{name}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DefinitionQuery {
    /// Which definition; the newest if it is not said.
    pub version: Option<u64>,
}

impl DefinitionQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let version = parameters.number("version", 1, u64::MAX)?;
        parameters.finish(&["version"])?;
        Ok(Self { version })
    }
}

/// Which runs are asked for, by where they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunsIn {
    /// Open ones: all, or those in a state.
    Open(Option<RunState>),
    /// Those that ended so.
    Ended(RunEnd),
}

/// The query of `GET /v1/runs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunsQuery {
    /// Items per page: 1 to 1000.
    pub limit: usize,
    /// Where to go on, as the list's cursor said it.
    pub at: Option<u64>,
    /// Which.
    pub state: RunsIn,
    /// Only those of this saga.
    pub saga: Option<String>,
}

impl RunsQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let word = parameters.take("state");
        let state = match &word {
            None => RunsIn::Open(None),
            Some(word) => match RunEnd::ALL.into_iter().find(|end| end.as_str() == word) {
                Some(end) => RunsIn::Ended(end),
                None => RunsIn::Open(Some(open_state("state", word).map_err(|_| {
                    let what = "is delayed, running, paused, compensating, done, compensated or escalated";
                    Problem::field(Code::InvalidRequest, "state", what)
                })?)),
            },
        };
        let saga = parameters.take("saga");
        if let Some(saga) = &saga {
            check_id(saga).map_err(|error| Problem::field(Code::InvalidRequest, "saga", error))?;
        }
        let at = parameters.cursor(List::Runs, &Self::scope(state, saga.as_deref()))?;
        parameters.finish(&["limit", "cursor", "state", "saga"])?;
        Ok(Self { limit, at, state, saga })
    }

    /// The cursor that goes on at that place.
    pub fn cursor(&self, at: u64) -> String {
        Cursor::new(List::Runs, &Self::scope(self.state, self.saga.as_deref()), at).to_string()
    }

    fn scope(state: RunsIn, saga: Option<&str>) -> String {
        let state = match state {
            RunsIn::Open(state) => state.map_or("", RunState::as_str),
            RunsIn::Ended(end) => end.as_str(),
        };
        format!("{state} {}", saga.unwrap_or(""))
    }
}

impl LettersQuery {
    /// Reads what follows the question mark.
    ///
    /// # Errors
    /// As [`AccountsQuery::parse`].
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let limit = parameters.limit()?;
        let from = parameters.number("cursor", 0, u64::MAX)?.unwrap_or(0);
        parameters.finish(&["limit", "cursor"])?;
        Ok(Self { limit, from })
    }
}

/// Refuses every parameter, for paths that take none.
///
/// # Errors
/// `invalid-request` naming the first parameter.
pub fn no_query(query: &str) -> Result<(), Problem> {
    Parameters::parse(query)?.finish(&[])
}

/// Parameters that nobody has asked for yet.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode("query", name)?;
            let value = decode(&name, value)?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::field(Code::InvalidRequest, &name, "is given twice"));
            }
            parameters.push((name, value));
            // No path takes more than a handful, and each is compared with all before it.
            if parameters.len() > 16 {
                return Err(Problem::field(Code::InvalidRequest, "query", "has too many parameters"));
            }
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn number(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(n) if is_plain && (min..=max).contains(&n) => Ok(Some(n)),
            _ => Err(Problem::field(Code::InvalidRequest, name, format_args!("is a whole number from {min} to {max}"))),
        }
    }

    fn limit(&mut self) -> Result<usize, Problem> {
        let limit = self.number("limit", 1, LIMIT_MAX as u64)?;
        Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(LIMIT_DEFAULT))
    }

    fn cursor(&mut self, list: List, scope: &str) -> Result<Option<u64>, Problem> {
        self.take("cursor").map(|text| Cursor::parse(list, scope, &text)).transpose()
    }

    fn instant(&mut self, name: &str) -> Result<Option<Stamp>, Problem> {
        self.take(name).map(|text| parse_instant(name, &text)).transpose()
    }

    fn finish(&self, known: &[&str]) -> Result<(), Problem> {
        let Some((name, _)) = self.0.first() else { return Ok(()) };
        let what = match known {
            [] => "unknown parameter, this path takes none".to_owned(),
            _ => format!("unknown parameter, known are {}", known.join(", ")),
        };
        Err(Problem::field(Code::InvalidRequest, name, what))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        assert_eq!(AccountsQuery::parse(""), Ok(AccountsQuery { limit: 100, at: None, unit: None }));
        let cursor = Cursor::new(List::Accounts, "EUR/cent", 7);
        assert_eq!(
            AccountsQuery::parse(&format!("unit=EUR%2Fcent&limit=1000&cursor={cursor}")),
            Ok(AccountsQuery { limit: 1_000, at: Some(7), unit: Some("EUR/cent".to_owned()) })
        );
        let history = HistoryQuery::parse("from=1970-01-01T00:00:01Z&to=1970-01-01T00%3A00%3A02Z", "a").unwrap();
        assert_eq!(history.from, Some(Stamp::from_micros(1_000_000)));
        assert_eq!(history.to, Some(Stamp::from_micros(2_000_000)));
        assert_eq!(OperationQuery::parse("wait_ms=250"), Ok(OperationQuery { wait_ms: 250 }));
        let after = (Stamp::from_micros(7), 12);
        let cursor = UncertainQuery::cursor(after);
        assert_eq!(UncertainQuery::parse(&format!("cursor={cursor}")), Ok(UncertainQuery { limit: 100, after }));
        assert!(UncertainQuery::parse(&format!("cursor={cursor}3")).is_err());
    }

    #[test]
    fn refused_by_name() {
        let other = Cursor::new(List::Accounts, "USD", 7);
        for (query, code, field) in [
            ("limit=0", Code::InvalidRequest, Some("limit")),
            ("limit=1001", Code::InvalidRequest, Some("limit")),
            ("limit=-1", Code::InvalidRequest, Some("limit")),
            ("limit=+1", Code::InvalidRequest, Some("limit")),
            ("limit=1e2", Code::InvalidRequest, Some("limit")),
            ("limit=99999999999999999999999", Code::InvalidRequest, Some("limit")),
            ("limit", Code::InvalidRequest, Some("limit")),
            ("limit=1&limit=2", Code::InvalidRequest, Some("limit")),
            ("unit=", Code::InvalidRequest, Some("unit")),
            ("unit=a%20b", Code::InvalidRequest, Some("unit")),
            ("unit=%zz", Code::InvalidRequest, Some("unit")),
            ("colour=red", Code::InvalidRequest, Some("colour")),
            ("from=1970-01-01T00:00:01Z", Code::InvalidRequest, Some("from")),
            ("cursor=garbage", Code::CursorInvalid, None),
            (&format!("unit=EUR&cursor={other}"), Code::CursorInvalid, None),
        ] {
            let problem = AccountsQuery::parse(query).expect_err(query);
            assert_eq!((problem.code, problem.field_name()), (code, field), "{query}");
        }
        assert_eq!(HistoryQuery::parse("from=yesterday", "a").unwrap_err().field_name(), Some("from"));
        assert_eq!(OperationQuery::parse("wait_ms=3600001").unwrap_err().field_name(), Some("wait_ms"));
        assert_eq!(no_query("a=1").unwrap_err().field_name(), Some("a"));
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(any in "\\PC{0,60}", near in "((limit|cursor|unit|from|to|wait_ms)=[0-9a-zT:%-]{0,9}&?){0,4}") {
            for query in [any, near] {
                let _ = (AccountsQuery::parse(&query), HistoryQuery::parse(&query, "a"), OperationQuery::parse(&query));
            }
        }
    }
}
