//! Appending.
//!
//! Two flights, and a round trip between them because what is to be applied depends on what the first one found:
//!
//! 1. `BEGIN`, **A1** bump the stream's row, **A2** insert the events, both in one statement; **A3** read which generations there
//!    are and whether this stream has skip records in the live one. A1 locks the stream, gives the transaction its xid, and
//!    checks the expected version: where it is another, nothing is inserted.
//! 2. **A4** apply inline, or record skips; `COMMIT`.
//!
//! A3 is a statement of its own, after A1. Folded into one, its snapshot would be older than the wait for the stream: what the
//! predecessor on this stream committed meanwhile (a skip record, say) would not be seen, and an upsert that waits has no
//! xid yet, so that a rebuild's fence would pass it by. To be sent in one flight does not make them one: each takes its snapshot when
//! the server comes to it. Nothing of what A3 reads is ever kept for the next append.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{EventStore, Registered, StoreSql};
use crate::error::DbError;
use crate::event::{NewEvent, RecordedEvent, timestamp};
use crate::ids::{ExpectedVersion, Position, StreamId, Version};
use crate::projection::ApplyError;
use crate::session::{Answer, Call, Session, Value};
use crate::skip::{NewSkips, SkipReason};
use crate::transaction::{CommitError, Transaction};

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The version of the first of its events.
    pub first_version: Version,
    /// The version of the last of its events, which is the stream's now.
    pub last_version: Version,
    /// The position of the last of its events.
    pub last_position: Position,
}

pub(super) async fn append<S: Session>(
    store: &EventStore,
    session: &mut S,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Appended, AppendError> {
    if events.is_empty() {
        return Err(AppendError::NoEvents);
    }
    let sql = store.store_sql();
    let first = [append_events(sql, stream, expected, events), read_generations(sql, stream)];
    let (transaction, answers) = Transaction::begin(session, store.control(), first).await?;
    let inserted = &answers[0].rows;
    let (Some(first), Some(last)) = (inserted.first(), inserted.last()) else {
        return Err(conflict(sql, transaction, stream, expected).await);
    };
    let before = first.int(2) - 1;
    let appended = Appended {
        first_version: Version::stored(before + 1),
        last_version: Version::stored(last.int(2)),
        last_position: Position::new(last.int(0)),
    };
    match effects(store, stream, before, events, &answers) {
        Ok(calls) => transaction.commit(calls).await.map(|_| appended).map_err(AppendError::from),
        Err(error) => {
            // The handler's word counts, whether or not the rollback is answered.
            transaction.rollback().await.ok();
            Err(error)
        }
    }
}

/// A1 and A2.
fn append_events(sql: &StoreSql, stream: &StreamId, expected: ExpectedVersion, events: &[NewEvent]) -> Call {
    let column = |value: fn(&NewEvent) -> Value| Value::array(events.iter().map(value));
    let mut params = Vec::with_capacity(6);
    params.extend([
        Value::Text(stream.shared()),
        Value::Int(i64::try_from(events.len()).expect("a slice's length fits")),
        column(|event| Value::Text(event.event_type.clone())),
        column(|event| Value::Json(Arc::clone(&event.data))),
        column(|event| Value::Json(Arc::clone(&event.metadata))),
    ]);
    let statement = match expected {
        ExpectedVersion::Any => &sql.append_any,
        ExpectedVersion::NoStream => &sql.append_first,
        ExpectedVersion::Exact(version) => {
            params.push(Value::Int(version.get()));
            &sql.append_at
        }
    };
    Call::new(statement, params)
}

/// A1 found another version: which, is for the error to tell.
async fn conflict<S: Session>(
    sql: &StoreSql,
    mut transaction: Transaction<'_, S>,
    stream: &StreamId,
    expected: ExpectedVersion,
) -> AppendError {
    let read = Call::new(&sql.read_version, [Value::Text(stream.shared())]);
    let answers = match transaction.send(vec![read]).await {
        Ok(answers) => answers,
        Err(error) => return error.into(),
    };
    if let Err(error) = transaction.rollback().await {
        return error.into();
    }
    let actual = answers[0].rows.first().map(|row| Version::stored(row.int(0)));
    AppendError::WrongExpectedVersion { stream: stream.clone(), expected, actual }
}

/// A3.
fn read_generations(sql: &StoreSql, stream: &StreamId) -> Call {
    Call::new(&sql.read_generations, [Value::Text(stream.shared())])
}

/// A4: what `answers` (to A1 with A2, and to A3) demand: apply to a live generation that has nothing pending of this stream and whose handler is
/// here; record a skip for every other.
fn effects(
    store: &EventStore,
    stream: &StreamId,
    before: i64,
    events: &[NewEvent],
    answers: &[Answer],
) -> Result<Vec<Call>, AppendError> {
    let mut calls = Vec::new();
    let mut skips = NewSkips::default();
    let mut recorded: Vec<RecordedEvent> = Vec::new();
    for row in answers[1].rows.iter() {
        let (projection, generation, state, handler_version) = (row.value(0), row.int(1), row.text(2), row.int(3));
        let pending = row.bool(4);
        let handler = store.projection(row.text(0)).filter(|it| it.projection.handler_version() == handler_version);
        let reason = match handler {
            _ if &**state == "building" => SkipReason::Rebuilding,
            None => SkipReason::NoHandler,
            Some(_) if pending => SkipReason::Behind,
            Some(handler) => {
                if recorded.is_empty() {
                    recorded = record(stream, before, events, &answers[0]);
                }
                apply_all(handler, &recorded, &mut calls)?;
                continue;
            }
        };
        skips.push(projection, generation, reason);
    }
    calls.extend(skips.into_call(
        &store.store_sql().insert_skips,
        Value::Text(stream.shared()),
        before + 1,
        &answers[0].rows,
    ));
    Ok(calls)
}

/// The events as the log has them now.
fn record(stream: &StreamId, before: i64, events: &[NewEvent], inserted: &Answer) -> Vec<RecordedEvent> {
    (before + 1..)
        .zip(events.iter().zip(inserted.rows.iter()))
        .map(|(version, (event, row))| RecordedEvent {
            stream_id: stream.clone(),
            version: Version::stored(version),
            position: Position::new(row.int(0)),
            event_type: event.event_type.clone(),
            data: Arc::clone(&event.data),
            metadata: Arc::clone(&event.metadata),
            recorded_at: timestamp(row, 1),
        })
        .collect()
}

fn apply_all(handler: &Registered, events: &[RecordedEvent], calls: &mut Vec<Call>) -> Result<(), AppendError> {
    handler.projection.apply_all(events, calls).map_err(|(index, error)| AppendError::Rejected {
        projection: handler.name.clone(),
        version: events[index].version,
        error,
    })
}

/// Why an append was not done; with [`AppendError::OutcomeUnknown`], why it is not known whether it was.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// There was nothing to append.
    NoEvents,
    /// The stream is not where it was expected to be.
    WrongExpectedVersion {
        /// The stream.
        stream: StreamId,
        /// What was expected.
        expected: ExpectedVersion,
        /// The version that it had shortly after; none: there was no such stream.
        actual: Option<Version>,
    },
    /// A projection cannot apply one of the events.
    Rejected {
        /// Its name.
        projection: SmolStr,
        /// The version that the event would have had.
        version: Version,
        /// Its reason.
        error: ApplyError,
    },
    /// The connection was lost before COMMIT was answered: read the stream to find out whether the events are there.
    OutcomeUnknown(DbError),
    /// What PostgreSQL answered: nothing was appended. Where [`crate::SqlState::is_retryable`], it may be tried again.
    Db(DbError),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvents => f.write_str("an append without events: expected at least one"),
            Self::WrongExpectedVersion { stream, expected, actual: Some(actual) } => {
                write!(f, "stream {stream:?}: expected {expected}, found version {actual}", stream = stream.as_str())
            }
            Self::WrongExpectedVersion { stream, expected, actual: None } => {
                write!(f, "stream {stream:?}: expected {expected}, found no stream", stream = stream.as_str())
            }
            Self::Rejected { projection, version, error } => {
                write!(f, "the projection {projection:?} cannot apply the event of version {version}: {error}")
            }
            Self::OutcomeUnknown(error) => {
                write!(f, "the events may or may not have been appended, read the stream to find out: {error}")
            }
            Self::Db(error) => write!(f, "nothing was appended: {error}"),
        }
    }
}

impl StdError for AppendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoEvents | Self::WrongExpectedVersion { .. } => None,
            Self::Rejected { error, .. } => Some(error),
            Self::OutcomeUnknown(error) | Self::Db(error) => Some(error),
        }
    }
}

impl From<DbError> for AppendError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

impl From<CommitError> for AppendError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Failed(error) => Self::Db(error),
            CommitError::Unknown(error) => Self::OutcomeUnknown(error),
        }
    }
}
