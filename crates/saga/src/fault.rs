//! What is wrong with a definition, all of it at once, and why a step's input could not be computed.

use std::fmt;

use crate::definition::{ATTEMPTS_MAX, Bounds, STEPS_MAX};
use crate::expression::{EXPRESSION_BYTES_MAX, EXPRESSION_OPENINGS_MAX};
use crate::run_expression::{EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX};
use crate::text::{DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX};

/// A definition that cannot be used: everything that is wrong with it, in the order of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefinitionError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where: a JSON pointer (RFC 6901), empty for the whole text.
    pub at: String,
    /// What.
    pub fault: Fault,
}

/// Everything that can be wrong with a definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not JSON, or not YAML as it is read here.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        what: String,
    },
    /// More than [`DEFINITION_BYTES_MAX`].
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
    },
    /// Nested deeper than [`DEFINITION_DEPTH_MAX`].
    TooDeep,
    /// A field that there is not.
    UnknownField {
        /// Its name.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// A field of a run's input that its definition does not have.
    UnknownInput {
        /// Its name.
        name: String,
    },
    /// A field that there must be.
    MissingField {
        /// Its name.
        name: &'static str,
    },
    /// A value of another type.
    WrongType {
        /// What it should be, with its article.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number outside its bounds.
    OutOfBounds {
        /// The bounds.
        bounds: Bounds,
        /// The number as it was written.
        found: String,
    },
    /// Not an id.
    NotAnId(words::IdError),
    /// Not one of the words there are.
    UnknownWord {
        /// The word.
        word: String,
        /// The words there are.
        known: &'static [&'static str],
    },
    /// A step that is none of the kinds, or more than one.
    NotOneKind {
        /// The kinds it names.
        named: Vec<&'static str>,
        /// The kinds there are.
        known: &'static [&'static str],
    },
    /// No step at all.
    NoSteps,
    /// More than [`STEPS_MAX`].
    TooManySteps {
        /// How many there are.
        steps: usize,
    },
    /// Two steps of one id.
    DuplicateStep {
        /// The id.
        id: String,
    },
    /// A step with the name of what undoes another one.
    CompensationStep {
        /// The other one.
        undone: String,
    },
    /// A step that there is not.
    UnknownStep {
        /// The id.
        id: String,
    },
    /// Steps that wait for each other.
    Cycle {
        /// Their ids, from the first back to itself.
        ids: Vec<String>,
    },
    /// More than one pivot.
    SecondPivot {
        /// The id of the first.
        first: String,
    },
    /// A step that is not of the kind that is needed.
    WrongStep {
        /// The id.
        id: String,
        /// What it should be, with its article.
        wanted: &'static str,
    },
    /// A step that may not have ended when its output is asked for.
    NotBefore {
        /// The id.
        id: String,
    },
    /// A name at the root of an expression that there is not.
    UnknownName {
        /// The name.
        name: String,
    },
    /// A field that makes sense only beside another.
    Needs {
        /// The field.
        field: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A `${` that does not end.
    Unclosed,
    /// An expression that cannot be parsed.
    Expression(String),
    /// An expression longer than [`EXPRESSION_BYTES_MAX`].
    ExpressionTooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// An expression that opens more than [`EXPRESSION_OPENINGS_MAX`] times.
    ExpressionTooNested,
    /// A function that there is not.
    UnknownFunction {
        /// Its name.
        name: String,
    },
    /// A function with too many or too few arguments.
    Arguments {
        /// Its name.
        name: String,
        /// How many it takes.
        takes: &'static str,
    },
    /// A header that the server sets itself, or that is none.
    Header {
        /// Its name.
        name: String,
    },
    /// A header that cannot be kept, or is kept already.
    KeptHeader {
        /// Its name.
        name: String,
    },
    /// A header that is asked for, and that its step does not keep.
    HeaderNotKept {
        /// The step.
        step: String,
        /// The header.
        name: String,
    },
    /// A value that can never be what is needed.
    Value(EvaluationError),
}

/// Why something could not be computed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EvaluationError {
    /// It took more than [`EVALUATION_STEPS_MAX`] steps.
    TooLong,
    /// It made more than [`EVALUATION_BYTES_MAX`] bytes.
    TooLarge,
    /// A function or a text was given what it does not take.
    Type {
        /// By whom.
        by: String,
        /// What it takes.
        wanted: &'static str,
        /// What it was given.
        found: &'static str,
    },
    /// An integer beyond 128 bits.
    Overflow {
        /// By whom.
        by: String,
    },
    /// A division by zero.
    DivisionByZero,
    /// A field that is not what its step needs.
    Field {
        /// The field, like `transfer.amount`.
        field: String,
        /// What it must be.
        wanted: &'static str,
        /// What it is, shortened.
        found: String,
    },
    /// There is no such step, or nothing to compute for it.
    NoSuchStep,
}

impl DefinitionError {
    pub(crate) fn one(at: &str, fault: Fault) -> Self {
        Self { problems: vec![Problem { at: at.to_owned(), fault }] }
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        self.fault.fmt(f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column, what } => write!(f, "line {line}, column {column}: {what}"),
            Self::TooLarge { bytes } => {
                write!(f, "a definition has at most {DEFINITION_BYTES_MAX} bytes, this has {bytes}")
            }
            Self::TooDeep => write!(f, "a definition is nested at most {DEFINITION_DEPTH_MAX} deep"),
            Self::UnknownField { name, known } => write!(f, "there is no field `{name}`; there is {}", List(known)),
            Self::UnknownInput { name } => write!(f, "there is no input `{name}`"),
            Self::MissingField { name } => write!(f, "`{name}` is missing"),
            Self::WrongType { wanted, found } => write!(f, "must be {wanted}, is {found}"),
            Self::OutOfBounds { bounds, found } => {
                write!(f, "must be {} to {}, is {found}", bounds.least, bounds.most)
            }
            Self::NotAnId(error) => error.fmt(f),
            Self::UnknownWord { word, known } => write!(f, "`{word}` is none of {}", List(known)),
            Self::NotOneKind { named, known } if named.is_empty() => {
                write!(f, "says nothing to do: it needs one of {}", List(known))
            }
            Self::NotOneKind { named, .. } => write!(f, "does one thing, this names {}", List(named)),
            Self::NoSteps => write!(f, "there is no step"),
            Self::TooManySteps { steps } => write!(f, "there are at most {STEPS_MAX} steps, these are {steps}"),
            Self::DuplicateStep { id } => write!(f, "there are two steps `{id}`"),
            Self::CompensationStep { undone } => write!(f, "this is the name of what undoes the step `{undone}`"),
            Self::UnknownStep { id } => write!(f, "there is no step `{id}`"),
            Self::Cycle { ids } => write!(f, "these steps wait for each other: {}", ids.join(" -> ")),
            Self::SecondPivot { first } => write!(f, "there is at most one pivot, and `{first}` is it already"),
            Self::WrongStep { id, wanted } => write!(f, "`{id}` must be {wanted}"),
            Self::NotBefore { id } => write!(f, "`{id}` need not have ended then: name it in `after`"),
            Self::UnknownName { name } if name == "steps" => write!(f, "`steps` is followed by the id of one"),
            Self::UnknownName { name } => {
                write!(f, "there is no `{name}`; an expression begins at `input`, `steps` or `run`")
            }
            Self::Needs { field, needs } => write!(f, "`{field}` needs {needs}"),
            Self::Unclosed => write!(f, "`${{` without its `}}`; for the two characters themselves write `$${{`"),
            Self::Expression(what) => write!(f, "not an expression: {what}"),
            Self::ExpressionTooLong { bytes } => {
                write!(f, "an expression has at most {EXPRESSION_BYTES_MAX} bytes, this has {bytes}")
            }
            Self::ExpressionTooNested => {
                write!(f, "an expression has at most {EXPRESSION_OPENINGS_MAX} of `( [ {{ * ! &`")
            }
            Self::UnknownFunction { name } => write!(f, "there is no function `{name}`"),
            Self::Arguments { name, takes } => write!(f, "`{name}` takes {takes}"),
            Self::Header { name } => write!(f, "`{name}` is no header that a call can set"),
            Self::KeptHeader { name } => {
                let rule = "names are in lower case, each once, and neither of a connection nor credentials";
                write!(f, "`{name}` is no header that a call can keep: {rule}")
            }
            Self::HeaderNotKept { step, name } => {
                write!(f, "`{step}` does not keep the header `{name}`: name it in its `keep`")
            }
            Self::Value(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the expressions of one step take at most {EVALUATION_STEPS_MAX} steps"),
            Self::TooLarge => write!(f, "the expressions of one step make at most {EVALUATION_BYTES_MAX} bytes"),
            Self::Type { by, wanted, found } => write!(f, "{by} takes {wanted}, not {found}"),
            Self::Overflow { by } => write!(f, "{by} leaves the range of 128 bits"),
            Self::DivisionByZero => write!(f, "division by zero"),
            Self::Field { field, wanted, found } => write!(f, "{field} must be {wanted}, is {found}"),
            Self::NoSuchStep => write!(f, "the definition has no such step, or nothing to undo for it"),
        }
    }
}

/// Words in a row: `` `a`, `b` ``.
struct List<'a>(&'a [&'static str]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.0.iter().enumerate() {
            write!(f, "{}`{word}`", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl From<EvaluationError> for Fault {
    fn from(error: EvaluationError) -> Self {
        Self::Value(error)
    }
}

// What is wrong underneath is part of what each says, so none has a source.
impl std::error::Error for DefinitionError {}
impl std::error::Error for EvaluationError {}

const _: () = assert!(ATTEMPTS_MAX.least == 1, "an attempt is always made");
