//! Every interleaving of a spec's steps: those that cannot come to anything else than one that was run are left out.
//!
//! A search in depth that runs each interleaving from the setup on and keeps no states. Two steps of two sessions that commute need not be run in both
//! orders: a session whose step was explored from here sleeps in the branches beside it, until something is done that its step does not commute with; where
//! everybody sleeps, the rest was run before. Source: P. Godefroid, Partial-Order Methods for the Verification of Concurrent Systems, chapter 5.

use super::{KEPT_MAX, Spec};
use std::collections::BTreeMap;

use super::run::{Chooser, PermutationRun, chosen};
use crate::backend::messages::Messages;

/// Interleavings that came to the same.
#[derive(Clone, Debug)]
pub struct Group {
    /// The first of them.
    pub run: PermutationRun,
    /// How many were run.
    pub count: u64,
}

/// What every interleaving came to.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// By what each session was told; in the order in which they were met.
    pub groups: Vec<Group>,
    /// How many interleavings were run to their ends.
    pub runs: u64,
    /// How many were cut off: what was left of them had been run.
    pub cut: u64,
    /// Whether there would have been more.
    pub limited: bool,
}

/// Runs every interleaving, at most `limit`, and fewer where they come to more than can be kept; `progress` is told of each. With `reduce`, those are left out that cannot come to anything new.
/// Errs where there is no database any more.
pub fn explore(
    spec: &Spec,
    database: &mut dyn Messages,
    reduce: bool,
    limit: u64,
    progress: &mut dyn FnMut(),
) -> Result<Explored, String> {
    let mut search = Search { reduce, ..Search::default() };
    let mut explored = Explored::default();
    // Groups by what was told, and how much of it is kept.
    let mut known: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    let mut kept = 0;
    loop {
        search.depth = 0;
        match chosen(spec, database, &mut search)? {
            None => explored.cut += 1,
            Some(run) => {
                explored.runs += 1;
                let groups = &mut explored.groups;
                let alike = known.get(&run.told).into_iter().flatten();
                if let Some(number) = alike.copied().find(|number| groups[*number].run.end == run.end) {
                    groups[number].count += 1;
                } else {
                    kept += run.output.len() + 2 * run.told.iter().map(String::len).sum::<usize>();
                    known.entry(run.told.clone()).or_default().push(groups.len());
                    groups.push(Group { run, count: 1 });
                }
            }
        }
        progress();
        if !search.next() {
            return Ok(explored);
        }
        if explored.runs + explored.cut >= limit || kept > KEPT_MAX {
            explored.limited = true;
            return Ok(explored);
        }
    }
}

/// A place in the interleaving that is being run.
#[derive(Default)]
struct Node {
    /// Whose step can be taken here, as far as it is not asleep or done.
    open: Vec<usize>,
    /// Whose steps need not be taken here, and what they touch.
    asleep: Vec<(usize, usize)>,
    chosen: usize,
    touched: Option<usize>,
}

#[derive(Default)]
struct Search {
    reduce: bool,
    path: Vec<Node>,
    depth: usize,
    /// Who sleeps at the place that comes next.
    sleepers: Vec<(usize, usize)>,
}

impl Search {
    /// Goes back to the last place with a choice left; false: there is none.
    fn next(&mut self) -> bool {
        while let Some(node) = self.path.last_mut() {
            // What was explored here sleeps beside it from now on. A step that was refused touches who knows what.
            if let Some(touched) = node.touched.take() {
                node.asleep.push((node.chosen, touched));
            }
            if !node.open.is_empty() {
                node.chosen = node.open.remove(0);
                return true;
            }
            self.path.pop();
        }
        false
    }
}

impl Chooser for Search {
    fn choose(&mut self, ready: &[usize]) -> Option<usize> {
        if self.depth == self.path.len() {
            let asleep = std::mem::take(&mut self.sleepers);
            let awake = |session: &usize| !asleep.iter().any(|(sleeper, _)| sleeper == session);
            let mut open: Vec<usize> = ready.iter().copied().filter(awake).collect();
            if open.is_empty() {
                return None;
            }
            let chosen = open.remove(0);
            self.path.push(Node { open, asleep, chosen, touched: None });
        }
        self.depth += 1;
        Some(self.path[self.depth - 1].chosen)
    }

    fn took(&mut self, touched: usize, commute: &dyn Fn(usize, usize) -> bool) {
        let node = &mut self.path[self.depth - 1];
        node.touched = Some(touched);
        let reduce = self.reduce;
        let still = |(session, other): &&(usize, usize)| reduce && *session != node.chosen && commute(*other, touched);
        self.sleepers = node.asleep.iter().filter(still).copied().collect();
    }
}
