//! What an answer to an append means: done, certainly not done, or nobody knows.
//!
//! The append is one statement in a transaction of its own. Where the server reports an ERROR, that transaction is rolled
//! back: once its commit is in the write-ahead log, PostgreSQL can only warn (the wait for a standby was cancelled) or end
//! (FATAL, PANIC). An ERROR is nevertheless taken as certain only where its code says that it came from before the commit;
//! what is not in the table is not known.

use tokio_postgres::error::Severity;

/// What an answer other than a row count means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Certainly not done: the storage is full.
    Full,
    /// Certainly not done: the partition for this index is not there.
    NoPartition,
    /// Certainly not done, for another reason that may pass.
    NotDone(&'static str),
    /// Nobody knows.
    Unknown,
}

const FULL: Verdict = Verdict::Full;
const RESOURCES: Verdict = Verdict::NotDone("the database is out of memory, connections or another resource");
const READ_ONLY: Verdict = Verdict::NotDone("the database is read-only");
const WAITED: Verdict =
    Verdict::NotDone("another transaction on the same entry was waited for too long, or was in the way");
const NO_RIGHT: Verdict = Verdict::NotDone("the role may not insert into the table of entries");
const NO_TABLE: Verdict = Verdict::NotDone("the log's tables are not as they were");

/// Codes of ERRORs that come before the commit, by <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const CERTAIN: &[(&str, Verdict)] = &[
    ("53100", FULL),
    ("53000", RESOURCES),
    ("53200", RESOURCES),
    ("53300", RESOURCES),
    ("53400", RESOURCES),
    ("25006", READ_ONLY),
    // A statement is cancelled while it is executed; a wait for a standby that is cancelled only warns.
    ("57014", WAITED),
    ("55P03", WAITED),
    ("40001", WAITED),
    ("40P01", WAITED),
    // "no partition of relation found for row" is a check that failed.
    ("23514", Verdict::NoPartition),
    ("42501", NO_RIGHT),
    ("42P01", NO_TABLE),
    ("42703", NO_TABLE),
    ("3F000", NO_TABLE),
    // "cached plan must not change result type".
    ("0A000", NO_TABLE),
    // The prepared statement is gone: a connection pooler is in between.
    ("26000", NO_TABLE),
];

/// What an error of the server says of the append that it answers.
pub(crate) fn judge(severity: Option<Severity>, code: &str) -> Verdict {
    if severity != Some(Severity::Error) {
        return Verdict::Unknown;
    }
    CERTAIN.iter().find(|(certain, _)| *certain == code).map_or(Verdict::Unknown, |(_, verdict)| *verdict)
}

/// Whether a notice of this severity casts doubt on what was answered beside it.
pub(crate) fn casts_doubt(severity: Option<Severity>) -> bool {
    match severity {
        Some(Severity::Notice | Severity::Debug | Severity::Info | Severity::Log) => false,
        Some(Severity::Warning | Severity::Error | Severity::Fatal | Severity::Panic) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_and_what_is_not() {
        use Severity::{Error, Fatal, Panic, Warning};
        let table = [
            (Some(Error), "53100", FULL, "the disk is full"),
            (Some(Error), "53200", RESOURCES, "no memory"),
            (Some(Error), "25006", READ_ONLY, "a read-only transaction"),
            (Some(Error), "57014", WAITED, "statement_timeout, or cancelled by hand, while executing"),
            (Some(Error), "55P03", WAITED, "lock_timeout"),
            (Some(Error), "40001", WAITED, "serialization"),
            (Some(Error), "40P01", WAITED, "deadlock"),
            (Some(Error), "23514", Verdict::NoPartition, "no partition"),
            (Some(Error), "42501", NO_RIGHT, "no right"),
            (Some(Error), "42P01", NO_TABLE, "no table"),
            (Some(Error), "58030", Verdict::Unknown, "an I/O error: nobody knows what the disk has"),
            (Some(Error), "XX000", Verdict::Unknown, "an internal error"),
            (Some(Error), "XX001", Verdict::Unknown, "damaged data"),
            (Some(Error), "99999", Verdict::Unknown, "a code that is not known here"),
            (Some(Error), "57P01", Verdict::Unknown, "no error has this code, but if one had"),
            (Some(Fatal), "57P01", Verdict::Unknown, "terminated, perhaps while committing"),
            (Some(Fatal), "57P02", Verdict::Unknown, "another backend crashed"),
            (Some(Fatal), "53100", Verdict::Unknown, "the same code, but the session ended with it"),
            (Some(Panic), "53100", Verdict::Unknown, "the write-ahead log had no room"),
            (Some(Warning), "01000", Verdict::Unknown, "a warning is no answer"),
            (None, "53100", Verdict::Unknown, "a severity that is not known here"),
        ];
        for (severity, code, expected, why) in table {
            assert_eq!(judge(severity, code), expected, "{code}: {why}");
        }
    }

    #[test]
    fn warnings_cast_doubt_and_chatter_does_not() {
        for (severity, expected) in [
            (Some(Severity::Notice), false),
            (Some(Severity::Info), false),
            (Some(Severity::Log), false),
            (Some(Severity::Debug), false),
            (Some(Severity::Warning), true),
            (None, true),
        ] {
            assert_eq!(casts_doubt(severity), expected, "{severity:?}");
        }
    }
}
