//! The cell: owns the machine, gives operations their place in the log, applies them and answers; the only clock reader.
//!
//! [`Cell`] is the logic, without threads, clocks or a log; [`start`] runs it with all three.

mod api;
mod apply;
mod cell;
mod checkpoint;
mod clock;
mod doubt;
mod driver;
mod fault;
mod follow;
mod hand;
mod handle;
mod history;
mod house;
mod inbox;
mod leases;
mod options;
mod pending;
mod propose;
mod queue;
mod read;
mod recover;
mod role;
mod sagas;
mod topics;
mod waiting;
mod work;

#[cfg(test)]
mod testing;

pub use api::{
    Account, Answer, Counters, Decided, Found, Level, Operation, Part, Query, Read, ReadError, ReadReply, Rejected,
    Reply, Role, SETTLED_BOUNDS_MS, Status, UncertainCall, Write,
};
pub use cell::Cell;
pub use checkpoint::{
    CHECKPOINT_DIR, CheckpointError, CheckpointHead, CheckpointWriter, Loaded, list_checkpoints, load_checkpoint,
};
pub use clock::{CellClock, Now};
pub use driver::EXIT_FATAL;
pub use fault::CellFault;
pub use follow::Followed;
pub use handle::{CellHandle, OpenLog, Promoted, PromotedReply, ReadReplyTo, StartError, Stopper, WriteReply, start};
pub use history::{History, HistoryPage};
pub use house::{House, HouseError, HouseResult, HouseWork};
pub use leases::{LeaseFound, LeaseQuery};
pub use options::{Options, Turns};
pub use recover::{RecoverError, Recovery, recover};
pub use role::{Decision, Suspicion};
pub use sagas::{Made, RunFound, RunSummary, SagaFound, SagaQuery, SagaSummary, Standing};
pub use topics::{DeadLetter, TopicFound, TopicQuery};
pub use work::{Evaluation, OutboxOf, StepOutput, Work};
