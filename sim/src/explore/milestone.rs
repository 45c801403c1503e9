//! Milestones: what a scenario is about must have happened, or its verdict is vacuous.
//!
//! They are told from what any protocol shows: who committed, who crashed, and how the observed state changed.

use crate::backend::{Database, GenerationState, Observation};
use crate::exec::Executor;
use crate::exec::executor::Stepped;
use crate::explore::trace::Trace;
use crate::scenario::{Role, Scenario};

/// A milestone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// One line: what has happened when it is reached.
    pub summary: &'static str,
}

const STRADDLED_CUTOVER: u32 = 0;
const STRADDLED_START: u32 = 1;
const SKIP_RECORDED: u32 = 2;
const DRAINED: u32 = 3;
const DRAINED_WHILE_REBUILDING: u32 = 4;
const REBUILD_FINISHED: u32 = 5;
const CRASHED_MID_REBUILD: u32 = 6;
const CRASHED_MID_APPEND: u32 = 7;
const COMMIT_ANSWER_LOST: u32 = 8;
const APPLIED_INLINE_AFTER_REBUILD: u32 = 9;
const CRASHED_MID_DRAIN: u32 = 10;

const ALL: &[Milestone] = &[
    Milestone {
        name: "append_straddled_cutover",
        summary: "an append was under way when a generation went live, and committed after",
    },
    Milestone {
        name: "append_straddled_start",
        summary: "an append was under way when a rebuild started, and committed after",
    },
    Milestone { name: "skip_recorded", summary: "an append left a skip record" },
    Milestone { name: "drained", summary: "a drainer took skip records away" },
    Milestone { name: "drained_while_rebuilding", summary: "a drainer took skip records away while a rebuild ran" },
    Milestone { name: "rebuild_finished", summary: "a rebuilt generation went live" },
    Milestone { name: "crashed_mid_rebuild", summary: "a rebuilder died while its generation was building" },
    Milestone { name: "crashed_mid_append", summary: "an appender died in the middle of a transaction" },
    Milestone { name: "commit_answer_lost", summary: "a COMMIT was done and its answer lost" },
    Milestone {
        name: "applied_inline_after_rebuild",
        summary: "after a rebuild has finished, an append applied its event inline",
    },
    Milestone { name: "crashed_mid_drain", summary: "a drainer died in the middle of a transaction" },
];

/// All milestones.
pub fn all() -> &'static [Milestone] {
    ALL
}

/// An append counts as under way when this many statements have been sent in its transaction: BEGIN alone is nothing yet.
const UNDER_WAY: u32 = 2;

/// Follows one run.
pub(crate) struct Tracker {
    appenders: u64,
    drainers: u64,
    rebuilders: u64,
    /// The scenario's milestones, as numbers in [`ALL`].
    wanted: Vec<u32>,
    /// Bit `i`: milestone `i` of [`ALL`].
    reached: u64,
    before: Summary,
    /// Appenders that were under way at a cutover or a start.
    at_cutover: u64,
    at_start: u64,
}

/// As much of an observation as milestones compare.
#[derive(Clone, Copy, Default)]
struct Summary {
    applied: usize,
    skips: usize,
    building: bool,
    live: bool,
}

impl Summary {
    fn of(observation: &Observation) -> Self {
        let has = |state| observation.generations.iter().any(|(_, found)| *found == state);
        Self {
            applied: observation.applied.len(),
            skips: observation.skips.len(),
            building: has(GenerationState::Building),
            live: has(GenerationState::Live),
        }
    }
}

impl Tracker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mask = |is: fn(&Role) -> bool| {
            (0..).zip(&scenario.actors).filter(|(_, actor)| is(&actor.role)).map(|(bit, _): (u32, _)| 1 << bit).sum()
        };
        let number = |name: &String| {
            let found = ALL.iter().position(|milestone| milestone.name == name);
            u32::try_from(found.unwrap_or_else(|| panic!("{name} is no milestone"))).expect("a handful")
        };
        Self {
            appenders: mask(|role| matches!(role, Role::Appender { .. })),
            rebuilders: mask(|role| matches!(role, Role::Rebuilder { .. })),
            drainers: mask(|role| matches!(role, Role::Drainer { .. })),
            wanted: scenario.milestones.iter().map(number).collect(),
            reached: 0,
            before: Summary::default(),
            at_cutover: 0,
            at_start: 0,
        }
    }

    /// A run begins in the committed state `initial`.
    pub(crate) fn begin(&mut self, initial: &Observation) {
        self.reached = 0;
        self.at_cutover = 0;
        self.at_start = 0;
        self.before = Summary::of(initial);
    }

    /// Bit `i`: the scenario's milestone `i` was reached.
    pub(crate) fn reached(&self) -> u64 {
        let reached = |&(_, number): &(u32, &u32)| self.reached & (1 << number) != 0;
        (0..).zip(&self.wanted).filter(reached).map(|(bit, _)| 1 << bit).sum()
    }

    /// A step was made that did something; `now`: the committed state, if it has changed.
    pub(crate) fn stepped<D: Database>(
        &mut self,
        stepped: &Stepped,
        now: Option<&Observation>,
        executor: &Executor<D>,
        trace: &mut Trace,
    ) {
        let mut reached = 0;
        if let Some(actor) = stepped.crashed {
            let actor = 1 << actor;
            if actor & self.rebuilders != 0 && self.before.building {
                reached |= 1 << CRASHED_MID_REBUILD;
            }
            if actor & self.drainers != 0 && stepped.crashed_in_transaction {
                reached |= 1 << CRASHED_MID_DRAIN;
            }
        }
        reached |= u64::from(stepped.answer_lost) << COMMIT_ANSWER_LOST;
        reached |= u64::from(stepped.crashed_in_transaction && self.is_appender(stepped.crashed)) << CRASHED_MID_APPEND;
        if stepped.committed & self.appenders & self.at_cutover != 0 {
            reached |= 1 << STRADDLED_CUTOVER;
        }
        if stepped.committed & self.appenders & self.at_start != 0 {
            reached |= 1 << STRADDLED_START;
        }
        let ended = stepped.committed | stepped.crashed.map_or(0, |actor| 1 << actor);
        self.at_cutover &= !ended;
        self.at_start &= !ended;
        if let Some(now) = now {
            reached |= self.changed(stepped, Summary::of(now), executor);
        }
        let fresh = reached & !self.reached;
        if fresh != 0 {
            self.reached |= fresh;
            for (bit, milestone) in ALL.iter().enumerate() {
                if fresh & (1 << bit) != 0 {
                    trace.milestone(milestone.name);
                }
            }
        }
    }

    fn changed<D: Database>(&mut self, stepped: &Stepped, now: Summary, executor: &Executor<D>) -> u64 {
        let before = std::mem::replace(&mut self.before, now);
        let mut reached = 0;
        if now.skips > before.skips && stepped.committed & self.appenders != 0 {
            reached |= 1 << SKIP_RECORDED;
        }
        if now.skips < before.skips && stepped.committed & self.drainers != 0 {
            reached |= 1 << DRAINED;
            reached |= u64::from(before.building) << DRAINED_WHILE_REBUILDING;
        }
        if before.building && !now.building && now.live {
            reached |= 1 << REBUILD_FINISHED;
            self.at_cutover = self.under_way(executor);
        }
        if !before.building && now.building {
            self.at_start = self.under_way(executor);
        }
        if self.reached & (1 << REBUILD_FINISHED) != 0
            && now.applied > before.applied
            && stepped.committed & self.appenders != 0
        {
            reached |= 1 << APPLIED_INLINE_AFTER_REBUILD;
        }
        reached
    }

    fn is_appender(&self, actor: Option<u8>) -> bool {
        actor.is_some_and(|actor| self.appenders & (1 << actor) != 0)
    }

    fn under_way<D: Database>(&self, executor: &Executor<D>) -> u64 {
        let mut mask = 0;
        for actor in 0..64 {
            if self.appenders & (1 << actor) != 0 {
                let lane = executor.lane(actor);
                let under_way = lane.in_transaction.get() && lane.statements.get() >= UNDER_WAY;
                mask |= u64::from(under_way) << actor;
            }
        }
        mask
    }
}
