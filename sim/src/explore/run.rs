//! One run: begin, make choices until nobody has anything left to do, look at every committed state on the way.
//!
//! A run has two phases. In the *safety* phase appenders and rebuilders are at work and faults happen; nothing bad may. When the
//! last of them is done the *liveness* phase begins: no more faults, whoever crashed starts again, drainers drain what is left, and
//! everything must converge. Both together have the scenario's bound on steps; a run that needs more is stuck.

use super::history::History;
use super::milestone::Tracker;
use super::schedule::{Choice, Ready};
use super::schedule_file::choice_text;
use super::trace::Trace;
use super::{RunEnd, RunResult, Stuck, StuckKind, Violation};
use crate::backend::{BackendError, Database, Observation};
use crate::exec::Executor;
use crate::exec::executor::Stepped;
use crate::fault;
use crate::invariant::{self, Ledger, When};
use crate::protocol::{self, Actors, Protocol};
use crate::scenario::Scenario;
use crate::strategy::{Strategy, twice};

/// Runs a scenario on one database, any number of times. Each worker has its own.
pub struct Runner<'a, D: Database> {
    scenario: &'a Scenario,
    executor: Executor<D>,
    trace: Trace,
    tracker: Tracker,
    streams: Vec<String>,
    /// What the setup left.
    initial: Observation,
    observation: Observation,
    ledger: Ledger,
    schedule: Vec<Choice>,
}

impl<'a, D: Database> Runner<'a, D> {
    /// A runner of `scenario` by `protocol` on `database`, which was set up with `protocol.layout(scenario)`.
    pub fn new(scenario: &'a Scenario, protocol: &dyn Protocol, database: D) -> Result<Self, BackendError> {
        Self::for_workload(scenario, scenario, protocol, database)
    }

    /// The same for a scenario whose actors do less than those of `whole`, for which `database` was set up.
    pub(crate) fn for_workload(
        whole: &Scenario,
        scenario: &'a Scenario,
        protocol: &dyn Protocol,
        mut database: D,
    ) -> Result<Self, BackendError> {
        let mut initial = Observation::default();
        database.reset()?;
        database.observe(&mut initial)?;
        Ok(Self {
            scenario,
            executor: Executor::new(database, Box::new(Actors::new(scenario, protocol)), scenario.granularity),
            trace: Trace::new(),
            tracker: Tracker::new(scenario),
            streams: protocol::streams(whole),
            observation: initial.clone(),
            initial,
            ledger: Ledger::of(protocol.shows_order()),
            schedule: Vec::new(),
        })
    }

    /// One run: a function of the scenario, the seed and the strategy. What happened is written into `history`, if there is one.
    pub fn run<S: Strategy + ?Sized>(
        &mut self,
        seed: u64,
        strategy: &mut S,
        history: Option<&mut History>,
    ) -> RunResult {
        self.trace.begin(history.is_some());
        self.tracker.begin(&self.initial);
        self.schedule.clear();
        self.observation.become_like(&self.initial);
        self.ledger.fill(&self.observation, self.streams.len());
        strategy.begin_run(seed);
        let most = self.scenario.faults;
        let faults = strategy.faults(fault::draw(seed, most), most);
        let end = match self.executor.begin(faults) {
            Ok(()) => self.steps(strategy).unwrap_or_else(RunEnd::Failed),
            Err(error) => RunEnd::Failed(error),
        };
        if let Some(history) = history {
            *history = self.trace.take_history().unwrap_or_default();
        }
        RunResult {
            schedule: self.schedule.clone(),
            hash: self.trace.hash(),
            statements: self.trace.statements(),
            end,
            milestones: self.tracker.reached(),
        }
    }

    /// The same; about one run in a hundred is executed twice and compared ([`RunEnd::Nondeterministic`]).
    pub fn run_checked<S: Strategy + ?Sized>(&mut self, seed: u64, strategy: &mut S) -> RunResult {
        let first = self.run(seed, strategy, None);
        if twice::is_selected(seed) {
            let second = self.run(seed, strategy, None);
            return twice::compare(first, &second);
        }
        first
    }

    /// The committed state where the last run ended.
    pub fn observation(&self) -> &Observation {
        &self.observation
    }

    /// The database, between two runs.
    pub fn database(&mut self) -> &mut D {
        self.executor.database()
    }

    /// Gives the database back.
    pub fn into_database(self) -> D {
        self.executor.into_database()
    }

    fn steps<S: Strategy + ?Sized>(&mut self, strategy: &mut S) -> Result<RunEnd, BackendError> {
        loop {
            let ready = self.executor.ready();
            if ready.is_empty() {
                return self.finish();
            }
            if self.schedule.len() >= self.scenario.steps_max as usize {
                let message = format!("expected an end within {} steps; found none", self.scenario.steps_max);
                return self.stuck(StuckKind::Endless, message);
            }
            let Some(choice) = strategy.choose(&ready) else {
                return Ok(self.misfit(&ready, strategy.wanted()));
            };
            self.schedule.push(choice);
            let stepped = self.executor.step(choice, &mut self.trace)?;
            if let Some(end) = self.look(&stepped)? {
                return Ok(end);
            }
        }
    }

    /// Looks at what a step has done.
    fn look(&mut self, stepped: &Stepped) -> Result<Option<RunEnd>, BackendError> {
        if *stepped != Stepped::default() {
            let changed = stepped.committed != 0 && self.executor.database().has_changed();
            if changed {
                self.executor.database().observe(&mut self.observation)?;
                self.ledger.fill(&self.observation, self.streams.len());
            }
            self.tracker.stepped(stepped, changed.then_some(&self.observation), &self.executor, &mut self.trace);
            if changed && let Err(broken) = invariant::check(When::Always, &self.observation, &self.ledger) {
                return Ok(Some(self.violated(broken)));
            }
        }
        let Some((actor, error)) = self.executor.gave_up() else { return Ok(None) };
        let name = &self.scenario.actors[usize::from(*actor)].name;
        let message = format!("expected {name} to cope with whatever the database answers; it gave up: {error}");
        self.stuck(StuckKind::GaveUp(error.sqlstate()), message).map(Some)
    }

    fn finish(&mut self) -> Result<RunEnd, BackendError> {
        if !self.executor.all_done() {
            let message = "expected everybody to finish; found nobody who can go on";
            return self.stuck(StuckKind::Blocked, message.to_owned());
        }
        match invariant::check(When::Eventually, &self.observation, &self.ledger) {
            Ok(()) => Ok(RunEnd::Completed),
            Err(broken) => Ok(self.violated(broken)),
        }
    }

    fn violated(&self, (invariant, message): (&'static str, String)) -> RunEnd {
        let step = u32::try_from(self.schedule.len().saturating_sub(1)).expect("bounded by steps_max");
        RunEnd::Violated(Violation { invariant, step, message: self.name_streams(message) })
    }

    /// Invariants know streams by number; a reader knows them by name.
    fn name_streams(&self, mut message: String) -> String {
        for (number, name) in self.streams.iter().enumerate().rev() {
            message = message.replace(&format!("stream {number}"), &format!("stream \"{name}\""));
        }
        message
    }

    fn misfit(&self, ready: &Ready, wanted: Option<Choice>) -> RunEnd {
        let describe = |choice: Choice| choice_text(choice, &self.scenario.actors);
        let ready: Vec<String> = ready.choices().map(describe).collect();
        let wanted = wanted.map_or_else(|| "the schedule ends".to_owned(), describe);
        let message = format!("expected: {wanted}; found ready: {}", ready.join(", "));
        RunEnd::Misfit { step: self.schedule.len(), message }
    }

    fn stuck(&mut self, kind: StuckKind, mut message: String) -> Result<RunEnd, BackendError> {
        if self.executor.work_is_done() {
            message.push_str(" (liveness phase)");
        }
        for (actor, blockers) in self.executor.waiting()? {
            let name = |&actor: &usize| self.scenario.actors[actor].name.as_str();
            let blockers: Vec<&str> = blockers.iter().map(name).collect();
            message.extend(["; ", name(&actor), " waits for ", &blockers.join(", ")]);
        }
        Ok(RunEnd::Stuck(Stuck { kind, message }))
    }
}
