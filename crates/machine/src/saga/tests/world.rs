//! The small world with sagas in it, and an outbox that is told what to find.
//!
//! ```text
//! define KEY NAME: ID[@AFTER+AFTER]=KIND[/KIND][!][*N] ...     `!` the pivot, `*N` attempts; after the one before if not said
//! start KEY NAME        delayed KEY NAME MS        do [NAME]        fail        tried FINDING
//! cancel|pause|resume KEY        restart KEY STEP [RUN]        cancel-all KEY [LIMIT AFTER]        run        pass MS
//! restart-all KEY SAGA|any [STEP] [LIMIT BEFORE]
//! tick        claim N        resolve KEY CALL committed|refused
//! ```
//!
//! `do` brings back what the oldest step asked for, `fail` that it cannot be computed, `tried` what came of the oldest call.

use std::collections::VecDeque;
use std::fmt::Write;

use words::{Stamp, TransferId};

use crate::call::{CallOrder, Doubt, Finding, Tried, Undoes, WayOut};
use crate::saga::*;
use crate::testing::{World, amount};
use crate::{Ask, Body, Effect, Op, Order, encode_head};

pub(super) struct Sagas {
    pub(super) world: World,
    /// What is to be done outside, oldest first.
    pub(super) outbox: VecDeque<Effect>,
    /// The newest run that somebody started.
    pub(super) run: u64,
    /// Of the records, how many were told.
    told: u64,
}

/// The plan that the words tell.
pub(super) fn plan(text: &str) -> Plan {
    let mut steps: Vec<PlannedStep> = Vec::new();
    for word in text.split_whitespace() {
        let (name, what) = word.split_once('=').expect("id=kind");
        let (id, after) = name.split_once('@').map_or((name, None), |(id, after)| (id, Some(after)));
        let (what, attempts) = what.split_once('*').unwrap_or((what, "1"));
        let pivot = what.ends_with('!');
        let (does, undoes) = what.trim_end_matches('!').split_once('/').unwrap_or((what.trim_end_matches('!'), ""));
        let number = |id: &str| steps.iter().position(|step| step.id == id).expect("a step before") as u32;
        let after = match after {
            Some(ids) => ids.split('+').filter(|id| !id.is_empty()).map(number).collect(),
            None => steps.len().checked_sub(1).map(|before| before as u32).into_iter().collect(),
        };
        let compensation = (!undoes.is_empty()).then(|| PlannedCompensation {
            kind: kind(undoes.trim_end_matches('+')),
            timeout_ms: 3_600_000,
            after_pivot: undoes.ends_with('+'),
        });
        let timeout_ms = 30_000;
        let attempts_max = attempts.parse().expect("a number");
        steps.push(PlannedStep {
            id: id.into(),
            kind: kind(does),
            after,
            timeout_ms,
            attempts_max,
            pivot,
            compensation,
        });
    }
    Plan { deadline_ms: 86_400_000, has_output: false, steps, reads: None }
}

fn kind(word: &str) -> StepKind {
    use StepKind::*;
    let all = [Call, Transfer, Hold, Capture, Void, Reverse, Event, Timer, Saga];
    all.into_iter().find(|kind| kind.as_str() == word).unwrap_or_else(|| panic!("what is {word}?"))
}

impl Sagas {
    pub(super) fn new() -> Self {
        let mut world = World::funded();
        world.talk("claim 1");
        let told = world.machine.next_ordinal();
        Self { world, outbox: VecDeque::new(), run: 0, told }
    }

    pub(super) fn talk(&mut self, lines: &str) -> String {
        let mut said = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = self.line(line);
            self.world.assert_sound();
            writeln!(said, "{line}: {answer}").unwrap();
        }
        said
    }

    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["define", key, name, ..] => {
                let plan = plan(line.split_once(':').expect("a plan").1);
                self.define(key, name.trim_end_matches(':'), &plan)
            }
            ["start", key, saga] => self.start(key, saga, 0),
            ["delayed", key, saga, ms] => self.start(key, saga, ms.parse().unwrap()),
            ["do"] => self.do_oldest("nobody"),
            ["do", saga] => self.do_oldest(saga),
            ["fail"] => {
                let effect = self.pop(|effect| matches!(effect, Effect::Evaluate { .. }));
                self.report(effect, StepFound::Failed { evidence: "no such field" })
            }
            ["tried", finding] => {
                let effect = self.pop(|effect| matches!(effect, Effect::Try { .. }));
                let all = [1, 2, 3, 4, 5].map(|number| Finding::from_number(number).unwrap());
                self.tried(effect, all.into_iter().find(|known| known.as_str() == finding).expect(finding))
            }
            [control @ ("cancel" | "pause" | "resume" | "restart"), key, ..] => {
                let control = match control {
                    "cancel" => Control::Cancel,
                    "pause" => Control::Pause,
                    "resume" => Control::Resume,
                    _ => Control::Restart { step: words[2].parse().unwrap() },
                };
                let run = words.get(3).map_or(self.run, |run| run.parse().unwrap());
                self.command(key, &SagaOp::Control { run, control })
            }
            ["cancel-all", key, ref of @ ..] => {
                let number = |at: usize| of.get(at).map(|number| number.parse().unwrap());
                let (limit, after) = (number(0).unwrap_or(10), number(1).unwrap_or(0));
                let control = Control::Cancel;
                self.command(key, &SagaOp::ControlMany { control, saga: "", state: None, after, limit })
            }
            ["restart-all", key, saga, ref of @ ..] => {
                let number = |at: usize| of.get(at).map(|number| number.parse().unwrap());
                let (limit, before) = (number(1).unwrap_or(10), number(2).unwrap_or(0));
                let saga = if saga == "any" { "" } else { saga };
                let from = of.first().copied().filter(|from| *from != "-").unwrap_or_default();
                self.command(key, &SagaOp::RestartMany { saga, from, before, limit })
            }
            ["run"] => self.world.machine.run(self.run).map_or("none".into(), |run| {
                let planned = &self.world.machine.sagas.definition(run.definition).unwrap().plan.steps;
                let steps = self.world.machine.run_steps(self.run);
                let steps = planned.iter().zip(steps).map(|(planned, step)| format!("{} {}", planned.id, step.state));
                format!("{}: {}", run.state.as_str(), steps.collect::<Vec<_>>().join(", "))
            }),
            ["pass", _] => self.world.line(line),
            ["claim", epoch] => {
                self.world.epoch = epoch.parse().unwrap();
                // Whoever led before performs nothing any more.
                self.outbox.clear();
                let said = self.world.line(line);
                self.note(said)
            }
            _ => {
                let said = self.world.line(line);
                self.note(said)
            }
        }
    }

    pub(super) fn define(&mut self, key: &str, name: &str, plan: &Plan) -> String {
        let mut bytes = Vec::new();
        plan.encode(&mut bytes);
        self.command(key, &SagaOp::Define { name, plan: &bytes, document: "{}" })
    }

    pub(super) fn start(&mut self, key: &str, saga: &str, delay_ms: u64) -> String {
        let next = self.world.machine.next_ordinal();
        let said = self.command(key, &SagaOp::Start { saga, input: "{}", delay_ms, deadline_ms: None });
        if self.world.machine.run(next).is_some() {
            self.run = next;
        }
        said
    }

    pub(super) fn command(&mut self, key: &str, op: &SagaOp<'_>) -> String {
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::MAX, "", key);
        Op::Saga(*op).encode(&mut command);
        let said = self.world.entry(&[command]);
        self.note(said)
    }

    /// Keeps the effects of the last entry. Tells the records it made, or its verdict if it made none, and the effects.
    pub(super) fn note(&mut self, verdict: String) -> String {
        let effects = self.world.applied.effects.clone();
        self.outbox.extend(effects.iter().copied());
        let next = self.world.machine.next_ordinal();
        let told: Vec<String> = (self.told..next).map(|record| self.tell(record)).collect();
        self.told = next;
        let verdict =
            if told.is_empty() { vec![verdict.split(" | ").next().unwrap_or_default().to_owned()] } else { told };
        let effects = effects.into_iter().map(|effect| match effect {
            Effect::Try { call, attempt, phase, .. } => format!("-> {} #{call} attempt {attempt}", phase.as_str()),
            Effect::Deliver { subscription } => format!("-> deliver {subscription}"),
            Effect::Evaluate { run, step, attempt, ask, .. } => {
                format!("-> {ask:?} #{run} step {step} attempt {attempt}")
            }
        });
        verdict.into_iter().chain(effects).collect::<Vec<_>>().join(" | ")
    }

    fn tell(&self, record: u64) -> String {
        let body = self.world.record(record, |record| match record.body {
            Body::Moved(moved) => Some(format!("{:?} {} {}", moved.event, moved.amount, record.key)),
            Body::CallAccepted(accepted) => Some(match accepted.undoes {
                Undoes::Nothing => format!("call {}", record.key),
                undoes => format!("call {}, which undoes a call: {undoes:?}", record.key),
            }),
            Body::CallTried(tried) => Some(format!("call #{} {}", tried.call, tried.finding.as_str())),
            Body::CallEnded(ended) => Some(format!("call #{} ended {}", ended.call, ended.end.as_str())),
            Body::Saga(SagaRecord::Started { saga, definition, .. }) => {
                Some(format!("started {saga} of #{definition}"))
            }
            Body::Saga(SagaRecord::Defined { name, version, .. }) => Some(format!("defined {name} {version}")),
            _ => None,
        });
        body.map_or_else(|| self.world.describe(record), |body| format!("#{record} {body}"))
    }

    fn pop(&mut self, is: impl Fn(&Effect) -> bool) -> Effect {
        let at = self.outbox.iter().position(is).expect("there is something to do");
        self.outbox.remove(at).expect("it is there")
    }

    fn do_oldest(&mut self, saga: &str) -> String {
        let effect = self.pop(|effect| matches!(effect, Effect::Evaluate { .. }));
        self.act(effect, saga)
    }

    /// Brings back what a step asks for, as its kind wants it; `saga` is what a nested one is called.
    pub(super) fn act(&mut self, effect: Effect, saga: &str) -> String {
        let Effect::Evaluate { run, step, ask, .. } = effect else { panic!("not a step") };
        if ask == Ask::Output {
            return self.report(effect, StepFound::Output("{}"));
        }
        // Somebody may have ended the run meanwhile.
        let Some(open) = self.world.machine.sagas.run(run) else {
            return self.report(effect, StepFound::Wait { ms: 1 });
        };
        let planned = &open.plan.steps[step as usize];
        let undoes = ask == Ask::Compensate;
        let kind = if undoes { planned.compensation.expect("asked for").kind } else { planned.kind };
        let held =
            if undoes { Some(step as usize) } else { open.plan.steps.iter().position(|s| s.kind == StepKind::Hold) };
        let transfer = held.map(|held| open.steps[held].record).filter(|record| *record > 0);
        let transfer = transfer
            .and_then(|record| self.transfer_of(record))
            .unwrap_or_else(|| TransferId::new(TransferId::cell_tag(&crate::testing::cell()), 0, 1 << 40));
        let order =
            |from, to, units, hold_ms| Order { from, to, amount: amount(units), hold_ms, memo: "", metadata: "" };
        let op = match kind {
            StepKind::Transfer => Op::Transfer(order("alice", "bob", "10", None)),
            StepKind::Hold => Op::Transfer(order("alice", "bob", "5", Some(60_000_000))),
            StepKind::Capture => Op::Capture { transfer, amount: None },
            StepKind::Void => Op::Void { transfer },
            StepKind::Reverse => Op::Reverse { transfer, amount: None },
            StepKind::Call => Op::Call(call()),
            StepKind::Event => {
                let event = StepEvent { topic: "t", kind: "k", subject: "", key: "", data: "" };
                return self.report(effect, StepFound::Publish(event));
            }
            StepKind::Timer => return self.report(effect, StepFound::Wait { ms: 1_000 }),
            StepKind::Saga => return self.report(effect, StepFound::Start { saga, input: "{}" }),
        };
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        self.report(effect, StepFound::Do(&bytes))
    }

    fn transfer_of(&self, record: u64) -> Option<TransferId> {
        self.world.record(record, |record| match record.body {
            Body::Moved(moved) => Some(moved.transfer),
            _ => None,
        })
    }

    pub(super) fn report(&mut self, effect: Effect, found: StepFound<'_>) -> String {
        let Effect::Evaluate { run, step, attempt, ask, .. } = effect else { panic!("not a step") };
        self.command("", &SagaOp::Step(StepReport { run, step, attempt, ask, found }))
    }

    pub(super) fn tried(&mut self, effect: Effect, finding: Finding) -> String {
        let Effect::Try { call, attempt, .. } = effect else { panic!("not a call") };
        let op = Op::Tried(Tried {
            headers: "",
            call,
            attempt,
            finding,
            evidence: "seen",
            tries: 1,
            status: 200,
            content_type: "",
            body: b"",
            is_cut: false,
            retry_after_ms: 0,
        });
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::MAX, "", "");
        op.encode(&mut command);
        let said = self.world.entry(&[command]);
        self.note(said)
    }
}

fn call() -> CallOrder<'static> {
    CallOrder {
        keep: "",
        method: "POST",
        url: "http://127.0.0.1:1/",
        headers: "",
        body: b"{}",
        deadline_ms: 30_000,
        tries_max: 3,
        persistent: false,
        doubt: Doubt::Resend,
        probe: "",
        compensation: "",
        uncertain_ms_max: 3_600_000,
        way_out: WayOut::Escalate,
    }
}
