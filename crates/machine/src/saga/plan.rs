//! What the machine knows of a saga: which step is next, for how long, and what may be undone. No expressions.
//!
//! ```text
//! plan = deadline_ms:leb128 has_output:u8 count:leb128 { step }*count [ reads ]
//! step = id:text kind:u8 timeout_ms:leb128 attempts:leb128 pivot:u8 count:leb128 { after:leb128 }*count
//!        0:u8 | 1:u8 kind:u8 timeout_ms:leb128 after_pivot:u8
//! reads = { numbers /* to do it */ numbers /* to undo it */ }*count numbers /* what the run gives */
//! numbers = count:leb128 { step:leb128 }*count
//! ```

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};
use crate::effect::Ask;

/// The most steps of one saga.
pub const PLAN_STEPS_MAX: usize = 256;

/// A saga as the machine sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// How long a run may go forward, in milliseconds from its start.
    pub deadline_ms: u64,
    /// Whether what a done run gives is computed; else it is what its steps gave.
    pub has_output: bool,
    /// The steps; those of other steps are counted from 0 here.
    pub steps: Vec<PlannedStep>,
    /// Whose outputs are asked for; `None` in definitions of earlier versions: those of all.
    pub reads: Option<Reads>,
}

/// The steps whose outputs are needed to compute something, counted from 0. What nobody asks for is not handed over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reads {
    /// What each step does, and what undoes it.
    pub steps: Vec<(Vec<u32>, Vec<u32>)>,
    /// What the run gives.
    pub output: Vec<u32>,
}

/// A step as the machine sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedStep {
    /// What it is called.
    pub id: String,
    /// What it does.
    pub kind: StepKind,
    /// The steps that must be done before it, in their order.
    pub after: Vec<u32>,
    /// How long it may take until it has its end, in milliseconds.
    pub timeout_ms: u64,
    /// How often it may be tried before it has failed.
    pub attempts_max: u32,
    /// Whether the run goes only forward from here.
    pub pivot: bool,
    /// What undoes it.
    pub compensation: Option<PlannedCompensation>,
}

/// What undoes a step, as the machine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedCompensation {
    /// What it does.
    pub kind: StepKind,
    /// How long it is tried until a person is told, in milliseconds.
    pub timeout_ms: u64,
    /// Whether the step may be undone after the pivot.
    pub after_pivot: bool,
}

/// What a step does. The numbers are stored: they are added to, never changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum StepKind {
    /// A durable call.
    Call = 1,
    /// A posted transfer.
    Transfer = 2,
    /// A held transfer.
    Hold = 3,
    /// Posts what another step holds.
    Capture = 4,
    /// Releases what another step holds.
    Void = 5,
    /// Moves back what another step posted.
    Reverse = 6,
    /// An event.
    Event = 7,
    /// A wait.
    Timer = 8,
    /// Another saga.
    Saga = 9,
}

impl Plan {
    /// Appends the plan's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.deadline_ms);
        out.push(u8::from(self.has_output));
        put_u64(out, self.steps.len() as u64);
        for step in &self.steps {
            step.encode(out);
        }
        if let Some(reads) = &self.reads {
            let of_steps = reads.steps.iter().flat_map(|(act, undo)| [act, undo]);
            for numbers in of_steps.chain([&reads.output]) {
                put_u64(out, numbers.len() as u64);
                numbers.iter().for_each(|number| put_u64(out, (*number).into()));
            }
        }
    }

    /// Reads a plan, all of `bytes`.
    ///
    /// # Errors
    /// [`Corrupt`], also of a plan whose steps wait for each other, or of one that has none or too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut r = Reader::new(bytes);
        let (deadline_ms, has_output) = (r.u64()?, r.flag()?);
        let count = usize::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?;
        if !(1..=PLAN_STEPS_MAX).contains(&count) {
            return Err(Corrupt("a saga has no steps, or too many"));
        }
        let steps = (0..count).map(|_| PlannedStep::decode(&mut r)).collect::<Result<Vec<_>, _>>()?;
        let reads = if r.is_empty() { None } else { Some(Reads::decode(&mut r, count)?) };
        let plan = Self { deadline_ms, has_output, steps, reads };
        if !r.is_empty() || !plan.is_ordered() {
            return Err(Corrupt("a saga's steps do not fit together"));
        }
        Ok(plan)
    }

    /// Whether what is asked of a step, or of the run, needs the output of another one.
    pub(crate) fn reads(&self, step: u32, ask: Ask, of: u32) -> bool {
        let Some(reads) = &self.reads else { return true };
        let of_step = reads.steps.get(step as usize);
        let numbers = match ask {
            Ask::Act => of_step.map(|(act, _)| act),
            Ask::Compensate => of_step.map(|(_, undo)| undo),
            Ask::Output => Some(&reads.output),
        };
        numbers.is_some_and(|numbers| numbers.contains(&of))
    }

    /// The number of a step.
    pub fn step(&self, id: &str) -> Option<u32> {
        let at = self.steps.iter().position(|step| step.id == id)?;
        u32::try_from(at).ok()
    }

    /// For each step whether `step` must be done before it, directly or not.
    pub(crate) fn dependents(&self, step: usize) -> Vec<bool> {
        let mut depends = vec![false; self.steps.len()];
        // What waits for it may stand before it in the text: looked at until nothing is added.
        let mut more = true;
        while more {
            more = false;
            for (at, other) in self.steps.iter().enumerate() {
                let waits = other.after.iter().any(|after| *after as usize == step || depends[*after as usize]);
                more |= waits && !depends[at];
                depends[at] |= waits;
            }
        }
        depends
    }

    fn is_ordered(&self) -> bool {
        let mut done = vec![false; self.steps.len()];
        let mut more = true;
        while more {
            more = false;
            for (at, step) in self.steps.iter().enumerate() {
                let ready = step.after.iter().all(|after| done.get(*after as usize) == Some(&true));
                more |= ready && !done[at];
                done[at] |= ready;
            }
        }
        done.into_iter().all(|done| done)
    }
}

impl Reads {
    fn decode(r: &mut Reader<'_>, steps: usize) -> Result<Self, Corrupt> {
        let mut numbers = || {
            let count = usize::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?;
            if count > steps {
                return Err(Corrupt("more outputs are asked for than there are steps"));
            }
            let numbers = (0..count).map(|_| r.u32()).collect::<Result<Vec<_>, _>>()?;
            let are_known = numbers.iter().all(|number| (*number as usize) < steps);
            are_known.then_some(numbers).ok_or(Corrupt("the output of a step that is not is asked for"))
        };
        let steps = (0..steps).map(|_| Ok((numbers()?, numbers()?))).collect::<Result<_, _>>()?;
        Ok(Self { steps, output: numbers()? })
    }
}

impl PlannedStep {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.id.as_bytes());
        out.push(self.kind as u8);
        put_u64(out, self.timeout_ms);
        put_u64(out, self.attempts_max.into());
        out.push(u8::from(self.pivot));
        put_u64(out, self.after.len() as u64);
        for after in &self.after {
            put_u64(out, (*after).into());
        }
        out.push(u8::from(self.compensation.is_some()));
        if let Some(PlannedCompensation { kind, timeout_ms, after_pivot }) = self.compensation {
            out.push(kind as u8);
            put_u64(out, timeout_ms);
            out.push(u8::from(after_pivot));
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (id, kind) = (r.str()?.to_owned(), StepKind::decode(r)?);
        let (timeout_ms, attempts_max, pivot) = (r.u64()?, r.u32()?, r.flag()?);
        let count = usize::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?;
        if count > PLAN_STEPS_MAX {
            return Err(Corrupt("a step waits for too many"));
        }
        let after = (0..count).map(|_| r.u32()).collect::<Result<_, _>>()?;
        let compensation = if r.flag()? {
            Some(PlannedCompensation { kind: StepKind::decode(r)?, timeout_ms: r.u64()?, after_pivot: r.flag()? })
        } else {
            None
        };
        Ok(Self { id, kind, after, timeout_ms, attempts_max, pivot, compensation })
    }
}

impl StepKind {
    /// The word for it in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Transfer => "transfer",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Reverse => "reverse",
            Self::Event => "event",
            Self::Timer => "timer",
            Self::Saga => "saga",
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        const ALL: [StepKind; 9] = [
            StepKind::Call,
            StepKind::Transfer,
            StepKind::Hold,
            StepKind::Capture,
            StepKind::Void,
            StepKind::Reverse,
            StepKind::Event,
            StepKind::Timer,
            StepKind::Saga,
        ];
        let number = r.u8()?;
        ALL.into_iter().find(|kind| *kind as u8 == number).ok_or(Corrupt("an unknown kind of step"))
    }
}
