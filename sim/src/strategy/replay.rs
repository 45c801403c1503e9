//! Replay: the choices are given.

use super::Strategy;
use crate::explore::schedule::{Act, Choice, Ready};
use crate::scenario::FaultBudget;

/// Makes exactly the given choices; one that is not there is a misfit, and so is a run that goes on when they have ended.
#[derive(Clone, Debug)]
pub struct Replay {
    choices: Vec<Choice>,
    next: usize,
}

impl Replay {
    /// Replays `choices`.
    pub fn new(choices: Vec<Choice>) -> Self {
        Self { choices, next: 0 }
    }
}

impl Strategy for Replay {
    fn begin_run(&mut self, _: u64) {
        self.next = 0;
    }

    fn choose(&mut self, ready: &Ready) -> Option<Choice> {
        let wanted = self.wanted().filter(|wanted| ready.contains(*wanted))?;
        self.next += 1;
        Some(wanted)
    }

    fn faults(&self, _: FaultBudget, most: FaultBudget) -> FaultBudget {
        most
    }

    fn wanted(&self) -> Option<Choice> {
        self.choices.get(self.next).copied()
    }
}

/// Makes the given choices where they are there, and leaves out those that are not; when they have ended, everybody finishes,
/// the lowest actor first. Shrinking tries its candidates with it: the schedule that came of it is in the run's result.
#[derive(Clone, Debug, Default)]
pub struct Lenient {
    choices: Vec<Choice>,
    next: usize,
}

impl Lenient {
    /// Other choices, in the same memory.
    pub fn set(&mut self, choices: &[Choice]) {
        self.choices.clear();
        self.choices.extend_from_slice(choices);
        self.next = 0;
    }
}

impl Strategy for Lenient {
    fn begin_run(&mut self, _: u64) {
        self.next = 0;
    }

    fn choose(&mut self, ready: &Ready) -> Option<Choice> {
        while let Some(wanted) = self.choices.get(self.next) {
            self.next += 1;
            if ready.contains(*wanted) {
                return Some(*wanted);
            }
        }
        ready.choices().find(|choice| choice.act == Act::Step)
    }

    fn faults(&self, _: FaultBudget, most: FaultBudget) -> FaultBudget {
        most
    }
}
