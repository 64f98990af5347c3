//! The deterministic state machine: `apply(state, entry)` decides, and does nothing else.
//!
//! It never awaits, reads a clock, draws randomness, iterates a hash map, uses floats or panics on anything that input
//! can reach. Time reaches it as stamps, the past through the [`Archive`] it is handed.

mod apply;
mod archive;
mod books;
mod call;
pub mod codec;
mod command;
mod effect;
mod inbox;
mod lease;
mod ledger;
mod machine;
mod names;
mod past;
mod record;
mod refusal;
mod saga;
mod shelf;
mod snapshot;
mod timer;
mod topic;
mod turn;

#[cfg(test)]
mod testing;

pub use apply::{Applied, ApplyError, Ended, Verdict};
pub use archive::{Archive, Fault, MemoryArchive, NameHash, foldless};
pub use call::{
    CALL_MS_BOUNDS, CallOrder, CallView, Doubt, Finding, Owner, Resolved, Tried, UNCERTAIN_MS_BOUNDS, Undoes, WayOut,
};
pub use codec::Corrupt;
pub use command::{
    BATCH_ITEMS_MAX, BatchEncoder, BatchMode, Command, ENTRY_VERSION, Entry, EntryEncoder, Item, Items, Op,
    OpenAccount, Order, encode_head, set_times,
};
pub use effect::{Ask, Effect, Phase};
pub use inbox::KEY_RETENTION_MS_DEFAULT;
pub use lease::{
    Acquire, Granted, HolderView, LEASE_CAPACITY_MAX, LEASE_LINE_MAX, LEASE_METADATA_BYTES_MAX, LEASE_TTL_MS_BOUNDS,
    LEASES_MAX, LeaseOp, LeasePage, LeaseRecord, LeaseView,
};
pub use ledger::hold::HOLD_MS_BOUNDS;
pub use machine::{AccountPage, AccountView, Machine, PAGE_BYTES_MAX, TransferState};
pub use names::Names;
pub use past::{Link, account_at, chain_link, history_step};
pub use record::{
    After, BatchItem, Body, CallAccepted, CallEnd, CallEnded, CallTried, Event, Exceptions, Moved, Opened,
    RECORD_VERSION, Record, Runs, batch_items,
};
pub use refusal::{Code, Refusal, RefusalOwned};
pub use saga::{
    COMPENSATION_SUFFIX, Control, PLAN_STEPS_MAX, Plan, PlannedCompensation, PlannedStep, RUN_MS_MAX, Reads, RunEnd,
    RunPage, RunState, RunView, SagaOp, SagaRecord, SagaView, StepEvent, StepFound, StepKind, StepOutcome, StepReport,
    StepView, StepWait, Why, ended_steps, run_id,
};
pub use snapshot::SNAPSHOT_VERSION;
pub use timer::TIMERS_PER_ENTRY_MAX;
pub use topic::{
    AttemptEnd, DEAD_LETTERS_MAX, DeadLettered, Deliveries, Delivery, DeliveryWindow, Envelope, EventRecord,
    MESSAGES_PER_PUBLISH_MAX, Message, Messages, MessagesEncoder, Miss, MissedBecause, Misses, Offsets,
    PAUSE_AFTER_MS_BOUNDS, RESERVED_PREFIX, RETENTION_MS_BOUNDS, Report, Reports, Rest, SCAN_RECORDS_MAX,
    SETTING_TEXTS_MAX, Settings, Start, SubscriptionView, TOPIC_ESCALATIONS, TOPIC_LEASES, TOPIC_LEDGER, Texts,
    TopicOp, TopicPage, TopicRecord, TopicRetention, TopicView, WindowAsk, transfer_event_type,
};
