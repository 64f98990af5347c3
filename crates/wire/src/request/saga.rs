//! What is asked of sagas and runs. Definitions are read elsewhere: here they are taken as they were laid out.

use machine::{Control, Op, Plan, RUN_MS_MAX, RunEnd, RunState, SagaOp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::metadata::{Bounds, canonical_json};
use super::object::{Object, Text, read};
use super::{NothingIn, checked_id, command, or_empty_object};
use crate::codes::Code;
use crate::problem::Problem;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// The largest input of a run, and what a run gives, in bytes of JSON.
pub const RUN_INPUT_BYTES_MAX: usize = 256 << 10;
/// How deeply the input of a run may be nested, itself included.
const RUN_INPUT_DEPTH_MAX: usize = 32;

/// The command of `PUT /v1/sagas/{name}`, of a definition that was checked: its plan, and its canonical JSON.
pub fn define(name: &str, plan: &Plan, document: &str, principal: &str, key: &str) -> Vec<u8> {
    let mut laid_out = Vec::with_capacity(256);
    plan.encode(&mut laid_out);
    let op = SagaOp::Define { name, plan: &laid_out, document };
    command(principal, key, &Op::Saga(op), laid_out.len() + document.len())
}

/// The command of `POST /v1/sagas/{name}/runs`. `check` is given the canonical input.
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_run(
    saga: &str,
    body: &[u8],
    principal: &str,
    key: &str,
    check: impl FnOnce(&str) -> Result<(), Problem>,
) -> Result<Vec<u8>, Problem> {
    let Object(RunIn { input, delay_ms, deadline_ms }) = read(or_empty_object(body))?;
    let bounds = Bounds { bytes_max: RUN_INPUT_BYTES_MAX, depth_max: RUN_INPUT_DEPTH_MAX };
    let input = input.map_or(Ok("{}".to_owned()), |input| canonical_json("input", input.get(), bounds))?;
    let delay_ms = delay_ms.map_or(Ok(0), |ms| check_ms("delay_ms", ms, 0))?;
    let deadline_ms = deadline_ms.map(|ms| check_ms("deadline_ms", ms, 1)).transpose()?;
    check(&input)?;
    let op = SagaOp::Start { saga, input: &input, delay_ms, deadline_ms };
    Ok(command(principal, key, &Op::Saga(op), body.len()))
}

fn check_ms(field: &str, ms: u64, least: u64) -> Result<u64, Problem> {
    if (least..=RUN_MS_MAX).contains(&ms) {
        return Ok(ms);
    }
    let what = format!("is {least} to {RUN_MS_MAX} milliseconds, this is {ms}");
    Err(Problem::field(Code::InvalidRequest, field, what))
}

/// What is to become of runs, by the last segment of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlVerb {
    /// `.../cancel`
    Cancel,
    /// `.../pause`
    Pause,
    /// `.../resume`
    Resume,
    /// `.../restart`
    Restart,
}

impl ControlVerb {
    /// The verb of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "cancel" => Self::Cancel,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "restart" => Self::Restart,
            _ => return None,
        })
    }
}

/// The command of `POST /v1/runs/{id}/...`. `step_of` gives the number of a step of the run's definition.
///
/// # Errors
/// As [`parse_run`], and those of `step_of`.
pub fn parse_control(
    run: u64,
    verb: ControlVerb,
    body: &[u8],
    principal: &str,
    key: &str,
    step_of: impl FnOnce(&str) -> Result<u32, Problem>,
) -> Result<Vec<u8>, Problem> {
    let control = match plain_control(verb) {
        None => {
            let Object(FromIn { from }) = read(body)?;
            Control::Restart { step: step_of(checked_id("from", &from.0)?)? }
        }
        Some(control) => {
            let Object(NothingIn {}) = read(or_empty_object(body))?;
            control
        }
    };
    Ok(command(principal, key, &Op::Saga(SagaOp::Control { run, control }), 0))
}

/// The command of `POST /v1/runs/cancel`, `.../pause`, `.../resume` and `.../restart`: of all runs that the body means.
///
/// # Errors
/// As [`parse_run`].
pub fn parse_control_many(verb: ControlVerb, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let control = plain_control(verb);
    let (FilterIn { saga, state, limit, cursor }, from) = match control {
        Some(_) => (read::<Object<FilterIn<'_>>>(body)?.0, None),
        None => {
            let Object(RestartsIn { saga, state, from, limit, cursor }) = read(body)?;
            (FilterIn { saga, state, limit, cursor }, from)
        }
    };
    if saga.is_none() && state.is_none() {
        let what = "name a saga, a state, or both: not every run there is will be meant";
        return Err(Problem::field(Code::InvalidRequest, "saga", what));
    }
    let limit = limit.unwrap_or(LIMIT_DEFAULT as u64);
    if !(1..=LIMIT_MAX as u64).contains(&limit) {
        let what = format!("is a whole number from 1 to {LIMIT_MAX}");
        return Err(Problem::field(Code::InvalidRequest, "limit", what));
    }
    let after = match cursor {
        None => 0,
        Some(Text(cursor)) => cursor.parse().map_err(|_| Problem::of(Code::CursorInvalid))?,
    };
    let saga = saga.as_ref().map_or(Ok(""), |Text(saga)| checked_id("saga", saga))?;
    let op = match control {
        Some(control) => {
            let state = state.as_ref().map(|Text(state)| open_state("state", state)).transpose()?;
            SagaOp::ControlMany { control, saga, state, after, limit }
        }
        None if state.as_ref().is_some_and(|Text(state)| state != RunEnd::Escalated.as_str()) => {
            return Err(Problem::field(Code::InvalidRequest, "state", "is escalated: no other runs are restarted"));
        }
        None => {
            let from = from.as_ref().map_or(Ok(""), |Text(from)| checked_id("from", from))?;
            SagaOp::RestartMany { saga, from, before: after, limit }
        }
    };
    Ok(command(principal, key, &Op::Saga(op), 0))
}

/// What is the same for one run and for many.
const fn plain_control(verb: ControlVerb) -> Option<Control> {
    match verb {
        ControlVerb::Cancel => Some(Control::Cancel),
        ControlVerb::Pause => Some(Control::Pause),
        ControlVerb::Resume => Some(Control::Resume),
        ControlVerb::Restart => None,
    }
}

/// The state of open runs of that name.
pub(crate) fn open_state(field: &str, text: &str) -> Result<RunState, Problem> {
    let found = RunState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| Problem::field(Code::InvalidRequest, field, "is delayed, running, paused or compensating"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunIn<'a> {
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    delay_ms: Option<u64>,
    #[serde(default)]
    deadline_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromIn<'a> {
    #[serde(borrow)]
    from: Text<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterIn<'a> {
    #[serde(borrow, default)]
    saga: Option<Text<'a>>,
    #[serde(borrow, default)]
    state: Option<Text<'a>>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(borrow, default)]
    cursor: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartsIn<'a> {
    #[serde(borrow, default)]
    saga: Option<Text<'a>>,
    #[serde(borrow, default)]
    state: Option<Text<'a>>,
    #[serde(borrow, default)]
    from: Option<Text<'a>>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(borrow, default)]
    cursor: Option<Text<'a>>,
}
