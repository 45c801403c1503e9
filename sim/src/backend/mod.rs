//! What a schedule is stepped on. Only this folder names a backend.

pub(crate) mod block_on;
pub mod messages;
pub mod model;
pub mod postgres;
pub mod testbed;

use skiptrace::{Answer, DbError, Statement, Value};

/// A database that is stepped through a schedule: one statement outstanding a session, waits seen as data.
///
/// Sessions are numbered from 0. After each [`Database::execute`] or [`Database::disconnect`], the caller asks
/// [`Database::next_woken`] until there is none: a statement whose wait has ended goes on at once, as on a server.
pub trait Database {
    /// Everything back to what the setup left; no sessions.
    fn reset(&mut self) -> Result<(), BackendError>;

    /// Opens session `session`, anew after a [`Database::disconnect`].
    fn connect(&mut self, session: usize) -> Result<(), BackendError>;

    /// Sends one statement on a session that waits for nothing.
    fn execute(&mut self, session: usize, statement: &Statement, params: &[Value]) -> Result<Outcome, BackendError>;

    /// Sends a statement that reads, and stops it once it has its snapshot ([`Outcome::HasSnapshot`]). One that has to wait for a table is not
    /// stopped any more.
    fn execute_to_snapshot(
        &mut self,
        session: usize,
        statement: &Statement,
        params: &[Value],
    ) -> Result<Outcome, BackendError>;

    /// Goes on with a statement that has its snapshot.
    fn proceed(&mut self, session: usize) -> Result<Outcome, BackendError>;

    /// The next statement that waited and has now been answered, in the order in which they went on.
    fn next_woken(&mut self) -> Result<Option<Woken>, BackendError>;

    /// The sessions that session `session`, which waits, waits for.
    fn blockers(&mut self, session: usize) -> Result<Vec<usize>, BackendError>;

    /// The connection breaks: the server rolls back what was open.
    fn disconnect(&mut self, session: usize) -> Result<(), BackendError>;

    /// Whether anything may have been committed since the last [`Database::observe`] or [`Database::reset`].
    fn has_changed(&mut self) -> bool {
        true
    }

    /// What the server calls the process of a session, where it tells. It may reach rows, and is another on every server.
    fn process_id(&mut self, session: usize) -> Option<i64> {
        let _ = session;
        None
    }

    /// Reads what is committed now into `into`, where what the last call since the [`Database::reset`] read still stands.
    fn observe(&mut self, into: &mut Observation) -> Result<(), BackendError>;
}

/// A session whose statement had waited, and what it was answered.
pub type Woken = (usize, Result<Answer, DbError>);

/// What became of a statement that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Answered(Result<Answer, DbError>),
    /// It waits; its answer comes from [`Database::next_woken`].
    Waits,
    /// It has its snapshot; [`Database::proceed`] goes on with it.
    HasSnapshot,
}

/// The backend itself failed: the run says nothing about the protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendError {
    /// No server, a server that died, a connection that the harness did not break.
    Environment(String),
    /// The model refused a statement: its name, and what was refused.
    Refused {
        /// The statement's name.
        statement: String,
        /// What the model does not support.
        construct: String,
    },
}

/// The committed state that invariants are checked on, the same for every protocol and backend. Streams are numbered
/// in the scenario's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The committed events, by position.
    pub events: Vec<ObservedEvent>,
    /// What the read model was told, in the order in which it was told.
    pub applied: Vec<ObservedEvent>,
    /// The skip records.
    pub skips: Vec<ObservedSkip>,
    /// Number and state of each generation; of a protocol without generations: one, live or building.
    pub generations: Vec<(i64, GenerationState)>,
}

impl Observation {
    /// Becomes like `other`, in the memory that it has.
    pub(crate) fn become_like(&mut self, other: &Self) {
        self.events.clone_from(&other.events);
        self.applied.clone_from(&other.applied);
        self.skips.clone_from(&other.skips);
        self.generations.clone_from(&other.generations);
    }
}

/// An event, as far as invariants look at it. In [`Observation::applied`] `position` counts the applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedEvent {
    /// The stream's number.
    pub stream: u16,
    /// The version in the stream.
    pub version: i64,
    /// The position.
    pub position: i64,
}

/// A skip record, as far as invariants look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedSkip {
    /// The stream's number.
    pub stream: u16,
    /// The version in the stream.
    pub version: i64,
    /// The generation that it was skipped for.
    pub generation: i64,
}

/// The state of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GenerationState {
    /// A rebuild fills it.
    Building,
    /// Appends apply to it inline.
    Live,
    /// Its place was taken.
    Retired,
    /// Its rebuild was cancelled.
    Abandoned,
}

/// What a database needs to know of a protocol: how it is set up, and where its committed state stands. Table names carry their schema.
#[derive(Clone, Debug)]
pub struct Layout {
    /// SQL, one statement each, run once on an empty database.
    pub setup: Vec<String>,
    /// Stream ids in the scenario's order: their index is [`ObservedEvent::stream`].
    pub streams: Vec<String>,
    /// Columns `stream_id, version, position`.
    pub events: String,
    /// The read model of the harness's projection, an append-only log of what it was told: `seq, stream_id, version`.
    pub applied: String,
    /// Columns `stream_id, version, generation`; none where the protocol records no skips.
    pub skips: Option<String>,
    /// Columns `generation` (bigint or integer) and `state` (text: building, live, retired, abandoned).
    pub generations: String,
}
