//! A set that only grows, decided without a search.
//!
//! An element is in for good from its first addition on. So there is an order exactly if none of these wishes goes round in
//! a circle: what returned before another was called comes before it; whoever does not see an element comes before all its
//! additions; the first addition comes before whoever sees it. That the first one is the one called first loses nothing,
//! since everything that must come before it must come before the others too.
//!
//! Reads of all members are in a line, each with all that the one before has; two of which each has what the other lacks
//! contradict one another, whatever else there is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::history::{Action, Answer, History, Value};

/// The operations of a smallest circle that was looked for; none if there is an order.
pub(crate) fn contradiction(history: &History) -> Option<Vec<usize>> {
    let seen = Observed::of(history);
    if let Some(apart) = seen.reads_apart() {
        return Some(apart);
    }
    let mut graph = Graph::new(history.operations.len());
    graph.order_by_time(history, |at| seen.is_held(at));
    if let Some(of_nowhere) = seen.wish(&mut graph) {
        return Some(vec![of_nowhere]);
    }
    graph.smallest_circle()
}

/// Of how many circles the smallest is taken.
const CIRCLES_MAX: usize = 256;

/// What is known of one element.
#[derive(Default)]
struct Element {
    /// By their calls.
    additions: Vec<(u64, usize)>,
    is_in: Vec<usize>,
    is_not_in: Vec<usize>,
}

struct Observed<'a> {
    elements: BTreeMap<&'a Value, Element>,
    /// Committed reads of all members, the smaller ones first.
    reads: Vec<(BTreeSet<&'a Value>, usize)>,
    /// By operation: whether it certainly happened.
    held: Vec<bool>,
}

impl<'a> Observed<'a> {
    fn of(history: &'a History) -> Self {
        let mut elements: BTreeMap<&Value, Element> = BTreeMap::new();
        let mut reads = Vec::new();
        let held = |answer| matches!(answer, Answer::Committed { .. });
        for (at, operation) in history.operations.iter().enumerate() {
            match &operation.action {
                Action::Add(value) if held(operation.answer) || operation.answer == Answer::Uncertain => {
                    elements.entry(value).or_default().additions.push((operation.call, at));
                }
                Action::Contains { value, found } if held(operation.answer) => {
                    let element = elements.entry(value).or_default();
                    if *found { element.is_in.push(at) } else { element.is_not_in.push(at) }
                }
                Action::Members(values) if held(operation.answer) => reads.push((values.iter().collect(), at)),
                _ => {}
            }
        }
        elements.values_mut().for_each(|element| element.additions.sort_unstable());
        reads.sort_by_key(|(values, at): &(BTreeSet<_>, usize)| (values.len(), *at));
        let held = history.operations.iter().map(|operation| held(operation.answer)).collect();
        Self { elements, reads, held }
    }

    fn is_held(&self, operation: usize) -> bool {
        self.held[operation]
    }

    /// Two reads of which neither has all that the other has.
    fn reads_apart(&self) -> Option<Vec<usize>> {
        let mut pairs = self.reads.windows(2);
        let apart = pairs.find(|pair| !pair[0].0.is_subset(&pair[1].0))?;
        Some(apart.iter().map(|(_, at)| *at).collect())
    }

    /// Puts all wishes but those of time into the graph; or gives an operation that saw what nobody added.
    fn wish(&self, graph: &mut Graph) -> Option<usize> {
        let levels = Levels::new(&self.reads, graph);
        for (value, element) in &self.elements {
            // The first read that has it, as a level: reads from there on have it, and those before do not.
            let level = self.reads.partition_point(|(values, _)| !values.contains(value));
            let seen_by = element.is_in.first().copied().or_else(|| self.reads.get(level).map(|(_, at)| *at));
            let Some(&(_, first)) = element.additions.first() else {
                if seen_by.is_some() {
                    return seen_by;
                }
                continue;
            };
            let gate = graph.add_virtual();
            graph.edge(levels.before[level], gate);
            element.is_not_in.iter().for_each(|at| graph.edge(*at, gate));
            // An uncertain addition happened only where it is needed.
            let is_there = |at: usize| self.held[at] || (at == first && seen_by.is_some());
            for (_, at) in element.additions.iter().filter(|(_, at)| is_there(*at)) {
                graph.edge(gate, *at);
            }
            if seen_by.is_some() {
                graph.edge(first, levels.from[level]);
                element.is_in.iter().for_each(|at| graph.edge(first, *at));
            }
        }
        let unknown = self.reads.iter().find(|(values, _)| {
            values.iter().any(|value| self.elements.get(value).is_none_or(|element| element.additions.is_empty()))
        });
        unknown.map(|(_, at)| *at)
    }
}

/// Nodes behind all reads before a place in their line, and before all reads from it on. Reads of equal members hold one
/// another to no order.
struct Levels {
    before: Vec<usize>,
    from: Vec<usize>,
}

impl Levels {
    fn new(reads: &[(BTreeSet<&Value>, usize)], graph: &mut Graph) -> Self {
        let before: Vec<usize> = (0..=reads.len()).map(|_| graph.add_virtual()).collect();
        let from: Vec<usize> = (0..=reads.len()).map(|_| graph.add_virtual()).collect();
        for (place, (_, at)) in reads.iter().enumerate() {
            graph.edge(*at, before[place + 1]);
            graph.edge(before[place], before[place + 1]);
            graph.edge(from[place], *at);
            graph.edge(from[place], from[place + 1]);
        }
        Self { before, from }
    }
}

/// Who must come before whom: operations first, then nodes that only shorten.
struct Graph {
    operations: usize,
    edges: Vec<Vec<usize>>,
}

impl Graph {
    fn new(operations: usize) -> Self {
        Self { operations, edges: vec![Vec::new(); operations] }
    }

    fn add_virtual(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize) {
        self.edges[from].push(to);
    }

    /// A line of nodes, one for each answer, with the operations called behind it.
    fn order_by_time(&mut self, history: &History, is_held: impl Fn(usize) -> bool) {
        let operations = &history.operations;
        let mut answers: Vec<(u64, usize)> = (0..operations.len())
            .filter(|at| is_held(*at))
            .filter_map(|at| Some((operations[at].returned()?, at)))
            .collect();
        answers.sort_unstable();
        let line: Vec<usize> = answers.iter().map(|_| self.add_virtual()).collect();
        line.windows(2).for_each(|pair| self.edge(pair[0], pair[1]));
        for ((_, at), node) in answers.iter().zip(&line) {
            self.edge(*at, *node);
        }
        for (at, operation) in operations.iter().enumerate() {
            let before = answers.partition_point(|(answered, _)| *answered < operation.call);
            if before > 0 {
                self.edge(line[before - 1], at);
            }
        }
    }

    fn smallest_circle(&self) -> Option<Vec<usize>> {
        let between = self.between_circles();
        let starts = (0..self.operations).filter(|at| between[*at]);
        starts.filter_map(|start| self.circle_from(start, &between)).take(CIRCLES_MAX).min_by_key(Vec::len)
    }

    /// What is left when, again and again, all are taken away before which or behind which nobody comes.
    fn between_circles(&self) -> Vec<bool> {
        let mut backwards = vec![Vec::new(); self.edges.len()];
        for (from, to) in self.edges.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, *to))) {
            backwards[to].push(from);
        }
        let behind = left_over(&self.edges, &backwards);
        let before = left_over(&backwards, &self.edges);
        behind.into_iter().zip(before).map(|(behind, before)| behind && before).collect()
    }

    /// The circle of the fewest operations through this one, if there is one: breadth first, and nodes that are no
    /// operations cost nothing.
    fn circle_from(&self, start: usize, within: &[bool]) -> Option<Vec<usize>> {
        let mut came_from = vec![usize::MAX; self.edges.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &to in self.edges[node].iter().filter(|to| within[**to]) {
                if to == start {
                    let path = std::iter::successors(Some(node), |node| (*node != start).then(|| came_from[*node]));
                    let mut circle: Vec<usize> = path.filter(|node| *node < self.operations).collect();
                    circle.sort_unstable();
                    return Some(circle);
                }
                if came_from[to] == usize::MAX {
                    came_from[to] = node;
                    if to < self.operations { queue.push_back(to) } else { queue.push_front(to) }
                }
            }
        }
        None
    }
}

/// Of the nodes, those that are in a circle or reached from one along the edges.
fn left_over(edges: &[Vec<usize>], backwards: &[Vec<usize>]) -> Vec<bool> {
    let mut before: Vec<usize> = backwards.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
    let mut is_left = vec![true; before.len()];
    while let Some(node) = free.pop() {
        is_left[node] = false;
        for to in &edges[node] {
            before[*to] -= 1;
            if before[*to] == 0 {
                free.push(*to);
            }
        }
    }
    is_left
}
