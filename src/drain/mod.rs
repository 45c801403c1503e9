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
use crate::session::{Call, Row, Session, Value};
use crate::statements::statements;
use crate::store::EventStore;
use crate::transaction::{CommitError, IDLE_MAX, Transaction, setting};

statements! {
    /// The statements of draining.
    DrainSql { lock_stream = sql::LOCK_STREAM, lock_free_streams = sql::LOCK_FREE_STREAMS, claim = sql::CLAIM, find_generations = sql::FIND_GENERATIONS, find_streams = sql::FIND_STREAMS, }
}

/// How many streams [`Drainer::drain_all`] looks for at a time.
const STREAMS_PER_LOOK: i64 = 1000;

/// How many streams are drained in one transaction at most: it holds up whoever appends to one of them until its end.
const STREAMS_PER_BATCH: usize = 50;

/// A drain that lost against another transaction is tried again so many times before it is reported.
const RETRIES_MAX: u32 = 5;

/// Drains skip records with the projections of its store. As many may work at once as one likes.
#[derive(Clone, Debug)]
pub struct Drainer {
    store: EventStore,
    /// Name and version of each handler that this process has, as parameters.
    handlers: [Value; 2],
    idle_max: Value,
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
    /// Streams that could not be drained, and why. Their records are as they were.
    pub failed: Vec<(StreamId, DrainError)>,
}

impl DrainReport {
    fn add(&mut self, streams: usize, drained: Drained) {
        self.streams += streams as u64;
        self.drained.projected += drained.projected;
        self.drained.superseded += drained.superseded;
    }
}

impl Drainer {
    /// A drainer for `store`.
    pub fn new(store: &EventStore) -> Self {
        let names = store.projections().map(|it| Value::Text(it.name.clone())).collect();
        let versions = store.projections().map(|it| Value::Int(it.projection.handler_version())).collect();
        let handlers = [Value::Array(names), Value::Array(versions)];
        Self { store: store.clone(), handlers, idle_max: setting(IDLE_MAX) }
    }

    /// The same, with another limit on how long a drain may stand still while it holds a stream, as when its process stalls. Then the
    /// server ends the session, and the stream is free. 60 s where nothing is said.
    #[must_use]
    pub fn with_idle_max(self, idle_max: Duration) -> Self {
        Self { idle_max: setting(idle_max), ..self }
    }

    /// Drains one stream, in one transaction. On an error its records are as they were.
    pub async fn drain_stream<S: Session>(&self, session: &mut S, stream: &StreamId) -> Result<Drained, DrainError> {
        let sql = self.store.drain_sql();
        let id = Value::Text(stream.shared());
        let [names, versions] = self.handlers.clone();
        let lock = Call::new(&sql.lock_stream, [id.clone(), self.idle_max.clone()]);
        let claim = Call::new(&sql.claim, [Value::from(vec![id]), names, versions]);
        let (transaction, answers) = Transaction::begin(session, self.store.control(), [lock, claim]).await?;
        if answers[0].rows.is_empty() {
            transaction.rollback().await.ok();
            return Err(DrainError::NoStream(stream.clone()));
        }
        self.finish(transaction, &answers[1].rows).await
    }

    /// Applies what was claimed, and commits.
    async fn finish<S: Session>(
        &self,
        transaction: Transaction<'_, S>,
        claimed: &[Row],
    ) -> Result<Drained, DrainError> {
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
        let [names, versions] = self.handlers.clone();
        let claim = Call::new(&sql.claim, [Value::from(locked), names, versions]);
        let claimed = transaction.send(vec![claim]).await?.remove(0).rows;
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
        for row in &generations.rows {
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
            let streams: Vec<StreamId> = found.rows.iter().map(|row| StreamId::stored(row.text(0).clone())).collect();
            for batch in streams.chunks(STREAMS_PER_BATCH) {
                self.drain_batch(session, batch, report).await?;
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
            self.drain_into(session, stream, report).await?;
        }
        Ok(())
    }

    async fn drain_into<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        report: &mut DrainReport,
    ) -> Result<(), DbError> {
        let mut retries = 0;
        loop {
            match self.drain_stream(session, stream).await {
                // Another drain was faster.
                Ok(Drained { projected: 0, superseded: 0 }) => return Ok(()),
                Ok(drained) => {
                    report.add(1, drained);
                    return Ok(());
                }
                Err(DrainError::Db(error)) if error.sqlstate().is_connection_lost() => return Err(error),
                Err(DrainError::Db(error)) if error.sqlstate().is_retryable() && retries < RETRIES_MAX => retries += 1,
                Err(error) => {
                    if !report.failed.iter().any(|(failed, _)| failed == stream) {
                        report.failed.push((stream.clone(), error));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// What has to be done about the claimed records; they are in the order of versions within each stream of a generation.
    fn effects(&self, claimed: &[Row]) -> Result<(Drained, Vec<Call>), DrainError> {
        let mut drained = Drained::default();
        let mut calls = Vec::new();
        // A projection has one live generation, and its rows stand together.
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
            let events: Vec<RecordedEvent> = rows.iter().map(RecordedEvent::from_row).collect();
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
