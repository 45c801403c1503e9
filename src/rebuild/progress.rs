//! What a rebuild knows, as its row of `rebuild_progress` has it.

use std::fmt;

use smol_str::SmolStr;

use crate::session::{Row, Value};

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It waits for the transactions that may have read the old states, and then empties the read model.
    Fencing,
    /// It replays.
    Replaying,
    /// Its generation went live.
    Done,
    /// Another one was started instead.
    Abandoned,
}

impl Phase {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::Replaying => "replaying",
            Self::Done => "done",
            Self::Abandoned => "abandoned",
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        [Self::Fencing, Self::Replaying, Self::Done, Self::Abandoned]
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .unwrap_or_else(|| panic!("a rebuild's phase is {text:?}, which its table's CHECK does not allow"))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The snapshot of a checkpoint that has replayed nothing: it sees no transaction that can append.
const NOTHING_REPLAYED: &str = "1:1:";

/// The row, as this rebuild left it with its last commit, but for [`Progress::fenced`]. Snapshots are kept as PostgreSQL writes them.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) generation: i64,
    pub(crate) handler_version: i64,
    pub(crate) phase: Phase,
    /// Whether the fence has passed: as the row says, or as this process has seen and not yet written.
    pub(crate) fenced: bool,
    pub(crate) epoch: i64,
    pub(crate) pass: i64,
    pub(crate) checkpoint: SmolStr,
    pub(crate) pass_snapshot: Option<SmolStr>,
    pub(crate) cursor: i64,
    pub(crate) pass_end: i64,
    /// Batches of this pass, as far as this process knows: for pacing only.
    pub(crate) batches: u64,
}

impl Progress {
    /// From the columns that taking over returns.
    pub(crate) fn from_row(row: Row<'_>) -> Self {
        Self {
            generation: row.int(0),
            phase: Phase::parse(row.text(1)),
            fenced: row.bool(2),
            epoch: row.int(3),
            pass: row.int(4),
            checkpoint: row.text(5).clone(),
            pass_snapshot: (!row.is_null(6)).then(|| row.text(6).clone()),
            cursor: row.int(7),
            pass_end: row.int(8),
            handler_version: row.int(9),
            batches: 0,
        }
    }

    /// As the start leaves it: the table's defaults.
    pub(crate) fn started(generation: i64, handler_version: i64) -> Self {
        Self {
            generation,
            handler_version,
            phase: Phase::Fencing,
            fenced: false,
            epoch: 1,
            pass: 0,
            checkpoint: NOTHING_REPLAYED.into(),
            pass_snapshot: None,
            cursor: 0,
            pass_end: 0,
            batches: 0,
        }
    }

    /// The parameters `$1` to `$5` of each guarded write, with room for its own.
    pub(crate) fn guard(&self, projection: Value) -> Vec<Value> {
        let numbers = [self.generation, self.epoch, self.pass, self.cursor];
        let mut params = Vec::with_capacity(7);
        params.push(projection);
        params.extend(numbers.map(Value::Int));
        params
    }
}
