//! Events, before and after they were appended.

use std::sync::Arc;

use smol_str::SmolStr;

use serde_json::Value as Json;

use crate::ids::{Position, StreamId, Timestamp, Version};
use crate::session::{Row, Value};

/// An event to append. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// What happened, as in `Deposited`.
    pub event_type: SmolStr,
    /// Its facts. Stored as `jsonb`, which knows no NUL character and may give a number back in another notation.
    pub data: Arc<Json>,
    /// What is known about it besides: who, why, in answer to what.
    pub metadata: Arc<Json>,
}

impl NewEvent {
    /// An event without metadata.
    pub fn new(event_type: impl Into<SmolStr>, data: impl Into<Arc<Json>>) -> Self {
        Self {
            event_type: event_type.into(),
            data: data.into(),
            metadata: Arc::new(Json::Object(serde_json::Map::new())),
        }
    }

    /// The same event with `metadata`.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Arc<Json>>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvent {
    /// Its stream.
    pub stream_id: StreamId,
    /// Its number in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// What happened.
    pub event_type: SmolStr,
    /// Its facts.
    pub data: Arc<Json>,
    /// What is known about it besides.
    pub metadata: Arc<Json>,
    /// When the transaction that appended it began.
    pub recorded_at: Timestamp,
}

impl RecordedEvent {
    /// From the columns `stream_id, version, position, type, data, metadata, recorded_at`, in this order.
    pub(crate) fn from_row(row: Row<'_>) -> Self {
        Self {
            stream_id: StreamId::stored(row.text(0).clone()),
            version: Version::stored(row.int(1)),
            position: Position::new(row.int(2)),
            event_type: row.text(3).clone(),
            data: json(row, 4),
            metadata: json(row, 5),
            recorded_at: timestamp(row, 6),
        }
    }
}

#[track_caller]
fn json(row: Row<'_>, index: usize) -> Arc<Json> {
    match row.value(index) {
        Value::Json(value) => Arc::clone(value),
        other => panic!("column {index}: expected jsonb, found {other:?}"),
    }
}

#[track_caller]
pub(crate) fn timestamp(row: Row<'_>, index: usize) -> Timestamp {
    match row.value(index) {
        Value::Timestamp(micros) => Timestamp::from_micros(*micros),
        other => panic!("column {index}: expected timestamptz, found {other:?}"),
    }
}
