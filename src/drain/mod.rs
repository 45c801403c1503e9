//! Draining: applying what was skipped.
//!
//! A drain locks the stream's row first, as whoever works on a stream does: no append and no other drain works on
//! it meanwhile, and a rebuild's fence sees the drain. It *then* claims the stream's skip records, in a later statement,
//! whose snapshot is younger than the lock: what another drain took is gone, what another append recorded is there. What
//! it claimed it archives and applies, in the order of versions, all in one transaction. So each record is applied exactly
//! once, and after all lower versions of its stream.
//!
//! Streams on which nobody works are drained many in one transaction: a batch locks what it finds free, in the order of the
//! streams' names, and waits for nothing. What somebody was at work on is drained by itself afterwards, and waited for. Where a batch
//! fails, so that one of its streams is at fault, each of them is drained by itself.
//!
//! Of a stream that has many the first are drained in one transaction, then the next: each holds the stream for a while only,
//! and what is done is done. Nothing is skipped, for a claim takes all records *below* a version. Where that version was found does
//! not matter, nor when: it is only about how many there are. The last claim takes whatever there is, so that the stream has caught up
//! behind it, though appends go on.
//!
//! Left alone are the records of a *building* generation, which belong to its rebuild until it goes live, and those of a live one
//! whose handler this process does not have. Records of a generation that is not used any more are archived
//! as superseded, and never applied: in place, its storage is another generation's by now.

mod sql;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use smol_str::SmolStr;

use crate::error::DbError;
use crate::event::RecordedEvent;
use crate::ids::{StreamId, Version};
use crate::projection::ApplyError;
use crate::session::{Call, Row, Rows, Session, Value};
use crate::statements::statements;
use crate::store::EventStore;
use crate::transaction::{CommitError, IDLE_MAX, Transaction, setting};

statements! {
    /// The statements of draining.
    DrainSql { lock_stream = sql::LOCK_STREAM, lock_free_streams = sql::LOCK_FREE_STREAMS, claim = sql::CLAIM, find_generations = sql::FIND_GENERATIONS, find_streams = sql::FIND_STREAMS, find_end = sql::FIND_END, }
}

/// How many streams [`Drainer::drain_all`] looks for at a time.
const STREAMS_PER_LOOK: i64 = 1000;

/// How many streams are drained in one transaction at most: it holds up whoever appends to one of them until its end.
const STREAMS_PER_BATCH: usize = 50;

/// How many records of a stream are drained in one transaction, where nobody says otherwise.
const RECORDS_MAX: u32 = 500;

/// A drain that lost against another transaction is tried again so many times before it is reported.
const RETRIES_MAX: u32 = 5;

/// Drains skip records with the projections of its store. As many may work at once as one likes.
#[derive(Clone, Debug)]
pub struct Drainer {
    store: EventStore,
    /// Name and version of each handler that this process has, as parameters.
    handlers: [Value; 2],
    idle_max: Value,
    records_max: i64,
}

/// Which records of a stream are claimed, at most.
struct Share {
    /// As [`Drainer::handlers`].
    handlers: [Value; 2],
    /// Of lower versions than this.
    below: i64,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records whose events were applied.
    pub projected: u64,
    /// Records of generations that are not used any more.
    pub superseded: u64,
}

/// What [`Drainer::drain_all`] did.
#[derive(Clone, Debug, Default)]
pub struct DrainReport {
    /// Streams that had something to drain, and were drained.
    pub streams: u64,
    /// What was done with their records.
    pub drained: Drained,
    /// Streams that could not be drained, and why. Their records are as they were, but for those that a transaction before had drained.
    pub failed: Vec<(StreamId, DrainError)>,
}

impl Drained {
    fn add(&mut self, drained: Self) {
        self.projected += drained.projected;
        self.superseded += drained.superseded;
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl DrainReport {
    fn add(&mut self, streams: usize, drained: Drained) {
        self.streams += streams as u64;
        self.drained.add(drained);
    }
}

impl Drainer {
    /// A drainer for `store`.
    pub fn new(store: &EventStore) -> Self {
        let names: Vec<Value> = store.projections().map(|it| Value::Text(it.name.clone())).collect();
        let versions: Vec<Value> = store.projections().map(|it| Value::Int(it.projection.handler_version())).collect();
        let handlers = [names, versions].map(Value::from);
        Self { store: store.clone(), handlers, idle_max: setting(IDLE_MAX), records_max: RECORDS_MAX.into() }
    }

    /// The same, with another limit on how long a drain may stand still while it holds a stream, as when its process stalls. Then the
    /// server ends the session, and the stream is free. 60 s where nothing is said.
    #[must_use]
    pub fn with_idle_max(self, idle_max: Duration) -> Self {
        Self { idle_max: setting(idle_max), ..self }
    }

    /// The same, with another limit on how many skip records of a stream [`Drainer::drain_all`] drains in one transaction, at least 1; while that
    /// lasts, whoever appends to the stream waits. 500 where nothing is said.
    #[must_use]
    pub fn with_records_max(self, records_max: u32) -> Self {
        Self { records_max: records_max.max(1).into(), ..self }
    }

    /// Drains one stream, in one transaction, however many records it has. On an error its records are as they were.
    pub async fn drain_stream<S: Session>(&self, session: &mut S, stream: &StreamId) -> Result<Drained, DrainError> {
        self.drain_share(session, stream, &self.all()).await
    }

    /// All records that this process can drain.
    fn all(&self) -> Share {
        Share { handlers: self.handlers.clone(), below: i64::MAX }
    }

    /// Those of `projection`, and of generations that are not used any more, below a version.
    fn of_projection(&self, projection: &Value, below: i64) -> Share {
        let Value::Text(name) = projection else { unreachable!("the column is a text") };
        let handler = self.store.projection(name).map(|it| it.projection.handler_version());
        let name = handler.map(|_| projection.clone());
        let handlers = [name, handler.map(Value::Int)].map(|it| Value::Array(it.into_iter().collect()));
        Share { handlers, below }
    }

    fn claim(&self, streams: Vec<Value>, share: &Share) -> Call {
        let [names, versions] = share.handlers.clone();
        Call::new(&self.store.drain_sql().claim, [Value::from(streams), names, versions, Value::Int(share.below)])
    }

    async fn drain_share<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        share: &Share,
    ) -> Result<Drained, DrainError> {
        let id = Value::Text(stream.shared());
        let lock = Call::new(&self.store.drain_sql().lock_stream, [id.clone(), self.idle_max.clone()]);
        let claim = self.claim(vec![id], share);
        let (transaction, answers) = Transaction::begin(session, self.store.control(), [lock, claim]).await?;
        if answers[0].rows.is_empty() {
            transaction.rollback().await.ok();
            return Err(DrainError::NoStream(stream.clone()));
        }
        self.finish(transaction, &answers[1].rows).await
    }

    /// Applies what was claimed, and commits.
    async fn finish<S: Session>(&self, transaction: Transaction<'_, S>, claimed: &Rows) -> Result<Drained, DrainError> {
        match self.effects(claimed) {
            Ok((drained, calls)) => {
                transaction.commit(calls).await.map_err(CommitError::into_db_error)?;
                Ok(drained)
            }
            Err(error) => {
                transaction.rollback().await.ok();
                Err(error)
            }
        }
    }

    /// Drains those of `streams` that nobody works on, in one transaction. Those that it did not get come back.
    async fn drain_free<'s, S: Session>(
        &self,
        session: &mut S,
        streams: &'s [StreamId],
        report: &mut DrainReport,
    ) -> Result<Vec<&'s StreamId>, DrainError> {
        let sql = self.store.drain_sql();
        let ids: Value = streams.iter().map(|stream| Value::Text(stream.shared())).collect::<Vec<_>>().into();
        let lock = Call::new(&sql.lock_free_streams, [ids, self.idle_max.clone()]);
        let (mut transaction, mut answers) = Transaction::begin(session, self.store.control(), [lock]).await?;
        let locked: Vec<Value> = answers.remove(0).rows.iter().map(|row| row.value(0).clone()).collect();
        let got = |stream: &StreamId| locked.contains(&Value::Text(stream.shared()));
        let others = streams.iter().filter(|stream| !got(stream)).collect();
        if locked.is_empty() {
            transaction.rollback().await?;
            return Ok(others);
        }
        let claimed = transaction.send(vec![self.claim(locked, &self.all())]).await?.remove(0).rows;
        let drained = self.finish(transaction, &claimed).await?;
        let mut found: Vec<&SmolStr> = claimed.iter().map(|row| row.text(0)).collect();
        found.sort_unstable();
        found.dedup();
        report.add(found.len(), drained);
        Ok(others)
    }

    /// Finds the streams that have something to drain, and drains them. One that fails does not hold up the others.
    ///
    /// Errs where the connection is lost; what was drained until then stays drained.
    pub async fn drain_all<S: Session>(&self, session: &mut S) -> Result<DrainReport, DbError> {
        let mut report = DrainReport::default();
        let generations = session.execute(&self.store.drain_sql().find_generations, &self.handlers).await?;
        for row in generations.rows.iter() {
            self.drain_generation(session, [row.value(0), row.value(1)], &mut report).await?;
        }
        Ok(report)
    }

    /// Drains the streams that have records of one generation; of the others, what else there is on these streams.
    async fn drain_generation<S: Session>(
        &self,
        session: &mut S,
        generation: [&Value; 2],
        report: &mut DrainReport,
    ) -> Result<(), DbError> {
        let mut after: SmolStr = "".into();
        loop {
            let [projection, number] = generation.map(Clone::clone);
            let params = [projection, number, Value::Text(after), Value::Int(STREAMS_PER_LOOK)];
            let found = session.execute(&self.store.drain_sql().find_streams, &params).await?;
            let (long, short): (Vec<Row<'_>>, Vec<Row<'_>>) =
                found.rows.iter().partition(|row| row.int(1) > self.records_max);
            let streams: Vec<StreamId> = short.iter().map(|row| StreamId::stored(row.text(0).clone())).collect();
            for batch in streams.chunks(STREAMS_PER_BATCH) {
                self.drain_batch(session, batch, report).await?;
            }
            for row in long {
                self.drain_long(session, &StreamId::stored(row.text(0).clone()), generation, report).await?;
            }
            match found.rows.last() {
                Some(row) if i64::try_from(found.rows.len()) == Ok(STREAMS_PER_LOOK) => after = row.text(0).clone(),
                _ => return Ok(()),
            }
        }
    }

    async fn drain_batch<S: Session>(
        &self,
        session: &mut S,
        streams: &[StreamId],
        report: &mut DrainReport,
    ) -> Result<(), DbError> {
        let left = match streams {
            [stream] => vec![stream],
            streams => match self.drain_free(session, streams, report).await {
                Ok(others) => others,
                Err(DrainError::Db(error)) if error.sqlstate().is_connection_lost() => return Err(error),
                Err(_) => streams.iter().collect(),
            },
        };
        for stream in left {
            let drained = self.drain_or_report(session, stream, &self.all(), report).await?.unwrap_or_default();
            // Nothing: another drain was faster.
            report.add(usize::from(!drained.is_nothing()), drained);
        }
        Ok(())
    }

    /// Drains a stream that has many records of a generation: so many in a transaction, the lowest versions first.
    async fn drain_long<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        generation: [&Value; 2],
        report: &mut DrainReport,
    ) -> Result<(), DbError> {
        let [projection, number] = generation;
        let after = Value::Int(self.records_max);
        let params = [projection.clone(), number.clone(), Value::Text(stream.shared()), after];
        let mut all = Drained::default();
        loop {
            let end = session.execute(&self.store.drain_sql().find_end, &params).await?;
            let end = end.rows.first().map(|row| row.int(0));
            let share = end.map_or_else(|| self.all(), |end| self.of_projection(projection, end));
            let Some(drained) = self.drain_or_report(session, stream, &share, report).await? else {
                report.add(0, all);
                return Ok(());
            };
            all.add(drained);
            if end.is_none() || drained.is_nothing() {
                report.add(usize::from(!all.is_nothing()), all);
                return Ok(());
            }
        }
    }

    /// Drains a share of a stream; where that fails, none, and the report says so.
    async fn drain_or_report<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        share: &Share,
        report: &mut DrainReport,
    ) -> Result<Option<Drained>, DbError> {
        let mut retries = 0;
        loop {
            match self.drain_share(session, stream, share).await {
                Ok(drained) => return Ok(Some(drained)),
                Err(DrainError::Db(error)) if error.sqlstate().is_connection_lost() => return Err(error),
                Err(DrainError::Db(error)) if error.sqlstate().is_retryable() && retries < RETRIES_MAX => retries += 1,
                Err(error) => {
                    if !report.failed.iter().any(|(failed, _)| failed == stream) {
                        report.failed.push((stream.clone(), error));
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// What has to be done about the claimed records; they are in the order of versions within each stream of a generation.
    fn effects(&self, claimed: &Rows) -> Result<(Drained, Vec<Call>), DrainError> {
        let mut drained = Drained::default();
        let mut calls = Vec::new();
        // A projection has one live generation, and its rows stand together.
        let claimed: Vec<Row<'_>> = claimed.iter().collect();
        for rows in claimed.chunk_by(|a, b| (a.text(7), a.text(8)) == (b.text(7), b.text(8))) {
            let (projection, state) = (rows[0].text(7), rows[0].text(8));
            if &**state != "live" {
                drained.superseded += rows.len() as u64;
                continue;
            }
            if let Some(row) = rows.iter().find(|row| row.is_null(3)) {
                let stream = StreamId::stored(row.text(0).clone());
                return Err(DrainError::NoEvent { stream, version: Version::stored(row.int(1)) });
            }
            let events: Vec<RecordedEvent> = rows.iter().copied().map(RecordedEvent::from_row).collect();
            let handler = self.store.projection(projection).expect("claimed were those whose handler is here");
            handler.projection.apply_all(&events, &mut calls).map_err(|(index, error)| DrainError::Apply {
                projection: projection.clone(),
                version: events[index].version,
                error,
            })?;
            drained.projected += events.len() as u64;
        }
        Ok((drained, calls))
    }
}

/// Why a stream was not drained.
#[derive(Clone, Debug)]
pub enum DrainError {
    /// The store has no such stream.
    NoStream(StreamId),
    /// A skip record names an event that is not in the log: somebody has deleted it.
    NoEvent {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: Version,
    },
    /// A projection cannot apply an event.
    Apply {
        /// Its name.
        projection: SmolStr,
        /// The event's version.
        version: Version,
        /// Its reason.
        error: ApplyError,
    },
    /// What PostgreSQL answered. After a lost connection it is not known whether the stream was drained; to drain it
    /// once more is safe.
    Db(DbError),
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStream(stream) => write!(f, "there is no stream {:?} to drain", stream.as_str()),
            Self::NoEvent { stream, version } => write!(
                f,
                "a skip record names version {version} of stream {:?}, which is not in the log: expected that no event \
                 is ever deleted",
                stream.as_str()
            ),
            Self::Apply { projection, version, error } => {
                write!(f, "the projection {projection:?} cannot apply the event of version {version}: {error}")
            }
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl StdError for DrainError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoStream(_) | Self::NoEvent { .. } => None,
            Self::Apply { error, .. } => Some(error),
            Self::Db(error) => Some(error),
        }
    }
}

impl From<DbError> for DrainError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}
