//! Skip records: applies that were left for later.
//!
//! In a generation, an event is either applied or has a skip record, never both. A record is written in the
//! transaction that appends its event, so that neither is ever there without the other.

use std::fmt;

use crate::session::{Call, Rows, Statement, Value};

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

/// The skip records of one append: each of its events, for each generation that they were not applied to.
#[derive(Debug, Default)]
pub(crate) struct NewSkips<'a> {
    /// Projection, number and why.
    generations: Vec<(&'a Value, i64, SkipReason)>,
}

impl<'a> NewSkips<'a> {
    pub(crate) fn push(&mut self, projection: &'a Value, generation: i64, reason: SkipReason) {
        self.generations.push((projection, generation, reason));
    }

    /// The call that inserts them for `stream`; none where there are none. `first` is the version of the first of the events, and
    /// `events` are the rows that begin with their positions.
    pub(crate) fn into_call(self, insert: &Statement, stream: Value, first: i64, events: &Rows) -> Option<Call> {
        if self.generations.is_empty() {
            return None;
        }
        let records = self.generations.len() * events.len();
        let of_generation = |value: fn(&(&Value, i64, SkipReason)) -> Value| {
            Value::array((0..records).map(|record| value(&self.generations[record / events.len()])))
        };
        let of_event = |value: &dyn Fn(usize) -> i64| {
            Value::array((0..records).map(|record| Value::Int(value(record % events.len()))))
        };
        let columns = [
            stream,
            of_generation(|(projection, ..)| (*projection).clone()),
            of_generation(|(_, generation, _)| Value::Int(*generation)),
            of_event(&|event| first + i64::try_from(event).expect("a slice's index fits")),
            of_event(&|event| events.row(event).int(0)),
            of_generation(|(.., reason)| Value::from(reason.as_str())),
        ];
        Some(Call::new(insert, columns))
    }
}
