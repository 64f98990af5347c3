//! What the steps of runs ask for: computed from definitions and from what was done so far, and brought back as commands.
//!
//! Expressions take time on a processor and wait for nothing, so they have threads of their own, few at a time. What they
//! give passes the same checks as what a caller sends: a transfer those of `POST /v1/transfers`, a call those of
//! `POST /v1/calls`, the addresses that may be called among them.

use std::sync::Arc;

use call::AddressPolicy;
use cell::{CellHandle, Evaluation, Found, Level, Query, Read, ReadReply, SagaFound, SagaQuery, StepOutput};
use machine::{
    Ask, Body, CALL_MS_BOUNDS, CallOrder, Command, Corrupt, Op, Record, SagaOp, SagaRecord, StepEvent, StepFound,
    StepReport, TopicRecord,
};
use saga::{CallInput, Context, Definition, EventInput, Phase, StepInput, TransferInput};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use wire::Problem;
use wire::request::{self, EventForm, RUN_INPUT_BYTES_MAX};
use words::{Stamp, TransferId};

use crate::Performing;
use crate::attempt::EVIDENCE_BYTES_MAX;
use crate::definitions::Definitions;
use crate::destination::check_asked;
use crate::submit::submit;

/// How long the cell may take to say how a saga is defined, in microseconds.
const ASK_US_MAX: u64 = 10_000_000;
/// The most tries in a row that a call may have.
const CALL_TRIES_MAX: u32 = 4;
/// The key under which requests are read here: the machine gives each step its own.
const NO_KEY: &str = "step";

/// Computes what steps ask for.
#[derive(Clone)]
pub(crate) struct Evaluator {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Arc<dyn AddressPolicy>,
    /// Stands for the cell in the ids of its runs.
    cell_tag: u64,
    definitions: Definitions,
    /// How many may be computed at a time.
    room: Arc<Semaphore>,
}

/// What a step asks for, or what a run gives.
#[derive(Debug)]
enum Computed {
    Do(Vec<u8>),
    Publish(Box<EventInput>),
    Wait { ms: u64 },
    Start { saga: String, input: String },
    Output(String),
}

impl Evaluator {
    pub(crate) fn new(cell: &CellHandle, addresses: Arc<dyn AddressPolicy>, definitions: Definitions) -> Self {
        let at_a_time = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            shared: Arc::new(Shared {
                addresses,
                cell_tag: TransferId::cell_tag(cell.cell()),
                definitions,
                room: Arc::new(Semaphore::new(at_a_time)),
            }),
        }
    }

    /// Computes it, and tells the cell.
    pub(crate) async fn evaluate(self, cell: CellHandle, evaluation: Box<Evaluation>, _performing: Performing) {
        let shared = self.shared;
        // Never closed, so there is a place sooner or later.
        let Ok(place) = Arc::clone(&shared.room).acquire_owned().await else { return };
        let evaluation: Arc<Evaluation> = Arc::from(evaluation);
        let computed = spawn_blocking({
            let (shared, evaluation) = (Arc::clone(&shared), Arc::clone(&evaluation));
            move || shared.compute(&evaluation)
        });
        let computed = computed.await.unwrap_or_else(|_| Err("it could not be computed".to_owned()));
        drop(place);
        let computed = match computed {
            Ok(Computed::Start { saga, input }) => shared.check_nested(&cell, saga, input).await,
            other => other,
        };
        submit(&cell, command_of(&evaluation, &computed)).await;
    }
}

impl Shared {
    /// Checks the input of a run that a step starts, as that of a run that a caller starts. Whether there is such a saga is
    /// the machine's to say.
    async fn check_nested(&self, cell: &CellHandle, saga: String, input: String) -> Result<Computed, String> {
        let (sender, receiver) = oneshot::channel();
        let query = Query::Sagas(SagaQuery::Definition { name: saga.clone(), version: None });
        let deadline_us = cell.now_us().saturating_add(ASK_US_MAX);
        // The receiver lives until the answer is there.
        cell.read(Read { level: Level::Eventual, deadline_us, query }, move |reply| drop(sender.send(reply)));
        if let Ok(ReadReply { found: Ok(Found::Sagas(SagaFound::Definition(record))), .. }) = receiver.await {
            let definition = self.definitions.parsed(&record)?;
            let checked = definition.check_input(&of_json(input.as_bytes()));
            checked.map_err(|error| format!("saga.input: {error}"))?;
        }
        Ok(Computed::Start { saga, input })
    }

    fn compute(&self, evaluation: &Evaluation) -> Result<Computed, String> {
        let definition = self.definitions.parsed(&evaluation.defined)?;
        let context = self.context(evaluation, &definition).map_err(|error| error.to_string())?;
        let phase = match evaluation.ask {
            Ask::Act => Phase::Act,
            Ask::Compensate => Phase::Compensate,
            Ask::Output => {
                let output = saga::evaluate_output(&definition, &context).map_err(|error| error.to_string())?;
                return bounded(&output, "output").map(Computed::Output);
            }
        };
        let step = evaluation.step as usize;
        let input = saga::evaluate(&definition, step, phase, &context).map_err(|error| error.to_string())?;
        let tries_max = match phase {
            Phase::Act => definition.steps[step].attempts_max.min(CALL_TRIES_MAX),
            // A compensation is tried for as long as it takes; the machine begins it anew.
            Phase::Compensate => CALL_TRIES_MAX,
        };
        self.checked(input, tries_max)
    }

    fn checked(&self, input: StepInput, tries_max: u32) -> Result<Computed, String> {
        let command = match input {
            StepInput::Transfer(transfer) => request::parse_transfer(&transfer_request(&transfer)?, "", NO_KEY),
            StepInput::Capture { transfer, amount } => {
                request::parse_capture(&transfer, &part_request(amount), "", NO_KEY)
            }
            StepInput::Void { transfer } => request::parse_void(&transfer, b"", "", NO_KEY),
            StepInput::Reverse { transfer, amount } => {
                request::parse_reverse(&transfer, &part_request(amount), "", NO_KEY)
            }
            StepInput::Call(call) => {
                let body = call_request(&call, tries_max)?;
                let check = |parent: &str, asked: request::Asked<'_>| check_asked(&*self.addresses, parent, asked);
                let command = request::parse_call(&body, "", NO_KEY, check).map_err(|problem| problem.detail)?;
                return op_of(&command, &call.kept_headers.join(",")).map(Computed::Do);
            }
            StepInput::Publish(event) => return publish(*event).map(|event| Computed::Publish(Box::new(event))),
            StepInput::Wait { ms } => return Ok(Computed::Wait { ms }),
            StepInput::StartRun(run) => {
                let input = bounded(&run.input, "saga.input")?;
                return Ok(Computed::Start { saga: run.name, input });
            }
        };
        op_of(&command.map_err(|problem| problem.detail)?, "").map(Computed::Do)
    }

    fn context(&self, evaluation: &Evaluation, definition: &Definition) -> Result<Context, Corrupt> {
        let record = Record::decode(&evaluation.started)?;
        let Body::Saga(SagaRecord::Started { saga, input, .. }) = record.body else {
            return Err(Corrupt("a run that no record started"));
        };
        let id = TransferId::new(self.cell_tag, record.stamp.millis(), evaluation.run);
        let mut outputs = Map::new();
        for output in &evaluation.outputs {
            let step = definition.steps.get(output.step as usize).ok_or(Corrupt("a step that is not"))?;
            outputs.insert(step.id.clone(), value_of(output)?);
        }
        Ok(Context::new(&id.to_string(), saga, of_json(input.as_bytes()), outputs))
    }
}

/// What later steps see of a step that was done.
fn value_of(output: &StepOutput) -> Result<Value, Corrupt> {
    let record = Record::decode(&output.record)?;
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut json = Vec::with_capacity(512);
        write(&mut json);
        of_json(&json)
    };
    Ok(match record.body {
        Body::Moved(ref moved) => written(&|out| wire::view::write_transfer(out, moved)),
        Body::CallEnded(ref ended) => written(&|out| wire::call::write_response(out, ended)),
        Body::Topic(TopicRecord::Published { topic, .. }) => json!({ "topic": topic, "offset": output.ordinal }),
        Body::Saga(SagaRecord::Ended { id, output, .. }) => {
            json!({ "id": id.to_string(), "output": of_json(output.as_bytes()) })
        }
        // Of a timer there is only that it is over.
        Body::Saga(SagaRecord::Stepped { .. }) => json!({ "at": wire::instant::format_instant(record.stamp) }),
        _ => Value::Null,
    })
}

/// JSON that was checked when it came in; nothing at all is `null`.
fn of_json(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}

fn bounded(value: &Value, what: &str) -> Result<String, String> {
    let json = value.to_string();
    if json.len() > RUN_INPUT_BYTES_MAX {
        return Err(format!("{what} has at most {RUN_INPUT_BYTES_MAX} bytes of JSON, this has {}", json.len()));
    }
    Ok(json)
}

fn transfer_request(transfer: &TransferInput) -> Result<Vec<u8>, String> {
    let TransferInput { from, to, amount, hold_ms, memo, metadata } = transfer;
    let mut request = json!({ "from": from, "to": to, "amount": amount_of(*amount) });
    if let Some(hold_ms) = hold_ms {
        request["hold_ms"] = json!(hold_ms);
    }
    if !memo.is_empty() {
        request["memo"] = json!(memo);
    }
    if !metadata.is_empty() {
        request["metadata"] = serde_json::from_str(metadata).map_err(|error| error.to_string())?;
    }
    Ok(request.to_string().into_bytes())
}

fn part_request(amount: Option<u128>) -> Vec<u8> {
    amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount_of(amount) })).to_string().into_bytes()
}

/// As amounts come in: integers while they are exact in a double, decimal strings above.
fn amount_of(units: u128) -> Value {
    match u64::try_from(units) {
        Ok(small) if small <= wire::json::JSON_INTEGER_MAX => json!(small),
        _ => json!(units.to_string()),
    }
}

fn call_request(call: &CallInput, tries_max: u32) -> Result<Vec<u8>, String> {
    let headers = |headers: &[(String, String)]| {
        Value::Object(headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
    };
    let mut request = json!({
        "method": call.method,
        "url": call.url,
        "headers": headers(&call.headers),
        // The machine takes what is left of the step's time where that is less.
        "deadline_ms": CALL_MS_BOUNDS.1,
        "retry": { "tries_max": tries_max, "until_deadline": call.persistent },
        "on_uncertain": call.doubt.as_str(),
        "uncertain_ms_max": call.uncertain_ms_max,
    });
    if !call.body.is_empty() {
        request["body"] = serde_json::from_str(&call.body).map_err(|error| error.to_string())?;
    }
    if let Some(probe) = &call.probe {
        let mut asked = json!({ "url": probe.url, "headers": headers(&probe.headers), "status": probe.status });
        if let Some((pointer, values)) = &probe.value {
            asked["pointer"] = json!(pointer);
            asked["values"] = json!(values);
        }
        request["probe"] = asked;
    }
    Ok(request.to_string().into_bytes())
}

/// The event as `POST /v1/topics/{topic}/events` would take it.
fn publish(event: EventInput) -> Result<EventInput, String> {
    let EventInput { topic, kind, subject, key, data } = event;
    let mut request = json!({ "type": kind });
    for (name, text) in [("subject", &subject), ("key", &key)] {
        if !text.is_empty() {
            request[name] = json!(text);
        }
    }
    if !data.is_empty() {
        request["data"] = serde_json::from_str(&data).map_err(|error| error.to_string())?;
    }
    let told = |problem: Problem| problem.detail;
    let messages = request::parse_events(EventForm::Short, request.to_string().as_bytes()).map_err(told)?;
    let message = messages.messages().iter().next().and_then(Result::ok);
    let data = message.map(|message| message.data.to_owned()).unwrap_or_default();
    Ok(EventInput { topic, kind, subject, key, data })
}

/// The operation's bytes in a command; a call keeps those headers of its answer.
fn op_of(command: &[u8], keep: &str) -> Result<Vec<u8>, String> {
    let command = Command::decode(command).map_err(|error| error.to_string())?;
    let mut op = Vec::with_capacity(256);
    match command.op {
        Op::Call(order) => Op::Call(CallOrder { keep, ..order }),
        other => other,
    }
    .encode(&mut op);
    Ok(op)
}

/// The command that takes what was computed into the log.
fn command_of(evaluation: &Evaluation, computed: &Result<Computed, String>) -> Vec<u8> {
    let found = match computed {
        Ok(Computed::Do(op)) => StepFound::Do(op),
        Ok(Computed::Publish(event)) => {
            let EventInput { topic, kind, subject, key, data } = &**event;
            StepFound::Publish(StepEvent { topic, kind, subject, key, data })
        }
        Ok(Computed::Wait { ms }) => StepFound::Wait { ms: *ms },
        Ok(Computed::Start { saga, input }) => StepFound::Start { saga, input },
        Ok(Computed::Output(json)) => StepFound::Output(json),
        Err(why) => StepFound::Failed { evidence: &why[..why.floor_char_boundary(EVIDENCE_BYTES_MAX)] },
    };
    let Evaluation { run, step, attempt, ask, .. } = *evaluation;
    let mut command = Vec::with_capacity(256);
    machine::encode_head(&mut command, Stamp::MAX, "", "");
    Op::Saga(SagaOp::Step(StepReport { run, step, attempt, ask, found })).encode(&mut command);
    command
}
