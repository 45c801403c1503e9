//! Rebuilding a read model in place, while appends go on.
//!
//! One rule carries everything: in a generation, an event is either applied or has a skip record, never both, and it is
//! applied only if no lower version of its stream has a skip record there.
//!
//! 1. **Start**: one transaction retires the live generation and opens the next one as *building*. From its commit on,
//!    appends record a skip of every event. None is live until the cutover.
//! 2. **Fence** ([`fence`]): wait until no transaction is left that may have read the old states; such a one may still
//!    apply to the read model, and record nothing.
//! 3. **Truncate** the read model.
//! 4. **Passes** ([`pass`]): write down a snapshot, and replay, by position and in batches, the events that it sees and the last
//!    one did not, and archive the skip records that appends wrote of them.
//! 5. **Cutover**: in the transaction of the last batch, the generation goes live. Appends never wait for it: one that read
//!    *building* before has recorded a skip, which a drain applies.
//!
//! Every pass begins after the fence, so each may be the last: whatever is committed after its snapshot has a skip record.
//!
//! # Crashes and zombies
//! Everything that a rebuild knows stands in its row of `rebuild_progress`. Each of its writes begins with an UPDATE of that
//! row *guarded* by epoch, pass and cursor, and does nothing more where the guard finds no row. It is a write and not a read, so
//! that it waits for whoever is at work and then sees what they did. Taking over bumps the epoch first: from then on the
//! former rebuilder's guard fails, whether it crashed, sleeps, or merely lost the answer to a COMMIT.
//!
//! # The order of locks
//! Progress row, then generations, then the read model, then skip records. Appends and drains lock a stream's row first, and
//! never the progress row. What both a rebuild and they lock is in no case held while the other is waited for: see [`pass`]
//! for why a batch needs no lock on the streams that it replays.

mod fence;
mod pass;
mod progress;
mod sql;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use smol_str::SmolStr;

pub use fence::Blocker;
pub use progress::Phase;

use crate::error::DbError;
use crate::ids::{Generation, Version};
use crate::projection::{ApplyError, ProjectionError};
use crate::session::{Call, Session, Value};
use crate::statements::statements;
use crate::store::{EventStore, Registered};
use crate::transaction::{CommitError, IDLE_MAX, Transaction, call, setting};
use progress::Progress;

statements! {
    /// The statements of rebuilding.
    RebuildSql {
        take_over = sql::TAKE_OVER,
        abandon_progress = sql::ABANDON_PROGRESS,
        abandon_generation = sql::ABANDON_GENERATION,
        retire = sql::RETIRE,
        open_generation = sql::OPEN_GENERATION,
        list_fence = sql::LIST_FENCE,
        poll_fence = sql::POLL_FENCE,
        enter_replay = sql::ENTER_REPLAY,
        begin_pass = sql::BEGIN_PASS,
        guard = sql::GUARD,
        read_batch = sql::READ_BATCH,
        archive_applied = sql::ARCHIVE_APPLIED,
        hold = sql::HOLD,
        advance = sql::ADVANCE,
        end_pass = sql::END_PASS,
        finish = sql::FINISH,
        go_live = sql::GO_LIVE,
    }
}

/// Two rebuilders that start at once find each other in at most so many attempts, unless something is broken.
const OPEN_ATTEMPTS_MAX: u32 = 10;

/// How a rebuild goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildOptions {
    /// Events a batch, each a transaction. At least 1.
    pub batch_events: u32,
    /// Passes at most. What is appended during one is left to the next, during the last one to the drain. A pass that
    /// needed one batch only is the last. At least 1.
    pub passes_max: u32,
    /// How long to wait between two looks at what is waited for.
    pub poll_interval: Duration,
    /// How long to wait, in all, for the transactions of the fence.
    pub fence_wait_max: Duration,
    /// How often to try a transaction again that lost against another one, or could not lock the read model.
    pub retries_max: u32,
    /// How often to try to TRUNCATE the read model, 2 s each, while somebody reads it; then it is emptied by DELETE, which
    /// waits for no reader. At least 1.
    pub truncate_attempts_max: u32,
    /// How long a transaction that holds off others, a batch's or a TRUNCATE's, may stand still, as when its process stalls. Then the
    /// server ends the session, and whoever takes the rebuild over goes on. Not less than what applying a batch in memory takes.
    pub idle_max: Duration,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            batch_events: 500,
            passes_max: 3,
            poll_interval: Duration::from_millis(20),
            fence_wait_max: Duration::from_secs(60),
            retries_max: 30,
            truncate_attempts_max: 5,
            idle_max: IDLE_MAX,
        }
    }
}

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildReport {
    /// The generation that it made live.
    pub generation: Generation,
    /// Whether it went on with what another one had begun.
    pub resumed: bool,
    /// Events that it applied; after a resume, without those before.
    pub applied: u64,
    /// Events that it did not apply, because an earlier one of their stream waits.
    pub held: u64,
    /// Batches that it needed.
    pub batches: u64,
}

/// Rebuilds one projection of a store.
#[derive(Clone, Debug)]
pub struct Rebuilder {
    store: EventStore,
    projection: SmolStr,
    options: RebuildOptions,
    /// [`RebuildOptions::idle_max`], as a parameter.
    idle_max: Value,
}

impl Rebuilder {
    /// A rebuilder of the projection named `projection`, which `store` must have.
    pub fn new(store: &EventStore, projection: &str) -> Result<Self, ProjectionError> {
        match store.projection(projection) {
            None => Err(ProjectionError::Unknown(projection.into())),
            Some(registered) => Ok(Self {
                projection: registered.name.clone(),
                store: store.clone(),
                options: RebuildOptions::default(),
                idle_max: setting(IDLE_MAX),
            }),
        }
    }

    /// The same with `options`.
    #[must_use]
    pub fn with_options(mut self, options: RebuildOptions) -> Self {
        let at_least_one = |number: u32| number.max(1);
        self.options = RebuildOptions {
            batch_events: at_least_one(options.batch_events),
            passes_max: at_least_one(options.passes_max),
            ..options
        };
        self.idle_max = setting(options.idle_max);
        self
    }

    /// Rebuilds: goes on with the rebuild that is open, taking it over from whoever worked on it, or starts one. One that was
    /// begun for another version of the handler is abandoned and started anew.
    ///
    /// After an error, call it again when the cause is gone: it goes on from what was committed.
    pub async fn run<S: Session>(&self, session: &mut S) -> Result<RebuildReport, RebuildError> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let open = self.take_over(session).await?;
            let fits = open.as_ref().is_some_and(|it| it.handler_version == self.handler_version());
            let (progress, resumed) = match open {
                Some(progress) if fits => (Some(progress), true),
                other => {
                    fence::wait_before_start(self, session).await?;
                    (self.start(session, other.is_some()).await?, false)
                }
            };
            if let Some(progress) = progress {
                return self.go_on(session, progress, resumed).await;
            }
        }
        Err(RebuildError::TakenOver)
    }

    /// Goes on with the rebuild that is open; none where none is, or where it was begun for another version of the handler.
    pub async fn resume<S: Session>(&self, session: &mut S) -> Result<Option<RebuildReport>, RebuildError> {
        match self.take_over(session).await? {
            Some(progress) if progress.handler_version == self.handler_version() => {
                self.go_on(session, progress, true).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    fn registered(&self) -> &Registered {
        self.store.projection(&self.projection).expect("checked when the rebuilder was made")
    }

    fn handler_version(&self) -> i64 {
        self.registered().projection.handler_version()
    }

    fn sql(&self) -> &RebuildSql {
        self.store.rebuild_sql()
    }

    fn name(&self) -> Value {
        Value::Text(self.projection.clone())
    }

    /// The parameters of a guard that begins a transaction.
    fn guard(&self, progress: &Progress) -> Vec<Value> {
        let mut params = progress.guard(self.name());
        params.push(self.idle_max.clone());
        params
    }

    async fn take_over<S: Session>(&self, session: &mut S) -> Result<Option<Progress>, RebuildError> {
        let answer = session.execute(&self.sql().take_over, &[self.name()]).await?;
        Ok(answer.rows.first().map(Progress::from_row))
    }

    /// None: somebody else has started one meanwhile.
    ///
    /// Opens first, then retires. The other way round, another rebuild's cutover can come between the two: nothing is live when
    /// this one retires, nothing is building when it opens, and it empties the read model of a generation that is live. Opening
    /// waits for such a cutover, and as long as ours is the one that is building, no other can become live.
    async fn start<S: Session>(&self, session: &mut S, abandon: bool) -> Result<Option<Progress>, RebuildError> {
        let sql = self.sql();
        let (name, version) = (self.name(), self.handler_version());
        let mut calls = Vec::new();
        if abandon {
            calls.push(Call::new(&sql.abandon_progress, [name.clone()]));
            calls.push(Call::new(&sql.abandon_generation, [name.clone()]));
        }
        let opened = calls.len();
        calls.push(Call::new(&sql.open_generation, [name.clone(), Value::Int(version)]));
        calls.push(Call::new(&sql.retire, [name]));
        let (transaction, answers) = Transaction::begin(session, self.store.control(), calls).await?;
        let Some(generation) = answers[opened].rows.first().map(|row| row.int(0)) else {
            transaction.rollback().await?;
            return Ok(None);
        };
        transaction.commit(Vec::new()).await?;
        Ok(Some(Progress::started(generation, version)))
    }

    /// From where `progress` stands to the cutover.
    async fn go_on<S: Session>(
        &self,
        session: &mut S,
        mut progress: Progress,
        resumed: bool,
    ) -> Result<RebuildReport, RebuildError> {
        let mut report = RebuildReport {
            generation: Generation::new(progress.generation),
            resumed,
            applied: 0,
            held: 0,
            batches: 0,
        };
        let mut retries = 0;
        while progress.phase != Phase::Done {
            match self.step(session, &mut progress, &mut report, retries).await {
                Ok(()) => retries = 0,
                Err(RebuildError::Db(error))
                    if error.sqlstate().is_retryable() && retries < self.options.retries_max =>
                {
                    retries += 1;
                    session.pause(self.options.poll_interval).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// One transaction, or the wait for the fence. `progress` changes only with what was committed, but for the fence.
    async fn step<S: Session>(
        &self,
        session: &mut S,
        progress: &mut Progress,
        report: &mut RebuildReport,
        retries: u32,
    ) -> Result<(), RebuildError> {
        match progress.phase {
            Phase::Fencing if !progress.fenced => {
                fence::wait(self, session).await?;
                // Known to this process only, until the truncate writes it: whoever takes over before that waits anew.
                progress.fenced = true;
                Ok(())
            }
            Phase::Fencing => self.truncate(session, progress, retries).await,
            Phase::Replaying => pass::batch(self, session, progress, report).await,
            Phase::Done | Phase::Abandoned => Err(RebuildError::TakenOver),
        }
    }

    /// Nobody but readers can hold a lock on the read model now; who waits for one of them is let go by the timeout.
    async fn truncate<S: Session>(
        &self,
        session: &mut S,
        progress: &mut Progress,
        retries: u32,
    ) -> Result<(), RebuildError> {
        assert!(progress.fenced, "a truncate before the fence would lose what an append is still applying");
        let sql = self.sql();
        let guard = Call::new(&sql.enter_replay, self.guard(progress));
        let (transaction, answers) = Transaction::begin(session, self.store.control(), [guard]).await?;
        if answers[0].rows.is_empty() {
            transaction.rollback().await?;
            return Err(RebuildError::TakenOver);
        }
        let Registered { truncate, delete, .. } = self.registered();
        let by_delete = retries > 0 && retries >= self.options.truncate_attempts_max;
        let empty = if by_delete { delete.iter().map(call).collect() } else { vec![call(truncate)] };
        transaction.commit(empty).await?;
        progress.phase = Phase::Replaying;
        Ok(())
    }
}

/// Why a rebuild ended before its cutover. It can be gone on with: see [`Rebuilder::run`].
#[derive(Clone, Debug)]
pub enum RebuildError {
    /// These transactions did not end in time. If it says so before the start, nothing was changed.
    FenceTimeout {
        /// Whether the rebuild has begun, so that the read model is not kept up to date until it is gone on with.
        started: bool,
        /// Who was waited for.
        blockers: Vec<Blocker>,
    },
    /// Somebody else goes on with this rebuild, or has started another one.
    TakenOver,
    /// The projection cannot apply an event.
    Apply {
        /// The event's stream and version, and the reason.
        stream: crate::ids::StreamId,
        /// The event's version.
        version: Version,
        /// The projection's reason.
        error: ApplyError,
    },
    /// At the cutover the generation was not `building`, although its rebuild is open: its row was changed by hand.
    NotBuilding(Generation),
    /// What PostgreSQL answered.
    Db(DbError),
}

impl fmt::Display for RebuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FenceTimeout { started, blockers } => {
                f.write_str("transactions that append or drain did not end in time: ")?;
                for (index, blocker) in blockers.iter().enumerate() {
                    write!(f, "{}{blocker}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(if *started { "; end them and run the rebuild again" } else { "; nothing was changed" })
            }
            Self::TakenOver => f.write_str("somebody else goes on with this rebuild"),
            Self::Apply { stream, version, error } => {
                write!(f, "the projection cannot apply version {version} of stream {:?}: {error}", stream.as_str())
            }
            Self::NotBuilding(generation) => {
                write!(
                    f,
                    "generation {generation} is not building, although its rebuild is open: expected no one else to change it"
                )
            }
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl StdError for RebuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Apply { error, .. } => Some(error),
            Self::Db(error) => Some(error),
            Self::FenceTimeout { .. } | Self::TakenOver | Self::NotBuilding(_) => None,
        }
    }
}

impl From<DbError> for RebuildError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<CommitError> for RebuildError {
    fn from(error: CommitError) -> Self {
        Self::Db(error.into_db_error())
    }
}
