//! The decisions, as one table: what is in the row, what arrives, what it is told. No database is in sight here.
//!
//! | the row | a step arrives | a compensation or a probe asks for it |
//! |---|---|---|
//! | was not there | enters | bars it: it never ran |
//! | answered, same fingerprint | the first answer | the first answer |
//! | answered, other fingerprint | reused | the first answer |
//! | barred | barred | it never ran |
//! | entered, by this very transaction | a mistake | a mistake |
//! | entered, by a rival in flight | waits; in flight, where it takes too long | the same |
//! | collected while we looked | in flight: ask again | the same |
//!
//! The last but one never reaches this table: the databases let nobody see it.

use words::Fingerprint;

use crate::{Answer, Compensation, Entry, Error, Settled, Step, Ticket};

/// What is in the place of a key, after an attempt to take it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Nothing was; now it is ours.
    Taken,
    /// Entered in this transaction and not finished.
    Entered,
    /// Answered before.
    Answered { fingerprint: Fingerprint, answer: Answer },
    /// Taken by somebody who asked.
    Barred,
    /// There was a row a moment ago, and now there is none.
    Gone,
}

/// A row's columns, as both databases have them.
pub(crate) struct Columns {
    pub(crate) state: String,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) status: Option<i64>,
    pub(crate) headers: Option<String>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Place {
    /// Reads a row.
    pub(crate) fn of(columns: Columns) -> Result<Self, Error> {
        match (columns.state.as_str(), columns.fingerprint, columns.status, columns.headers, columns.body) {
            ("entered", ..) => Ok(Self::Entered),
            ("barred", ..) => Ok(Self::Barred),
            ("answered", Some(fingerprint), Some(status), Some(headers), Some(body)) => {
                let bytes = fingerprint.try_into().map_err(|_| Error::Damaged("fingerprint"))?;
                let answer = Answer::from_stored(status, &headers, body).ok_or(Error::Damaged("answer"))?;
                Ok(Self::Answered { fingerprint: Fingerprint::from_bytes(bytes), answer })
            }
            ("answered", ..) => Err(Error::Damaged("answered without an answer")),
            _ => Err(Error::Damaged("state")),
        }
    }
}

/// What a step is told.
pub(crate) fn enter(place: Place, asks: Fingerprint, ticket: Ticket) -> Result<Entry, Error> {
    match place {
        Place::Taken => Ok(Entry::First(ticket)),
        Place::Answered { fingerprint, answer } if fingerprint == asks => Ok(Entry::Again(answer)),
        Place::Answered { .. } => Ok(Entry::Reused),
        Place::Barred => Ok(Entry::Barred),
        Place::Entered => Err(Error::Unfinished),
        Place::Gone => Err(Error::InFlight),
    }
}

/// What somebody is told who asks for a step.
pub(crate) fn settle(place: Place) -> Result<Settled, Error> {
    match place {
        Place::Taken | Place::Barred => Ok(Settled::Barred),
        Place::Answered { answer, .. } => Ok(Settled::Answered(answer)),
        Place::Entered => Err(Error::Unfinished),
        Place::Gone => Err(Error::InFlight),
    }
}

/// What is to be undone, once the step is settled.
pub(crate) fn step(settled: Settled) -> Step {
    match settled {
        Settled::Answered(answer) if answer.is_committed() => Step::Ran(answer),
        Settled::Answered(answer) => Step::Refused(answer),
        Settled::Barred => Step::NeverRan,
    }
}

/// A compensation that is not the first is told what any call is told.
pub(crate) fn compensation(entry: Entry) -> Result<Ticket, Compensation> {
    match entry {
        Entry::First(ticket) => Ok(ticket),
        Entry::Again(answer) => Err(Compensation::Again(answer)),
        Entry::Barred => Err(Compensation::Barred),
        Entry::Reused => Err(Compensation::Reused),
        Entry::Stale(token) => Err(Compensation::Stale(token)),
    }
}

/// A token or an offset in the type the databases have.
pub(crate) fn signed(value: u64) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::OutOfRange(value))
}

/// And back; only a damaged row holds one that is negative.
pub(crate) fn unsigned(value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Damaged("a negative token"))
}

#[cfg(test)]
mod tests {
    use words::Key;

    use super::*;

    #[track_caller]
    fn check(place: Place, entry: &str, settled: &str) {
        let ticket = Ticket { key: Key::new("k").unwrap() };
        let entered = enter(place.clone(), Fingerprint::of(b"a"), ticket);
        assert_eq!(brief(&format!("{entered:?}")), entry, "{place:?}");
        assert_eq!(brief(&format!("{:?}", settle(place.clone()))), settled, "{place:?}");
    }

    /// Only the names of the variants, down to the one that decides.
    fn brief(text: &str) -> String {
        let text = text.split(" {").next().unwrap();
        text.chars().filter(|c| *c != ')').collect()
    }

    #[test]
    fn the_table() {
        let answer = Answer::new(201, "b");
        let answered = |of: &[u8]| Place::Answered { fingerprint: Fingerprint::of(of), answer: answer.clone() };
        check(Place::Taken, "Ok(First(Ticket", "Ok(Barred");
        check(answered(b"a"), "Ok(Again(Answer", "Ok(Answered(Answer");
        check(answered(b"other"), "Ok(Reused", "Ok(Answered(Answer");
        check(Place::Barred, "Ok(Barred", "Ok(Barred");
        check(Place::Entered, "Err(Unfinished", "Err(Unfinished");
        check(Place::Gone, "Err(InFlight", "Err(InFlight");
    }

    #[test]
    fn only_what_committed_is_undone() {
        for (status, ran) in [(200, true), (204, true), (299, true), (300, false), (404, false), (409, false)] {
            let answer = Answer::new(status, "");
            let expected = if ran { Step::Ran(answer.clone()) } else { Step::Refused(answer.clone()) };
            assert_eq!(step(Settled::Answered(answer)), expected);
        }
        assert_eq!(step(Settled::Barred), Step::NeverRan);
    }

    #[test]
    fn a_damaged_row_is_found() {
        let columns = |state: &str, fingerprint: &[u8], status| Columns {
            state: state.into(),
            fingerprint: Some(fingerprint.to_vec()),
            status,
            headers: Some(String::new()),
            body: Some(Vec::new()),
        };
        for damaged in [
            columns("answered", b"short", Some(200)),
            columns("answered", &[0; 16], None),
            columns("answered", &[0; 16], Some(-1)),
            columns("", &[0; 16], Some(200)),
        ] {
            assert!(matches!(Place::of(damaged), Err(Error::Damaged(_))));
        }
        assert!(matches!(Place::of(columns("answered", &[0; 16], Some(200))), Ok(Place::Answered { .. })));
    }

    #[test]
    fn numbers_that_the_databases_have_no_type_for_are_refused() {
        assert!(matches!(signed(i64::MAX as u64), Ok(i64::MAX)));
        assert!(matches!(signed(1 << 63), Err(Error::OutOfRange(_))));
        assert!(matches!(unsigned(-1), Err(Error::Damaged(_))));
    }
}
