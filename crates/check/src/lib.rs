//! The black-box checker: whether what clients saw can be told from one object, by calls, answers and nothing else.
//!
//! A history is linearizable (Herlihy and Wing, 1990) if each operation can be given an instant between its call and its
//! answer such that the operations, done one after the other in that order, give the answers that were given. An operation
//! of which nobody knows takes effect once at any time after its call, or never. The checker believes no positions, stamps
//! or node names: it knows the clients' own clock and what they were told.
//!
//! ```
//! let text = r#"{"model": "register"}
//! {"client": "a", "call": 0, "return": 10, "op": "write", "value": 1, "outcome": "committed"}
//! {"client": "b", "call": 12, "return": 20, "op": "read", "value": null, "outcome": "committed"}
//! "#;
//! let history = check::read(text.as_bytes(), check::Format::JsonLines, None).expect("it is one");
//! let report = check::check(&history, check::Bounds::default(), &mut |_| std::ops::ControlFlow::Continue(()));
//! let check::Verdict::Illegal(offence) = report.verdict else { unreachable!("the read missed a write that was over") };
//! assert_eq!(offence.operations, [0, 1]);
//! ```

mod admission;
mod error;
mod history;
mod ledger;
mod list;
mod part;
mod read;
mod register;
mod report;
mod search;
mod seen;
mod set;
mod taken;
mod timeline;

pub use error::HistoryError;
pub use history::{Account, Action, Answer, History, Model, ModelKind, Operation, Value};
pub use read::{Format, LINE_BYTES_MAX, OPERATIONS_MAX, read};
pub use report::{Bounds, Limit, Offence, Report, Verdict, check};
pub use timeline::timeline;
