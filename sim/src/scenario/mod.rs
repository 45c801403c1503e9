//! A scenario: who acts, by which protocol, what may go wrong, and what is expected of it.

pub mod diagnostic;
pub mod library;
pub mod parse;
pub(crate) mod reader;

use std::path::PathBuf;

/// A scenario, as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file's name without folder and extension.
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// One line: what the reader sees in `list`.
    pub title: String,
    /// The protocol's name.
    pub protocol: String,
    /// What exploring it must find.
    pub expected: Expected,
    /// The actors, in the order in which choices number them.
    pub actors: Vec<ActorSpec>,
    /// Names of the milestones that must be reached.
    pub milestones: Vec<String>,
    /// What may go wrong, at most, in a run.
    pub faults: FaultBudget,
    /// A run that takes more steps is stuck.
    pub steps_max: u32,
    /// What one step is.
    pub granularity: Granularity,
}

/// What one step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// A statement.
    #[default]
    Statement,
    /// A statement, but of a SELECT its snapshot is one and the rest another: others can come between.
    Snapshot,
}

impl Granularity {
    /// As scenario files say it.
    pub const NAMES: [&str; 2] = ["statement", "snapshot"];
}

/// See [`Scenario::expected`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Every invariant holds in every run.
    Holds,
    /// Some run violates this invariant.
    Violates {
        /// The invariant's name.
        invariant: String,
    },
}

/// One actor: a task with a session of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorSpec {
    /// Its lane's name in a timeline.
    pub name: String,
    /// What it does.
    pub role: Role,
}

/// What an actor does, once, in order; then it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Appends, one transaction each.
    Appender {
        /// The appends, in order.
        appends: Vec<AppendSpec>,
    },
    /// Rebuilds the projection.
    Rebuilder {
        /// How often.
        rebuilds: u32,
        /// Events a batch.
        batch: u32,
    },
    /// Drains skip records until none is left and every appender and rebuilder is done, at most `passes` times while others act.
    Drainer {
        /// How often it looks.
        passes: u32,
    },
}

/// One append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendSpec {
    /// The stream's id.
    pub stream: String,
    /// How many events.
    pub events: u32,
}

/// How many faults of each kind a run may have at most; the seed decides how many it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultBudget {
    /// An actor dies and starts again.
    pub crashes: u32,
    /// A COMMIT is done, its answer lost.
    pub lost_answers: u32,
}
