//! How a command ends: exit codes that tell the three outcomes apart.

use std::process::ExitCode;

/// What `--help` says of it.
pub(crate) const HELP: &str = "\
Exit codes:
   0  committed, or done
   1  failed for another reason: a file, a directory
   2  usage: what was asked for is not a request
  10  refused: certainly not happened
  20  uncertain: nobody knows yet; `tertium op settle KEY` makes it definite
  30  not answered: the server could not be asked, or does not say; what became of an operation is as unknown as it was
  40  a history is illegal: no order of its operations explains what clients saw (check)
  41  a history is undecided: the bounds were reached first (check)
  70  a server stopped because its data could not be made durable, or could not be trusted (dev, serve)
  78  a server could not start (dev, serve)";

/// An ending that is no failure of the command itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    Done,
    Failed,
    Refused,
    Uncertain,
    Unanswered,
    /// Of a history, not of an operation: the three outcomes have codes of their own.
    Illegal,
    Undecided,
}

/// A command that could not be carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    pub(crate) message: String,
}

pub(crate) type Ended = Result<Exit, Failure>;

impl Failure {
    /// It went wrong.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// What was asked for is not a request.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: wire::codes::EXIT_USAGE, message: message.into() }
    }

    /// Nobody said what was asked for.
    pub(crate) fn unanswered(message: impl Into<String>) -> Self {
        Self { code: wire::codes::EXIT_UNANSWERED, message: message.into() }
    }

    /// A question about an operation has no answer. What refuses the question says nothing of the operation.
    pub(crate) fn of_question(error: &client::ReadError) -> Self {
        match error {
            client::ReadError::Refused(problem) if code_of(problem) == wire::codes::EXIT_USAGE => {
                Self::refused(problem)
            }
            error => Self::unanswered(error.to_string()),
        }
    }

    /// A server said no.
    pub(crate) fn refused(problem: &client::Problem) -> Self {
        let mut message = problem.to_string();
        // One error is in the detail already.
        for wrong in problem.errors.iter().filter(|_| problem.errors.len() > 1) {
            let at = if wrong.pointer.is_empty() { String::new() } else { format!("{}: ", wrong.pointer) };
            message.push_str(&format!("\n  {at}{}", wrong.detail));
        }
        Self { code: code_of(problem), message }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

const FAILED: u8 = 1;
const ILLEGAL: u8 = 40;
const UNDECIDED: u8 = 41;

/// As the table of codes says; for a code it does not know, what its outcome says.
pub(crate) fn code_of(problem: &client::Problem) -> u8 {
    match wire::Code::parse(&problem.code) {
        Some(code) => code.row().exit,
        None if problem.outcome == "uncertain" => wire::codes::EXIT_UNCERTAIN,
        None => wire::codes::EXIT_REFUSED,
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => wire::codes::EXIT_COMMITTED,
            Exit::Failed => FAILED,
            Exit::Refused => wire::codes::EXIT_REFUSED,
            Exit::Uncertain => wire::codes::EXIT_UNCERTAIN,
            Exit::Unanswered => wire::codes::EXIT_UNANSWERED,
            Exit::Illegal => ILLEGAL,
            Exit::Undecided => UNDECIDED,
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<client::ReadError> for Failure {
    fn from(error: client::ReadError) -> Self {
        match error {
            client::ReadError::Refused(ref problem) => Self::refused(problem),
            client::ReadError::Lost(_) => Self::unanswered(error.to_string()),
            client::ReadError::Unreadable(_) => Self::new(error.to_string()),
        }
    }
}
