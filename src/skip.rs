//! Skip records: applies that were left for later.
//!
//! In a generation, an event is either applied or has a skip record, never both. A record is written in the
//! transaction that appends its event, so that neither is ever there without the other.

use std::fmt;

use crate::session::{Call, Value};

/// Why an apply was left for later. For people and for pacing: no promise depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// The generation was being built.
    Rebuilding,
    /// An earlier event of the stream waited for its drain.
    Behind,
    /// The process had no handler of the generation's version.
    NoHandler,
    /// The apply failed.
    Failed,
    /// A rebuild left it, because an earlier event of the stream waited.
    Held,
}

impl SkipReason {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rebuilding => "rebuilding",
            Self::Behind => "behind",
            Self::NoHandler => "no_handler",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::Rebuilding, Self::Behind, Self::NoHandler, Self::Failed, Self::Held]
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .unwrap_or_else(|| panic!("a skip record's reason is {text:?}, which its table's CHECK does not allow"))
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a skip record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A drain applied its event.
    Projected,
    /// A rebuild replayed its event.
    AlreadyProjected,
    /// Its generation is not used any more: nothing was applied.
    Superseded,
}

impl Outcome {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Projected => "projected",
            Self::AlreadyProjected => "already_projected",
            Self::Superseded => "superseded",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::Projected, Self::AlreadyProjected, Self::Superseded]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .unwrap_or_else(|| panic!("a skip record's outcome is {text:?}, which its table's CHECK does not allow"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The skip records of one append, as the columns of the statement that inserts them.
#[derive(Debug, Default)]
pub(crate) struct NewSkips {
    projections: Vec<Value>,
    generations: Vec<Value>,
    versions: Vec<Value>,
    positions: Vec<Value>,
    reasons: Vec<Value>,
}

impl NewSkips {
    pub(crate) fn push(&mut self, target: (&Value, i64), version: i64, position: i64, reason: &Value) {
        self.projections.push(target.0.clone());
        self.generations.push(Value::Int(target.1));
        self.versions.push(Value::Int(version));
        self.positions.push(Value::Int(position));
        self.reasons.push(reason.clone());
    }

    /// The call that inserts them for `stream`; none where there are none.
    pub(crate) fn into_call(self, insert: &crate::session::Statement, stream: Value) -> Option<Call> {
        if self.versions.is_empty() {
            return None;
        }
        let Self { projections, generations, versions, positions, reasons } = self;
        let columns = [projections, generations, versions, positions, reasons];
        Some(Call::new(insert, std::iter::once(stream).chain(columns.map(Value::from)).collect::<Vec<_>>()))
    }
}
