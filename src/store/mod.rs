//! The event store: what it is made of, and how it is opened.

mod append;
mod sql;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

pub use append::{AppendError, Appended};

use crate::drain::DrainSql;
use crate::error::DbError;
use crate::event::{NewEvent, RecordedEvent};
use crate::ids::{ExpectedVersion, InvalidName, StreamId, checked};
use crate::monitor::MonitorSql;
use crate::projection::{NAME_BYTES_MAX, Projection, ProjectionError};
use crate::rebuild::RebuildSql;
use crate::schema::{self, SchemaName, SchemaSql, SetupError};
use crate::session::{Session, Statement, Value};
use crate::statements::statements;
use crate::transaction::Control;

statements! {
    /// The statements of appending, reading and registering.
    StoreSql {
        append_at = sql::APPEND_AT,
        append_first = sql::APPEND_FIRST,
        append_any = sql::APPEND_ANY,
        read_version = sql::READ_VERSION,
        read_generations = sql::READ_GENERATIONS,
        insert_skips = sql::INSERT_SKIPS,
        read_stream = sql::READ_STREAM,
        register = sql::REGISTER,
    }
}

/// An event store in a schema of a PostgreSQL database, with the projections that this process can apply.
///
/// It holds no connection: each operation is given a [`Session`]. Cheap to clone, and to be built once in a process:
/// sessions keep what they have prepared by its statements.
#[derive(Clone)]
pub struct EventStore {
    inner: Arc<Inner>,
}

struct Inner {
    schema: SchemaName,
    control: Control,
    setup_sql: SchemaSql,
    store_sql: StoreSql,
    rebuild_sql: RebuildSql,
    drain_sql: DrainSql,
    monitor_sql: MonitorSql,
    projections: BTreeMap<SmolStr, Registered>,
}

/// A projection of this process.
pub(crate) struct Registered {
    pub(crate) name: SmolStr,
    pub(crate) projection: Arc<dyn Projection>,
    /// Empties its read model, all tables at once, since they may refer to each other.
    pub(crate) truncate: Statement,
    /// The same for those who cannot lock readers out, one a table.
    pub(crate) delete: Vec<Statement>,
}

impl EventStore {
    /// A store in the schema `skiptrace` without projections, to be changed.
    pub fn builder() -> EventStoreBuilder {
        EventStoreBuilder { schema: "skiptrace".to_owned(), projections: Vec::new() }
    }

    /// Creates the schema and its tables, or brings them up to date. Safe to be called by every process that starts:
    /// those who come at once take turns.
    pub async fn migrate<S: Session>(&self, session: &mut S) -> Result<(), SetupError> {
        let Inner { schema, control, setup_sql, .. } = &*self.inner;
        schema::migrate(session, control, schema, setup_sql).await
    }

    /// The statements that create the schema from nothing, in order: for those who set a database up by other means.
    pub fn creation(&self) -> Vec<String> {
        schema::creation(&self.inner.schema, &self.inner.setup_sql)
    }

    /// Errs where the server is one on which the store would lose events: a standby, or one on which somebody gave the
    /// sequence of the positions a CACHE. Call it when a process starts.
    pub async fn check_server<S: Session>(&self, session: &mut S) -> Result<(), SetupError> {
        schema::check_server(session, &self.inner.setup_sql).await
    }

    /// Makes the store's projections known to all its processes. From then on every append records what it does not apply;
    /// a new projection is *building*, and goes live with its first rebuild. Those that are known are left as they are.
    pub async fn register<S: Session>(&self, session: &mut S) -> Result<(), DbError> {
        for registered in self.inner.projections.values() {
            let version = registered.projection.handler_version();
            let params = [Value::Text(registered.name.clone()), Value::Int(version)];
            session.execute(&self.inner.store_sql.register, &params).await?;
        }
        Ok(())
    }

    /// Appends `events` to `stream`, all or none, and applies them to the live read models in the same transaction; where
    /// that must not be done now, it records skips instead. It never waits for a rebuild.
    ///
    /// Appends to one stream take turns. The session must not be in a transaction. Dropping the future rolls back; once COMMIT
    /// has been sent, which is in one flight with the applies, it may be too late, and all of it is done.
    pub async fn append<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Appended, AppendError> {
        append::append(self, session, stream, expected, events).await
    }

    /// The events of `stream` with versions above `after` (0: from its beginning), at most `events_max`.
    pub async fn read_stream<S: Session>(
        &self,
        session: &mut S,
        stream: &StreamId,
        after: i64,
        events_max: u32,
    ) -> Result<Vec<RecordedEvent>, DbError> {
        let params = [Value::Text(stream.shared()), Value::Int(after), Value::Int(events_max.into())];
        let answer = session.execute(&self.inner.store_sql.read_stream, &params).await?;
        Ok(answer.rows.iter().map(RecordedEvent::from_row).collect())
    }

    /// The schema that the store's tables are in.
    pub fn schema(&self) -> &SchemaName {
        &self.inner.schema
    }

    /// Every statement that the store, its rebuilders, drainers and monitors send, except those of [`EventStore::creation`].
    pub fn statements(&self) -> Vec<&Statement> {
        let Inner { control, setup_sql, store_sql, rebuild_sql, drain_sql, monitor_sql, projections, .. } =
            &*self.inner;
        let mut all = control.all();
        all.extend(setup_sql.all());
        all.extend(store_sql.all());
        all.extend(rebuild_sql.all());
        all.extend(drain_sql.all());
        all.extend(monitor_sql.all());
        all.extend(projections.values().flat_map(|it| std::iter::once(&it.truncate).chain(&it.delete)));
        all
    }

    pub(crate) fn control(&self) -> &Control {
        &self.inner.control
    }

    pub(crate) fn store_sql(&self) -> &StoreSql {
        &self.inner.store_sql
    }

    pub(crate) fn rebuild_sql(&self) -> &RebuildSql {
        &self.inner.rebuild_sql
    }

    pub(crate) fn drain_sql(&self) -> &DrainSql {
        &self.inner.drain_sql
    }

    pub(crate) fn monitor_sql(&self) -> &MonitorSql {
        &self.inner.monitor_sql
    }

    pub(crate) fn projection(&self, name: &str) -> Option<&Registered> {
        self.inner.projections.get(name)
    }

    pub(crate) fn projections(&self) -> impl Iterator<Item = &Registered> {
        self.inner.projections.values()
    }
}

impl fmt::Debug for EventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStore")
            .field("schema", &self.inner.schema.as_str())
            .field("projections", &self.inner.projections.keys())
            .finish_non_exhaustive()
    }
}

/// Makes an [`EventStore`].
pub struct EventStoreBuilder {
    schema: String,
    projections: Vec<Arc<dyn Projection>>,
}

impl EventStoreBuilder {
    /// The schema that the store's tables are in, as its name is in the catalog. Without this: `skiptrace`.
    #[must_use]
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.schema);
        self
    }

    /// Adds a projection that this process can apply.
    #[must_use]
    pub fn projection(mut self, projection: impl Projection + 'static) -> Self {
        self.projections.push(Arc::new(projection));
        self
    }

    /// Errs where a name cannot be used.
    pub fn build(self) -> Result<EventStore, BuildError> {
        let schema = SchemaName::new(&self.schema).map_err(BuildError::Schema)?;
        let mut projections = BTreeMap::new();
        for projection in self.projections {
            let registered = register(projection).map_err(BuildError::Projection)?;
            let name = registered.name.clone();
            if projections.insert(name.clone(), registered).is_some() {
                return Err(BuildError::Projection(ProjectionError::Duplicate(name)));
            }
        }
        Ok(EventStore {
            inner: Arc::new(Inner {
                control: Control::render(&schema),
                setup_sql: SchemaSql::render(&schema),
                store_sql: StoreSql::render(&schema),
                rebuild_sql: RebuildSql::render(&schema),
                drain_sql: DrainSql::render(&schema),
                monitor_sql: MonitorSql::render(&schema),
                schema,
                projections,
            }),
        })
    }
}

impl fmt::Debug for EventStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.projections.iter().map(|projection| projection.name()).collect();
        f.debug_struct("EventStoreBuilder").field("schema", &self.schema).field("projections", &names).finish()
    }
}

fn register(projection: Arc<dyn Projection>) -> Result<Registered, ProjectionError> {
    let name = checked("projection name", NAME_BYTES_MAX, projection.name().into())?;
    if projection.tables().is_empty() {
        return Err(ProjectionError::NoTables(name));
    }
    let tables: Vec<String> = projection.tables().iter().map(ToString::to_string).collect();
    let truncate = Statement::new("rebuild.truncate", &format!("TRUNCATE {}", tables.join(", ")));
    let delete = tables.iter().map(|table| Statement::new("rebuild.delete", &format!("DELETE FROM {table}"))).collect();
    Ok(Registered { name, projection, truncate, delete })
}

/// Why a store cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The schema's name cannot be used.
    Schema(InvalidName),
    /// A projection cannot be used.
    Projection(ProjectionError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(error) => error.fmt(f),
            Self::Projection(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}
