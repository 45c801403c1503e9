//! An event store core on PostgreSQL that rebuilds inline projections without losing an event.

mod drain;
mod error;
mod event;
mod ids;
mod monitor;
#[cfg(feature = "postgres")]
pub mod postgres;
mod projection;
mod rebuild;
mod schema;
mod session;
mod skip;
mod sqlstate;
mod statements;
mod store;
mod transaction;

pub use drain::{DrainError, DrainReport, Drained, Drainer};
pub use error::DbError;
pub use event::{NewEvent, RecordedEvent};
pub use ids::{ExpectedVersion, Generation, InvalidName, Position, StreamId, Timestamp, Version};
pub use monitor::{Archived, Backlog, GenerationState, GenerationStatus, Monitor, RebuildStatus, Status};
pub use projection::{ApplyError, Projection, ProjectionError, TableName};
pub use rebuild::{Blocker, Phase, RebuildError, RebuildOptions, RebuildReport, Rebuilder};
pub use schema::{SchemaName, SetupError};
pub use session::{Answer, Call, Row, Session, Statement, Tag, Value};
pub use skip::{Outcome, SkipReason};
pub use sqlstate::SqlState;
pub use store::{AppendError, Appended, BuildError, EventStore, EventStoreBuilder};
