//! What the steps of sagas ask for, as the outbox would compute it: by the real evaluation, from records.

use std::collections::BTreeMap;

use cell::Evaluation;
use machine::{
    Ask, Body, CALL_MS_BOUNDS, CallOrder, Doubt, Op, Order, Record, SagaOp, SagaRecord, StepEvent, StepFound,
    StepReport, TopicRecord, WayOut, encode_head,
};
use saga::{CallInput, Context, Definition, Phase, StepInput, TransferInput, evaluate, evaluate_output};
use serde_json::{Map, Value, json};
use words::{Amount, Stamp, TransferId};

use crate::canary::Canary;

/// The definitions that were read, by the records that hold them.
#[derive(Debug, Default)]
pub(crate) struct Evaluator {
    definitions: BTreeMap<u64, Definition>,
}

impl Evaluator {
    /// The command that says what a step asks for.
    pub(crate) fn report(&mut self, asked: &Evaluation, canary: Option<Canary>) -> Vec<u8> {
        let started = Record::decode(&asked.started).expect("the cell read it from its archive");
        let Body::Saga(SagaRecord::Started { saga, input, .. }) = started.body else {
            unreachable!("a run begins with its start")
        };
        let definition = self.definitions.entry(asked.definition).or_insert_with(|| definition(&asked.defined));
        let outputs = asked.outputs.iter().filter_map(|given| {
            let id = &definition.steps.get(given.step as usize)?.id;
            Some((id.clone(), output(&given.record)))
        });
        let input = serde_json::from_str(input).expect("clients encode it");
        let context = Context::new(&asked.run.to_string(), saga, input, outputs.collect::<Map<_, _>>());
        let phase = match asked.ask {
            Ask::Output => {
                return match evaluate_output(definition, &context) {
                    Ok(output) => report(asked, StepFound::Output(&output.to_string())),
                    Err(_) => report(asked, FAILED),
                };
            }
            Ask::Act => Phase::Act,
            Ask::Compensate => Phase::Compensate,
        };
        match evaluate(definition, asked.step as usize, phase, &context) {
            Err(_) => report(asked, FAILED),
            Ok(input) => {
                let tries_max = definition.steps[asked.step as usize].attempts_max;
                report_of(asked, &mend(input, canary), tries_max)
            }
        }
    }
}

/// With the canary, what undoes a transfer moves back only a part of it.
fn mend(input: StepInput, canary: Option<Canary>) -> StepInput {
    match input {
        StepInput::Reverse { transfer, .. } if canary == Some(Canary::UndoInPart) => {
            StepInput::Reverse { transfer, amount: Some(1) }
        }
        input => input,
    }
}

const FAILED: StepFound<'static> = StepFound::Failed { evidence: "it cannot be computed" };

fn report_of(asked: &Evaluation, input: &StepInput, tries_max: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    match input {
        StepInput::Transfer(TransferInput { from, to, amount, hold_ms, memo, metadata }) => {
            let amount = amount_of(*amount);
            Op::Transfer(Order { from, to, amount, hold_ms: *hold_ms, memo, metadata }).encode(&mut bytes);
        }
        StepInput::Capture { transfer, amount } => {
            Op::Capture { transfer: transfer_of(transfer), amount: amount.map(amount_of) }.encode(&mut bytes);
        }
        StepInput::Void { transfer } => Op::Void { transfer: transfer_of(transfer) }.encode(&mut bytes),
        StepInput::Reverse { transfer, amount } => {
            Op::Reverse { transfer: transfer_of(transfer), amount: amount.map(amount_of) }.encode(&mut bytes);
        }
        StepInput::Call(call) => Op::Call(order_of(call, tries_max)).encode(&mut bytes),
        StepInput::Publish(event) => {
            let saga::EventInput { topic, kind, subject, key, data } = &**event;
            return report(asked, StepFound::Publish(StepEvent { topic, kind, subject, key, data }));
        }
        StepInput::Wait { ms } => return report(asked, StepFound::Wait { ms: *ms }),
        StepInput::StartRun(nested) => {
            let input = nested.input.to_string();
            return report(asked, StepFound::Start { saga: &nested.name, input: &input });
        }
    }
    report(asked, StepFound::Do(&bytes))
}

fn report(asked: &Evaluation, found: StepFound<'_>) -> Vec<u8> {
    let mut command = Vec::new();
    encode_head(&mut command, Stamp::ZERO, "", "");
    let Evaluation { run, step, attempt, ask, .. } = *asked;
    Op::Saga(SagaOp::Step(StepReport { run, step, attempt, ask, found })).encode(&mut command);
    command
}

fn order_of(call: &CallInput, tries_max: u32) -> CallOrder<'_> {
    CallOrder {
        keep: "",
        method: &call.method,
        url: &call.url,
        headers: "",
        body: call.body.as_bytes(),
        // The step's time bounds it.
        deadline_ms: CALL_MS_BOUNDS.1,
        tries_max,
        persistent: call.persistent,
        doubt: match call.doubt {
            saga::Doubt::Probe => Doubt::Probe,
            saga::Doubt::Resend => Doubt::Resend,
            saga::Doubt::Escalate => Doubt::Escalate,
        },
        probe: if call.probe.is_some() { "{}" } else { "" },
        compensation: "",
        uncertain_ms_max: call.uncertain_ms_max,
        way_out: WayOut::Escalate,
    }
}

fn definition(record: &[u8]) -> Definition {
    let record = Record::decode(record).expect("the cell read it from its archive");
    let Body::Saga(SagaRecord::Defined { document, .. }) = record.body else {
        unreachable!("a definition is where its run says")
    };
    let document = serde_json::from_str(document).expect("clients encode it");
    Definition::of_document(document).expect("it was right when it was defined")
}

/// What later steps see of what a step gave.
fn output(record: &[u8]) -> Value {
    match Record::decode(record).expect("the cell read it from its archive").body {
        Body::Moved(moved) => json!({ "id": moved.transfer.to_string() }),
        Body::CallEnded(ended) => json!({ "status": ended.status }),
        Body::Saga(SagaRecord::Ended { end, output, .. }) => json!({ "end": end.as_str(), "output": output }),
        Body::Topic(TopicRecord::Published { topic, .. }) => json!({ "topic": topic }),
        _ => json!({}),
    }
}

fn amount_of(units: u128) -> Amount {
    Amount::new(units).expect("the evaluation checked it")
}

/// Where an expression gave no transfer's id, the id of one that never was.
fn transfer_of(id: &str) -> TransferId {
    TransferId::parse(id).unwrap_or_else(|_| TransferId::new(0, 0, 0))
}
