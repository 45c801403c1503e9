//! Shrinking: the same violation, or the same way of being stuck, with fewer actors, appends, events, faults and context switches.
//!
//! Greedy: each candidate is run, and kept if it still has the same end and is smaller. First the workload (with what is
//! left of the schedule, or with a random walk that finds the end anew), then the choices. What comes out is a schedule that
//! replays exactly, and the workload that it needs if that is less than the scenario's.
//!
//! Of a run that does not end, only the workload is made smaller, by random walks: they are fair. With other choices it would soon be
//! endless because somebody is never chosen, which says nothing about the protocol.

use super::history::History;
use super::run::Runner;
use super::schedule::{Act, Choice, Schedule};
use super::{RunEnd, RunResult, StuckKind};
use crate::backend::{BackendError, Database};
use crate::protocol::Protocol;
use crate::scenario::{ActorSpec, Role, Scenario};
use crate::strategy::{Lenient, RandomWalk, Replay};

/// A violation, or a run that is stuck, as small as shrinking could make it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What replays it.
    pub schedule: Schedule,
    /// Its run, by that schedule.
    pub result: RunResult,
    /// What happens in it.
    pub history: History,
}

/// How many runs shrinking may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Runs in all.
    pub runs_max: u32,
    /// Seeds that a smaller workload is given to come to the same end anew.
    pub seeds_a_workload: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { runs_max: 20_000, seeds_a_workload: 300 }
    }
}

/// Shrinks `found`, a run of `scenario` that violated an invariant or is stuck. Gives the database back.
///
/// `database` was set up with `protocol.layout(scenario)`.
pub fn shrink<D: Database>(
    scenario: &Scenario,
    protocol: &dyn Protocol,
    database: D,
    found: &RunResult,
    effort: Effort,
) -> Result<(Counterexample, D), BackendError> {
    let wanted = Wanted::of(&found.end).unwrap_or_else(|| panic!("what is found can be shrunk, not {:?}", found.end));
    let mut search = Search {
        protocol,
        scenario,
        wanted,
        effort,
        runs: 0,
        workload: scenario.actors.clone(),
        choices: found.schedule.clone(),
    };
    let database = search.shrink_workload(database)?;
    let reduced = search.reduced(search.workload.clone());
    let mut runner = Runner::for_workload(scenario, &reduced, protocol, database)?;
    if wanted != Wanted::Stuck(StuckKind::Endless) {
        search.shrink_choices(&mut runner);
    }
    let mut history = History::default();
    let result = runner.run(0, &mut Replay::new(search.choices.clone()), Some(&mut history));
    let workload = (search.workload != scenario.actors).then_some(search.workload);
    let schedule = Schedule { choices: search.choices, workload };
    Ok((Counterexample { schedule, result, history }, runner.into_database()))
}

/// The end that counts as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The invariant of this name is violated.
    Violated(&'static str),
    Stuck(StuckKind),
}

impl Wanted {
    fn of(end: &RunEnd) -> Option<Self> {
        match end {
            RunEnd::Violated(violation) => Some(Self::Violated(violation.invariant)),
            RunEnd::Stuck(stuck) => Some(Self::Stuck(stuck.kind)),
            RunEnd::Completed | RunEnd::Misfit { .. } | RunEnd::Nondeterministic(_) | RunEnd::Failed(_) => None,
        }
    }
}

struct Search<'a> {
    protocol: &'a dyn Protocol,
    scenario: &'a Scenario,
    wanted: Wanted,
    effort: Effort,
    runs: u32,
    /// The smallest so far, and what comes to that end with it.
    workload: Vec<ActorSpec>,
    choices: Vec<Choice>,
}

impl Search<'_> {
    fn reduced(&self, actors: Vec<ActorSpec>) -> Scenario {
        Scenario { actors, ..self.scenario.clone() }
    }

    fn shrink_workload<D: Database>(&mut self, mut database: D) -> Result<D, BackendError> {
        'smaller: loop {
            for candidate in smaller_workloads(&self.workload) {
                let reduced = self.reduced(candidate);
                let mut runner = Runner::for_workload(self.scenario, &reduced, self.protocol, database)?;
                let again = self.end_again(&mut runner);
                database = runner.into_database();
                if let Some(choices) = again {
                    self.workload = reduced.actors;
                    self.choices = choices;
                    continue 'smaller;
                }
                if self.runs >= self.effort.runs_max / 2 {
                    return Ok(database);
                }
            }
            return Ok(database);
        }
    }

    /// A schedule that comes to the same end with the runner's workload: the present one, or one that a random walk finds.
    fn end_again<D: Database>(&mut self, runner: &mut Runner<'_, D>) -> Option<Vec<Choice>> {
        if self.wanted != Wanted::Stuck(StuckKind::Endless) {
            let mut lenient = Lenient::default();
            lenient.set(&self.choices);
            self.runs += 1;
            let result = runner.run(0, &mut lenient, None);
            if self.is_same(&result) {
                return Some(result.schedule);
            }
        }
        let mut walk = RandomWalk::new();
        for seed in 0..u64::from(self.effort.seeds_a_workload) {
            self.runs += 1;
            let result = runner.run(seed, &mut walk, None);
            if self.is_same(&result) {
                return Some(result.schedule);
            }
        }
        None
    }

    fn shrink_choices<D: Database>(&mut self, runner: &mut Runner<'_, D>) {
        let mut lenient = Lenient::default();
        // The schedule as it is, cut off at the end.
        self.attempt(runner, &mut lenient, &self.choices.clone());
        loop {
            let before = measure(&self.choices);
            self.drop_faults(runner, &mut lenient);
            self.merge_blocks(runner, &mut lenient);
            self.drop_choices(runner, &mut lenient);
            if measure(&self.choices) == before || self.runs >= self.effort.runs_max {
                return;
            }
        }
    }

    fn drop_faults<D: Database>(&mut self, runner: &mut Runner<'_, D>, lenient: &mut Lenient) {
        let mut at = 0;
        while let Some(fault) = self.choices.iter().skip(at).position(|choice| choice.act != Act::Step) {
            at += fault;
            let mut candidate = self.choices.clone();
            // A lost answer becomes an answer, a crash is left out.
            match candidate[at].act {
                Act::Crash => _ = candidate.remove(at),
                _ => candidate[at].act = Act::Step,
            }
            if !self.attempt(runner, lenient, &candidate) {
                at += 1;
            }
        }
    }

    /// Moves an actor's next choice, and what belongs to it, up to its last one.
    fn merge_blocks<D: Database>(&mut self, runner: &mut Runner<'_, D>, lenient: &mut Lenient) {
        let mut end = 1;
        while end < self.choices.len() {
            let actor = self.choices[end - 1].actor;
            let rest = &self.choices[end..];
            let next = rest.iter().position(|choice| choice.actor == actor).filter(|next| *next > 0);
            if let Some(next) = next {
                let block = rest[next..].iter().take_while(|choice| choice.actor == actor).count();
                for length in [block, 1] {
                    let mut candidate = self.choices.clone();
                    candidate[end..end + next + length].rotate_right(length);
                    if self.attempt(runner, lenient, &candidate) {
                        break;
                    }
                }
            }
            end += 1;
        }
    }

    fn drop_choices<D: Database>(&mut self, runner: &mut Runner<'_, D>, lenient: &mut Lenient) {
        let mut at = 0;
        while at < self.choices.len() {
            let mut candidate = self.choices.clone();
            candidate.remove(at);
            if !self.attempt(runner, lenient, &candidate) {
                at += 1;
            }
        }
    }

    /// Runs a candidate; keeps what came of it if that has the same end and is smaller.
    fn attempt<D: Database>(
        &mut self,
        runner: &mut Runner<'_, D>,
        lenient: &mut Lenient,
        candidate: &[Choice],
    ) -> bool {
        if self.runs >= self.effort.runs_max {
            return false;
        }
        self.runs += 1;
        lenient.set(candidate);
        let result = runner.run(0, lenient, None);
        let smaller = self.is_same(&result) && measure(&result.schedule) < measure(&self.choices);
        if smaller {
            self.choices = result.schedule;
        }
        smaller
    }

    fn is_same(&self, result: &RunResult) -> bool {
        Wanted::of(&result.end) == Some(self.wanted)
    }
}

/// Faults, context switches, length: less is better, in this order.
fn measure(choices: &[Choice]) -> (usize, usize, usize) {
    let faults = choices.iter().filter(|choice| choice.act != Act::Step).count();
    let switches = choices.windows(2).filter(|pair| pair[0].actor != pair[1].actor).count();
    (faults, switches, choices.len())
}

/// The workloads that are one thing smaller, the boldest first.
fn smaller_workloads(actors: &[ActorSpec]) -> Vec<Vec<ActorSpec>> {
    let mut all = Vec::new();
    let mut with = |index: usize, role: Role| {
        let mut smaller = actors.to_vec();
        smaller[index].role = role;
        all.push(smaller);
    };
    for (index, actor) in actors.iter().enumerate() {
        match &actor.role {
            Role::Appender { appends } if !appends.is_empty() => with(index, Role::Appender { appends: Vec::new() }),
            Role::Rebuilder { rebuilds: 1.., batch } => with(index, Role::Rebuilder { rebuilds: 0, batch: *batch }),
            Role::Drainer { passes: 1.. } => with(index, Role::Drainer { passes: 0 }),
            _ => {}
        }
    }
    for (index, actor) in actors.iter().enumerate() {
        match &actor.role {
            Role::Appender { appends } if appends.len() > 1 => {
                for left_out in 0..appends.len() {
                    let mut appends = appends.clone();
                    appends.remove(left_out);
                    with(index, Role::Appender { appends });
                }
            }
            Role::Rebuilder { rebuilds: 2.., batch } => with(index, Role::Rebuilder { rebuilds: 1, batch: *batch }),
            Role::Drainer { passes: 2.. } => with(index, Role::Drainer { passes: 1 }),
            _ => {}
        }
    }
    for (index, actor) in actors.iter().enumerate() {
        let Role::Appender { appends } = &actor.role else { continue };
        for number in (0..appends.len()).filter(|number| appends[*number].events > 1) {
            let mut appends = appends.clone();
            appends[number].events = 1;
            with(index, Role::Appender { appends });
        }
    }
    all
}

#[cfg(test)]
mod tests;
