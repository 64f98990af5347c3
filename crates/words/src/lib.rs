//! The nouns every other crate speaks: keys, amounts, stamps, positions, outcomes, deadlines, sessions. No I/O.
//!
//! Nothing here reads a clock, allocates a socket or knows a format that strangers see. A value that exists is valid:
//! each constructor checks its bounds and says what was wrong, so that what is inside never has to check again.

mod amount;
mod deadline;
mod fingerprint;
mod id;
mod key;
mod outcome;
mod position;
mod retry_after;
mod session;
mod stamp;
mod transfer_id;

pub use amount::{AMOUNT_MAX, Amount, AmountError};
pub use deadline::{DEADLINE_DEFAULT_MS, DEADLINE_MS_MAX, Deadline, DeadlineError};
pub use fingerprint::Fingerprint;
pub use id::{ID_BYTES_MAX, IdError, check_id};
pub use key::{KEY_BYTES_MAX, Key, KeyError, check_key, key_time_ms};
pub use outcome::Outcome;
pub use position::{CELL_BYTES_MAX, CellName, Position, PositionError, WirePosition};
pub use retry_after::{RETRY_AFTER_MAX, retry_after};
pub use session::{SESSION_CELLS_MAX, Session, SessionError};
pub use stamp::{Clock, STAMP_COUNTER_BITS, Stamp};
pub use transfer_id::{TransferId, TransferIdError};
