//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// The groups of two or more nodes each of which can be reached from each other one.
pub(super) fn of<T: Clone + Ord>(edges: &BTreeMap<T, BTreeSet<T>>) -> Vec<Vec<T>> {
    let reachable: BTreeMap<&T, BTreeSet<&T>> = edges.keys().map(|node| (node, reach(edges, node))).collect();
    let mut circles = BTreeSet::new();
    for (node, others) in &reachable {
        let circle: Vec<T> = others
            .iter()
            .filter(|other| reachable.get(*other).is_some_and(|back| back.contains(node)))
            .map(|other| (*other).clone())
            .collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

/// The nodes that can be reached in one step or more.
fn reach<'a, T: Ord>(edges: &'a BTreeMap<T, BTreeSet<T>>, from: &'a T) -> BTreeSet<&'a T> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(node) = todo.pop() {
        todo.extend(edges.get(node).into_iter().flatten().filter(|to| seen.insert(*to)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_chains_are_not() {
        let graph = |edges: &[(u8, u8)]| {
            let mut graph: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            for (from, to) in edges {
                graph.entry(*from).or_default().insert(*to);
                graph.entry(*to).or_default();
            }
            graph
        };
        assert_eq!(of(&graph(&[(1, 2), (2, 3), (1, 3)])), [[0_u8; 0]; 0]);
        assert_eq!(
            of(&graph(&[(1, 2), (2, 3), (3, 1), (3, 4), (5, 6), (6, 5)])),
            [vec![1, 2, 3], vec![5, 6]]
        );
    }
}
