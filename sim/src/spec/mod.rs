//! Specs: PostgreSQL's own format for schedules of SQL, as its `isolationtester` reads it.
//!
//! ```text
//! setup    { CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0); }
//! teardown { DROP TABLE t; }
//!
//! session a
//! step a1  { BEGIN; }
//! step a2  { UPDATE t SET n = n + 1 WHERE id = 1; }
//! step a3  { COMMIT; }
//!
//! session b
//! step b1  { UPDATE t SET n = n + 1 WHERE id = 1; }
//!
//! permutation a1 a2 b1 a3         # b1 waits for a3
//! permutation a1 b1(*) a2 a3      # the marker: when b1's answer may be printed
//! ```
//!
//! Without permutations, every interleaving is one ([`Spec::interleavings`]).
//!
//! Source: PostgreSQL, src/test/isolation/README, specparse.y, specscanner.l and isolationtester.c.

pub mod compare;
pub mod explore;
mod interleave;
mod limits;
mod parse;
mod print;
pub mod run;
mod split;

use std::fmt;

pub use interleave::Interleavings;
pub use limits::{KEPT_MAX, OUTPUT_MAX, TEXT_MAX};
pub use split::statements;

/// A spec file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Each is sent before a permutation, in order.
    pub setups: Vec<String>,
    /// Sent after a permutation.
    pub teardown: Option<String>,
    /// In the file's order.
    pub sessions: Vec<SpecSession>,
    /// Empty: every interleaving.
    pub permutations: Vec<Vec<PermutationStep>>,
}

/// One session, on a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecSession {
    /// Its name.
    pub name: String,
    /// Sent on its connection before a permutation.
    pub setup: Option<String>,
    /// In the file's order.
    pub steps: Vec<SpecStep>,
    /// Sent on its connection after a permutation.
    pub teardown: Option<String>,
}

/// One message to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecStep {
    /// Its name, unique in the file.
    pub name: String,
    /// One or more statements.
    pub sql: String,
}

/// Which step: indices into [`Spec::sessions`] and [`SpecSession::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepId {
    /// The session.
    pub session: usize,
    /// The step in that session.
    pub step: usize,
}

/// A step in a permutation, with its markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermutationStep {
    /// Which step.
    pub step: StepId,
    /// When its answer may be reported.
    pub markers: Vec<Marker>,
}

/// What must happen before a step's answer is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `(*)`: the step is reported as waiting at once, and its answer after the next step.
    Waits,
    /// `(other)`: that step has been answered.
    After(StepId),
    /// `(other notices n)`: that step has brought at least so many notices since this one was sent.
    Notices(StepId, u32),
}

/// What is wrong with a spec, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was expected, what was found.
    pub message: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for SpecError {}

impl Spec {
    /// Reads a spec file's text.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        parse::spec(text, u128::MAX)
    }

    /// Reads a spec file. Errs where it lists no permutations and has more than so many interleavings, which are counted up to 10^38.
    pub fn read(bytes: &[u8], permutations_max: Option<u64>) -> Result<Self, SpecError> {
        parse::spec(parse::text(bytes)?, permutations_max.map_or(u128::MAX, u128::from))
    }

    /// A step's text and name.
    pub fn step(&self, id: StepId) -> &SpecStep {
        &self.sessions[id.session].steps[id.step]
    }
}
