//! Exploring: many runs, each a function of a scenario and a schedule.

pub mod compare;
pub mod history;
pub mod milestone;
pub mod pool;
mod run;
pub mod schedule;
pub mod schedule_file;
pub mod shrink;
pub mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod trace;
pub mod verdict;

pub use run::Runner;

use skiptrace::SqlState;

use crate::backend::BackendError;
use schedule::Choice;

/// What one run came to.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The choices that were made.
    pub schedule: Vec<Choice>,
    /// A hash of its history, the same on every machine.
    pub hash: u64,
    /// Statements that were sent.
    pub statements: u32,
    /// How it ended.
    pub end: RunEnd,
    /// Bit `i`: the scenario's milestone `i` was reached.
    pub milestones: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// Every actor is done, and every invariant held.
    Completed,
    /// An invariant was violated; the run stopped there.
    Violated(Violation),
    /// Not everybody can finish.
    Stuck(Stuck),
    /// The schedule does not fit the scenario any more: which step, what was asked for, what was there.
    Misfit {
        /// Index into the schedule.
        step: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// The same schedule gave two histories: where they part.
    Nondeterministic(String),
    /// The backend failed.
    Failed(BackendError),
}

/// A run without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// In which way.
    pub kind: StuckKind,
    /// What was expected and what was found, and who waits for whom.
    pub message: String,
}

/// See [`Stuck::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StuckKind {
    /// Nobody can go on, and not everybody is done.
    Blocked,
    /// Somebody was answered an error that its protocol does not cope with.
    GaveUp(SqlState),
    /// Somebody goes on, and on: the steps that the scenario allows are used up.
    Endless,
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as in `no_loss`.
    pub invariant: &'static str,
    /// After which step, from 0.
    pub step: u32,
    /// What was expected and what was found, in words.
    pub message: String,
}
