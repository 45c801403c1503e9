//! A schedule is data: the list of choices that, with its scenario, makes a run.

use crate::scenario::{ActorSpec, Scenario};

/// A run's choices, and the part of the scenario's workload that they need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The choices, in order.
    pub choices: Vec<Choice>,
    /// What the actors do instead of what the scenario says, where shrinking left out appends or actors. As many actors as the
    /// scenario has, in its order, so that choices keep their numbers; an actor that was left out does nothing (no appends,
    /// no rebuilds, no passes).
    pub workload: Option<Vec<ActorSpec>>,
}

impl Schedule {
    /// The scenario with this schedule's workload in place of its own.
    pub fn scenario(&self, scenario: &Scenario) -> Scenario {
        let mut reduced = scenario.clone();
        if let Some(workload) = &self.workload {
            reduced.actors.clone_from(workload);
        }
        reduced
    }
}

/// One choice: which actor goes on, and what befalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Index into the scenario's actors.
    pub actor: u8,
    /// What happens.
    pub act: Act,
}

/// The choices that are there: for each act, the actors that it can happen to (bit `a`: actor `a`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Whoever can go on. To nobody else can anything happen.
    pub steps: u64,
    /// Whose answer can be lost.
    pub lost_answers: u64,
    /// Who can crash.
    pub crashes: u64,
}

impl Ready {
    /// Whether there is no choice.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Whether this choice is there.
    pub fn contains(&self, choice: Choice) -> bool {
        let actors = match choice.act {
            Act::Step => self.steps,
            Act::LoseAnswer => self.lost_answers,
            Act::Crash => self.crashes,
        };
        actors & (1 << choice.actor) != 0
    }

    /// The choices, sorted.
    pub fn choices(&self) -> impl Iterator<Item = Choice> {
        let acts = [Act::Step, Act::LoseAnswer, Act::Crash];
        let all = (0..64).flat_map(move |actor| acts.map(|act| Choice { actor, act }));
        all.filter(|choice| self.contains(*choice))
    }
}

/// What can happen to an actor at a scheduling point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// The statement that it has ready is sent; or its pause ends; or, after a crash, it starts again.
    Step,
    /// Its statement (a COMMIT) is executed, its connection breaks, and its answer is lost.
    LoseAnswer,
    /// It dies: its connection breaks, its open transaction is rolled back, its memory is gone. Step starts it again.
    Crash,
}
