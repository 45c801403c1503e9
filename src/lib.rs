//! An event store core on PostgreSQL that rebuilds inline projections without losing an event.
//!
//! An *inline projection* updates its read model in the transaction that appends the events. While the read model is rebuilt
//! it must not, and then the end of the rebuild has a hole: an append read "rebuilding", skipped its apply, and commits
//! when the rebuild has looked for the last time. Its event is in the log and in no read model, for good.
//!
//! Here an append that does not apply an event *records* that, in its own transaction: a **skip record**. Rollback removes
//! both, commit keeps both. After the rebuild, a **drain** applies what the records name and archives them. Nothing is waited for,
//! and nothing is lost; but somebody has to drain, and to watch that it is done: [`Monitor`].
//!
//! ```no_run
//! use serde_json::json;
//! use skiptrace::postgres::PostgresSession;
//! use skiptrace::{
//!     ApplyError, Call, Drainer, EventStore, ExpectedVersion, Monitor, NewEvent, Projection, Rebuilder, RecordedEvent,
//!     Statement, StreamId, TableName, Value,
//! };
//!
//! struct Balances {
//!     tables: [TableName; 1],
//!     deposit: Statement,
//! }
//!
//! impl Projection for Balances {
//!     fn name(&self) -> &str {
//!         "balances"
//!     }
//!
//!     fn handler_version(&self) -> i64 {
//!         1
//!     }
//!
//!     fn tables(&self) -> &[TableName] {
//!         &self.tables
//!     }
//!
//!     fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError> {
//!         let amount = event.data["amount"].as_i64().ok_or_else(|| ApplyError::new("no amount"))?;
//!         out.push(Call::new(&self.deposit, [Value::from(event.stream_id.as_str()), Value::from(amount)]));
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let balances = Balances {
//!     tables: [TableName::new("public", "balances")],
//!     deposit: Statement::new(
//!         "balances.deposit",
//!         "INSERT INTO public.balances AS b (account, amount) VALUES ($1, $2)
//!          ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount",
//!     ),
//! };
//! let store = EventStore::builder().schema("bank").projection(balances).build()?;
//!
//! let mut session = PostgresSession::connect("postgres://localhost/bank").await?;
//! store.migrate(&mut session).await?;
//! store.check_server(&mut session).await?;
//! store.register(&mut session).await?;
//!
//! // A new projection is building; its first rebuild makes it live.
//! let rebuilder = Rebuilder::new(&store, "balances")?;
//! rebuilder.run(&mut session).await?;
//!
//! let account = StreamId::new("account-1")?;
//! let deposit = NewEvent::new("Deposited", json!({ "amount": 5 }));
//! store.append(&mut session, &account, ExpectedVersion::NoStream, &[deposit]).await?;
//!
//! // Whenever the read model is to be made anew; appends go on.
//! rebuilder.run(&mut session).await?;
//! let report = Drainer::new(&store).drain_all(&mut session).await?;
//! assert!(report.failed.is_empty());
//! assert_eq!(Monitor::new(&store).read(&mut session).await?.depth(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! All that is sent to PostgreSQL goes through a port, [`Session`], one named [`Statement`] at a time: so the same code runs
//! on a real server and under a harness that decides whose statement comes next.

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
pub use session::{Answer, Call, Row, Rows, Session, Statement, Tag, Value};
pub use skip::{Outcome, SkipReason};
pub use sqlstate::SqlState;
pub use store::{AppendError, Appended, BuildError, EventStore, EventStoreBuilder};
