//! The events that are still to be explained, in the order of time: a linked list whose nodes go back to where they were,
//! as long as the one taken out last goes back first.

use crate::search::Event;

/// An event of a search, and its place among all events of its part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) event: Event,
    pub(crate) at: usize,
}

pub(crate) struct List {
    nodes: Vec<Node>,
    /// By node; the one behind the last stands for both ends.
    next: Vec<u32>,
    previous: Vec<u32>,
    /// By step: its call and its answer.
    places: Vec<[u32; 2]>,
}

/// No node: a step that is not in the list, or is never answered.
const NONE: u32 = u32::MAX;

impl List {
    pub(crate) fn new(nodes: Vec<Node>, steps: usize) -> Self {
        let ends = u32::try_from(nodes.len()).expect("operations are bounded below this");
        let mut places = vec![[NONE; 2]; steps];
        for (node, Node { event, .. }) in (0..).zip(&nodes) {
            places[event.step as usize][usize::from(event.is_return)] = node;
        }
        let next = (1..=ends).chain([0]).collect();
        let previous = [ends].into_iter().chain(0..ends).collect();
        Self { nodes, next, previous, places }
    }

    pub(crate) fn first(&self) -> u32 {
        self.next[self.nodes.len()]
    }

    pub(crate) fn after(&self, node: u32) -> u32 {
        self.next[node as usize]
    }

    /// None at the end.
    pub(crate) fn node(&self, node: u32) -> Option<Node> {
        self.nodes.get(node as usize).copied()
    }

    /// The first answer that is still to be explained.
    pub(crate) fn first_return(&self) -> Option<Node> {
        let mut at = self.first();
        while let Some(node) = self.node(at) {
            if node.event.is_return {
                return Some(node);
            }
            at = self.after(at);
        }
        None
    }

    /// Takes both events of a step out.
    pub(crate) fn lift(&mut self, step: u32) {
        for node in self.places[step as usize].into_iter().filter(|node| *node != NONE) {
            let (next, previous) = (self.next[node as usize], self.previous[node as usize]);
            self.next[previous as usize] = next;
            self.previous[next as usize] = previous;
        }
    }

    /// Puts them back.
    pub(crate) fn unlift(&mut self, step: u32) {
        for node in self.places[step as usize].into_iter().rev().filter(|node| *node != NONE) {
            let (next, previous) = (self.next[node as usize], self.previous[node as usize]);
            self.next[previous as usize] = node;
            self.previous[next as usize] = node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &List) -> String {
        let mut text = String::new();
        let mut at = list.first();
        while let Some(node) = list.node(at) {
            text.push_str(&format!("{}{} ", if node.event.is_return { "-" } else { "+" }, node.event.step));
            at = list.after(at);
        }
        text.trim_end().to_owned()
    }

    #[test]
    fn what_is_lifted_goes_back_to_its_place() {
        let events = [(0, false), (1, false), (0, true), (2, false), (1, true)];
        let nodes = events.iter().enumerate();
        let nodes =
            nodes.map(|(at, (step, is_return))| Node { event: Event { step: *step, is_return: *is_return }, at });
        let mut list = List::new(nodes.collect(), 3);
        let whole = shown(&list);
        assert_eq!((whole.as_str(), list.first_return().unwrap().at), ("+0 +1 -0 +2 -1", 2));
        list.lift(1);
        assert_eq!(shown(&list), "+0 -0 +2");
        list.lift(0);
        assert_eq!((shown(&list).as_str(), list.first_return().is_none()), ("+2", true));
        list.lift(2);
        assert_eq!(shown(&list), "");
        [2, 0, 1].into_iter().for_each(|step| list.unlift(step));
        assert_eq!(shown(&list), whole);
    }
}
