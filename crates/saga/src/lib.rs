//! Sagas as data: definitions checked whole, laid out for the machine, and their expressions evaluated within bounds.
//!
//! A [`Definition`] is read from JSON or YAML and either is right or says everything that is wrong with it. It is turned
//! into a [`Plan`], which the machine holds and which knows no expressions; what a step asks for is computed here, from
//! the run's input and the outputs of the steps before it, by [`evaluate()`].
//!
//! ```
//! let definition = saga::from_yaml(r#"
//! name: refund
//! steps:
//!   - id: pay
//!     transfer: { from: shop, to: "${input.customer}", amount: "${input.amount}" }
//!     compensate: { reverse: true }
//!   - id: tell
//!     event: { topic: refunds, type: refund.paid, data: { transfer: "${steps.pay.id}" } }
//! "#).expect("it is right");
//! assert_eq!(definition.plan().steps[1].after, [0]);
//!
//! let input = serde_json::json!({ "customer": "ada", "amount": 1250 });
//! let context = saga::Context::new("run-1", "refund", input, serde_json::Map::new());
//! let saga::StepInput::Transfer(transfer) = saga::evaluate(&definition, 0, saga::Phase::Act, &context).expect("it fits")
//! else { unreachable!("the first step is a transfer") };
//! assert_eq!((&*transfer.to, transfer.amount), ("ada", 1250));
//! ```

mod decode;
mod definition;
mod evaluate;
mod expression;
mod fault;
mod fields;
mod input;
mod keep;
mod link;
mod number;
mod plan;
mod run_expression;
mod secret;
mod template;
mod text;
mod url;
mod yaml;

pub use definition::{
    ATTEMPTS_MAX, Action, Bounds, CALL_TIMEOUT_MS, Call, Compensation, DEADLINE_MS, Definition, Doubt, Event, Nested,
    Order, Probe, STEPS_MAX, Step, TIMEOUT_MS, TIMER_MS, Timer,
};
pub use evaluate::{
    CallInput, Context, EventInput, Phase, ProbeInput, RunInput, StepInput, TransferInput, evaluate, evaluate_output,
};
pub use expression::{EXPRESSION_BYTES_MAX, EXPRESSION_OPENINGS_MAX, Expression};
pub use fault::{DefinitionError, EvaluationError, Fault, Problem};
pub use input::{Kind, Parameter};
pub use machine::{Plan, PlannedCompensation, PlannedStep, StepKind};
pub use run_expression::{EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX};
pub use template::Template;
pub use text::{DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, from_json, from_yaml};
