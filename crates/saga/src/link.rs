//! Ties the steps together: which waits for which, and whether everything that is named is there by then.

use crate::decode::Waits;
use crate::definition::{Action, Step};
use crate::expression::Reference;
use crate::fault::Fault;
use crate::fields::Problems;
use crate::template::Template;

/// Resolves what steps wait for, and notes what does not fit together.
pub(crate) fn link(steps: &mut [Step], waits: &[Waits], output: Option<&Template>, problems: &mut Problems) {
    let ids: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    for (at, id) in ids.iter().enumerate() {
        // An id that is missing was noted already.
        if !id.is_empty() && ids[..at].contains(id) {
            problems.push(&steps[at].at, Fault::DuplicateStep { id: id.clone() });
        }
        // What undoes a step has a key of its own, and its name after it.
        if let Some(undone) =
            id.strip_suffix(machine::COMPENSATION_SUFFIX).filter(|undone| ids.iter().any(|id| id == undone))
        {
            problems.push(&steps[at].at, Fault::CompensationStep { undone: undone.to_owned() });
        }
    }
    for Waits { step, after } in waits {
        for (id, at) in after {
            match ids.iter().position(|known| known == id) {
                Some(found) => steps[*step].after.push(u32::try_from(found).expect("there are few steps")),
                None => problems.push(at, Fault::UnknownStep { id: id.clone() }),
            }
        }
        steps[*step].after.sort_unstable();
        steps[*step].after.dedup();
    }
    if let Some(cycle) = cycle(steps) {
        let at = &steps[cycle[0]].at;
        problems.push(at, Fault::Cycle { ids: cycle.iter().map(|step| ids[*step].clone()).collect() });
        return;
    }
    let mut pivots = steps.iter().filter(|step| step.pivot);
    if let Some(first) = pivots.next() {
        for second in pivots {
            problems.push(&format!("{}/pivot", second.at), Fault::SecondPivot { first: first.id.clone() });
        }
    }
    let before = before(steps);
    for (number, step) in steps.iter().enumerate() {
        let names = Names { steps, ids: &ids, known: &before[number], itself: None };
        names.check(&step.action, &step.at, step.action.word(), problems);
        if let Some(compensation) = &step.compensation {
            let names = Names { itself: Some(number), ..names };
            let at = format!("{}/compensate", step.at);
            names.check(&compensation.action, &at, compensation.action.word(), problems);
        }
    }
    if let Some(output) = output {
        let known: Vec<usize> = (0..steps.len()).collect();
        Names { steps, ids: &ids, known: &known, itself: None }.check_template(output, "/output", problems);
    }
}

/// Steps that wait for each other: the first again at the end.
fn cycle(steps: &[Step]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; steps.len()];
    for start in 0..steps.len() {
        // The path from `start`, and at each step how many of what it waits for were looked at.
        let mut path = vec![(start, 0)];
        while let Some((step, looked)) = path.last_mut() {
            let step = *step;
            if marks[step] == Mark::Done {
                path.pop();
                continue;
            }
            marks[step] = Mark::OnPath;
            let Some(next) = steps[step].after.get(*looked).map(|next| *next as usize) else {
                marks[step] = Mark::Done;
                path.pop();
                continue;
            };
            *looked += 1;
            match marks[next] {
                Mark::New => path.push((next, 0)),
                Mark::Done => {}
                Mark::OnPath => {
                    let from = path.iter().position(|(on_path, _)| *on_path == next).unwrap_or(0);
                    let mut cycle: Vec<usize> = path[from..].iter().map(|(step, _)| *step).collect();
                    cycle.push(next);
                    return Some(cycle);
                }
            }
        }
    }
    None
}

/// For each step the steps that are done when it begins. There is no cycle.
fn before(steps: &[Step]) -> Vec<Vec<usize>> {
    let mut before: Vec<Option<Vec<usize>>> = vec![None; steps.len()];
    let mut open: Vec<usize> = (0..steps.len()).rev().collect();
    while let Some(&step) = open.last() {
        let after = || steps[step].after.iter().map(|step| *step as usize);
        if before[step].is_some() {
            open.pop();
        } else if let Some(missing) = after().find(|step| before[*step].is_none()) {
            open.push(missing);
        } else {
            let inherited = after().filter_map(|step| before[step].clone()).flatten();
            let mut all: Vec<usize> = after().chain(inherited).collect();
            all.sort_unstable();
            all.dedup();
            before[step] = Some(all);
            open.pop();
        }
    }
    before.into_iter().map(Option::unwrap_or_default).collect()
}

/// What may be named in one place.
#[derive(Clone, Copy)]
struct Names<'s> {
    steps: &'s [Step],
    ids: &'s [String],
    /// The steps that are done by then.
    known: &'s [usize],
    /// The step that is undone here.
    itself: Option<usize>,
}

impl Names<'_> {
    fn check(self, action: &Action, at: &str, word: &str, problems: &mut Problems) {
        let at = format!("{at}/{word}");
        for template in action.templates() {
            self.check_template(template, &at, problems);
        }
        let (of, wanted, fits): (_, _, fn(&Action) -> bool) = match action {
            Action::Capture { of, .. } | Action::Void { of } => (of, "a hold", |of| matches!(of, Action::Hold(_))),
            Action::Reverse { of, .. } => (of, "a transfer, a hold or a capture", |of| {
                matches!(of, Action::Transfer(_) | Action::Hold(_) | Action::Capture { .. })
            }),
            _ => return,
        };
        // Empty where it is of the step itself, which was checked when it was read.
        if !of.is_empty()
            && let Some(step) = self.find(of, &format!("{at}/of"), problems)
            && !fits(&self.steps[step].action)
        {
            problems.push(&format!("{at}/of"), Fault::WrongStep { id: of.clone(), wanted });
        }
    }

    fn check_template(self, template: &Template, at: &str, problems: &mut Problems) {
        let mut references = Vec::new();
        template.references(&mut references);
        for reference in references {
            match reference {
                Reference::Step(id) => drop(self.find(&id, at, problems)),
                Reference::Header { step, name } => self.check_header(step, name, at, problems),
                Reference::Unknown(name) => problems.push(at, Fault::UnknownName { name }),
            }
        }
    }

    /// Whether a step keeps a header that is asked for. That it is there, and a call, is checked elsewhere.
    fn check_header(self, step: String, name: String, at: &str, problems: &mut Problems) {
        let of = self.steps.iter().find(|known| known.id == step).map(|known| &known.action);
        if matches!(of, Some(Action::Call(call)) if !call.kept_headers.contains(&name)) {
            problems.push(at, Fault::HeaderNotKept { step, name });
        }
    }

    fn find(self, id: &str, at: &str, problems: &mut Problems) -> Option<usize> {
        let Some(step) = self.ids.iter().position(|known| known == id) else {
            problems.push(at, Fault::UnknownStep { id: id.to_owned() });
            return None;
        };
        if !self.known.contains(&step) && self.itself != Some(step) {
            problems.push(at, Fault::NotBefore { id: id.to_owned() });
            return None;
        }
        Some(step)
    }
}
