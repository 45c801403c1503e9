//! The watch on the skip records: a queue of debts is worth only as much as the eye that is kept on it.

mod sql;

use std::time::Duration;

use smol_str::SmolStr;

use crate::error::DbError;
use crate::event::timestamp;
use crate::ids::{Generation, Position, Timestamp};
use crate::rebuild::Phase;
use crate::session::{Row, Session, Value};
use crate::skip::{Outcome, SkipReason};
use crate::statements::statements;
use crate::store::EventStore;

statements! {
    /// The statements of watching.
    MonitorSql {
        backlog = sql::READ_BACKLOG,
        archive = sql::READ_ARCHIVE,
        generations = sql::READ_GENERATIONS,
        clock = sql::READ_CLOCK,
    }
}

/// Reads how a store is doing. Needs no projections: a store built without any will do.
#[derive(Clone, Debug)]
pub struct Monitor {
    store: EventStore,
}

/// How a store is doing. Its parts are read one after the other, each as it is then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// When the backlog was read, by the server's clock.
    pub read_at: Timestamp,
    /// Every generation that there ever was, by projection and number.
    pub generations: Vec<GenerationStatus>,
    /// The skip records, by projection, generation and reason.
    pub backlog: Vec<Backlog>,
    /// What became of those that are no more, by projection and outcome.
    pub archive: Vec<Archived>,
}

/// A generation of a projection's read model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationStatus {
    /// The projection's name.
    pub projection: SmolStr,
    /// The generation's number.
    pub generation: Generation,
    /// Whether appends apply to it.
    pub state: GenerationState,
    /// The version of the handler that it is made with.
    pub handler_version: i64,
    /// How far its rebuild has come; none where none made it.
    pub progress: Option<RebuildStatus>,
}

/// What a generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GenerationState {
    /// A rebuild fills it.
    Building,
    /// Appends apply to it inline, readers read it.
    Live,
    /// A newer one has its place.
    Retired,
    /// Its rebuild was given up.
    Abandoned,
}

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildStatus {
    /// What it does now.
    pub phase: Phase,
    /// Whether every transaction that may have read the old states has ended.
    pub fenced: bool,
    /// How often it was begun or taken over.
    pub epoch: i64,
    /// The number of its pass, from 1; 0: none was begun.
    pub pass: i64,
    /// Up to where its pass has replayed.
    pub cursor: Position,
    /// Where its pass ends.
    pub pass_end: Position,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it last wrote.
    pub updated_at: Timestamp,
}

/// Skip records of one generation with one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The projection's name.
    pub projection: SmolStr,
    /// The generation's number.
    pub generation: Generation,
    /// Why they were recorded.
    pub reason: SkipReason,
    /// How many there are.
    pub count: u64,
    /// When the oldest was recorded.
    pub oldest: Timestamp,
    /// How old it is, by the server's clock.
    pub oldest_age: Duration,
}

/// Archived skip records of one projection with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// The projection's name.
    pub projection: SmolStr,
    /// What became of them.
    pub outcome: Outcome,
    /// How many there are.
    pub count: u64,
}

impl Status {
    /// How many skip records there are.
    pub fn depth(&self) -> u64 {
        self.backlog.iter().map(|backlog| backlog.count).sum()
    }

    /// The age of the oldest skip record; zero where there is none.
    pub fn oldest_age(&self) -> Duration {
        self.backlog.iter().map(|backlog| backlog.oldest_age).max().unwrap_or_default()
    }
}

impl GenerationState {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Abandoned => "abandoned",
        }
    }

    fn parse(text: &str) -> Self {
        [Self::Building, Self::Live, Self::Retired, Self::Abandoned]
            .into_iter()
            .find(|state| state.as_str() == text)
            .unwrap_or_else(|| panic!("a generation's state is {text:?}, which its table's CHECK does not allow"))
    }
}

impl std::fmt::Display for GenerationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Monitor {
    /// A monitor of `store`.
    pub fn new(store: &EventStore) -> Self {
        Self { store: store.clone() }
    }

    /// Reads everything. It takes no locks that anybody waits for, and counts all skip records, archived ones included.
    pub async fn read<S: Session>(&self, session: &mut S) -> Result<Status, DbError> {
        let sql = self.store.monitor_sql();
        let generations = session.execute(&sql.generations, &[]).await?;
        let backlog = session.execute(&sql.backlog, &[]).await?;
        let archive = session.execute(&sql.archive, &[]).await?;
        let clock = session.execute(&sql.clock, &[]).await?;
        let read_at = timestamp(clock.rows.row(0), 0);
        Ok(Status {
            read_at,
            generations: generations.rows.iter().map(generation).collect(),
            backlog: backlog.rows.iter().map(|row| backlog_of(row, read_at)).collect(),
            archive: archive.rows.iter().map(archived).collect(),
        })
    }
}

fn generation(row: Row<'_>) -> GenerationStatus {
    let progress = || RebuildStatus {
        phase: Phase::parse(row.text(4)),
        fenced: row.bool(5),
        epoch: row.int(6),
        pass: row.int(7),
        cursor: Position::new(row.int(8)),
        pass_end: Position::new(row.int(9)),
        started_at: timestamp(row, 10),
        updated_at: timestamp(row, 11),
    };
    GenerationStatus {
        projection: row.text(0).clone(),
        generation: Generation::new(row.int(1)),
        state: GenerationState::parse(row.text(2)),
        handler_version: row.int(3),
        progress: (*row.value(4) != Value::Null).then(progress),
    }
}

fn backlog_of(row: Row<'_>, read_at: Timestamp) -> Backlog {
    let oldest = timestamp(row, 4);
    Backlog {
        projection: row.text(0).clone(),
        generation: Generation::new(row.int(1)),
        reason: SkipReason::parse(row.text(2)),
        count: count(row, 3),
        oldest,
        oldest_age: read_at.since(oldest),
    }
}

fn archived(row: Row<'_>) -> Archived {
    Archived { projection: row.text(0).clone(), outcome: Outcome::parse(row.text(1)), count: count(row, 2) }
}

fn count(row: Row<'_>, index: usize) -> u64 {
    u64::try_from(row.int(index)).expect("a count is not negative")
}
