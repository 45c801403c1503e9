//! All interleavings of sessions' steps, one after the other: none is kept.

use super::{PermutationStep, Spec, StepId};

/// The permutations of a [`Spec`], in isolationtester's order. See [`Spec::interleavings`].
pub struct Interleavings<'s> {
    spec: &'s Spec,
    /// How many of the listed ones have been given.
    listed: usize,
    /// Whose step is taken, place by place, in the interleaving that comes next.
    next: Option<Vec<usize>>,
}

impl Spec {
    /// The permutations: those that the file lists, or else every interleaving of its sessions' steps. [`Spec::count`] says how many.
    pub fn interleavings(&self) -> Interleavings<'_> {
        let sessions = self.sessions.iter().enumerate();
        let first = sessions.flat_map(|(session, steps)| vec![session; steps.steps.len()]).collect();
        Interleavings { spec: self, listed: 0, next: self.permutations.is_empty().then_some(first) }
    }

    /// How many permutations there are. A number that is too large to be held is `u128::MAX`.
    pub fn count(&self) -> u128 {
        if !self.permutations.is_empty() {
            return self.permutations.len() as u128;
        }
        let (mut count, mut steps) = (1_u128, 0);
        for session in &self.sessions {
            for step in 1..=session.steps.len() as u128 {
                steps += 1;
                let Some(product) = count.checked_mul(steps) else { return u128::MAX };
                // It is a binomial coefficient at each step, times what was there.
                count = product / step;
            }
        }
        count
    }
}

impl Iterator for Interleavings<'_> {
    type Item = Vec<PermutationStep>;

    fn next(&mut self) -> Option<Vec<PermutationStep>> {
        let Some(order) = &mut self.next else {
            let listed = self.spec.permutations.get(self.listed)?;
            self.listed += 1;
            return Some(listed.clone());
        };
        let mut taken = vec![0; self.spec.sessions.len()];
        let step = |session: &usize| {
            let step = StepId { session: *session, step: taken[*session] };
            taken[*session] += 1;
            PermutationStep { step, markers: Vec::new() }
        };
        let steps = order.iter().map(step).collect();
        if !advance(order) {
            // Behind the last of the listed ones.
            (self.next, self.listed) = (None, self.spec.permutations.len());
        }
        Some(steps)
    }
}

/// The next order of the same numbers, by size; false: this was the last. Source: D. E. Knuth, The Art of Computer Programming 4A, Algorithm L.
fn advance(order: &mut [usize]) -> bool {
    let Some(place) = (1..order.len()).rev().find(|place| order[place - 1] < order[*place]) else { return false };
    let small = order[place - 1];
    let larger = (place..order.len()).rev().find(|other| order[*other] > small).expect("the one behind it is");
    order.swap(place - 1, larger);
    order[place..].reverse();
    true
}
