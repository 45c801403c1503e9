//! Projections: how events become a read model.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::event::RecordedEvent;
use crate::ids::InvalidName;
use crate::schema::quote;
use crate::session::Call;

/// A projection's name has at most so many bytes: it stands in index rows beside a stream's.
pub(crate) const NAME_BYTES_MAX: usize = 200;

/// Turns events into changes of a read model.
///
/// A projection is **pure**: what an event does to the read model is *data*, the SQL calls that do it, and follows from
/// the event alone. It reads nothing and remembers nothing. So the same event may be applied in the transaction that
/// appends it, replayed by a rebuild a year later, or drained from a skip record, and the calls of many events can be
/// sent in one flight.
///
/// The calls run in a transaction that the core has begun: none of them may be BEGIN, COMMIT or ROLLBACK. They find the
/// read model as the earlier events of the *same stream* left it; events of other streams may come in any order, so a
/// row that several streams write must be written in a way that commutes (`SET n = n + $1`, not `SET n = $1`). One that does not, or that
/// numbers what it is told, is another after a rebuild, though nothing was lost: the scenario `cross-stream-projection` shows it. The
/// core applies each event exactly once: the calls need not be idempotent.
///
/// ```
/// use skiptrace::{ApplyError, Call, Projection, RecordedEvent, Statement, TableName, Value};
///
/// struct Balances {
///     tables: [TableName; 1],
///     deposit: Statement,
/// }
///
/// impl Balances {
///     fn new() -> Self {
///         let sql = "INSERT INTO bank.balances AS b (account, amount) VALUES ($1, $2)
///                    ON CONFLICT (account) DO UPDATE SET amount = b.amount + excluded.amount";
///         Self { tables: [TableName::new("bank", "balances")], deposit: Statement::new("balances.deposit", sql) }
///     }
/// }
///
/// impl Projection for Balances {
///     fn name(&self) -> &str {
///         "balances"
///     }
///
///     fn handler_version(&self) -> i64 {
///         1
///     }
///
///     fn tables(&self) -> &[TableName] {
///         &self.tables
///     }
///
///     fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError> {
///         if &*event.event_type == "Deposited" {
///             let amount = event.data["amount"].as_i64().ok_or_else(|| ApplyError::new("no amount"))?;
///             out.push(Call::new(&self.deposit, [Value::from(event.stream_id.as_str()), Value::from(amount)]));
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Projection: Send + Sync {
    /// Its name, 1 to 200 bytes. Never give a name to another projection: generations are kept by it.
    fn name(&self) -> &str;

    /// Which version of the code this is. Change it when events must be applied differently: until a rebuild with the
    /// new version, events are recorded as skipped and not applied by the wrong code.
    fn handler_version(&self) -> i64;

    /// The tables of the read model, all of them and no others: a rebuild in place empties them. No table outside may
    /// have a foreign key to them.
    fn tables(&self) -> &[TableName];

    /// Adds the calls that apply `event` to `out`. Statements are built once, in the projection's constructor: a session
    /// prepares each only once. An event that means nothing to the read model adds none.
    ///
    /// Errs where the event cannot be applied: an append of it is then rejected.
    fn apply(&self, event: &RecordedEvent, out: &mut Vec<Call>) -> Result<(), ApplyError>;

    /// Adds the calls that apply `events`, which follow each other: those of one append, of a drain, or of a rebuild's batch. What
    /// [`Projection::apply`] does for each of them, unless it is written anew: where one call can do the work of many, as an INSERT
    /// from `unnest` does, a rebuild needs one for a whole batch.
    ///
    /// Errs with the index of an event that cannot be applied, and the reason.
    fn apply_all(&self, events: &[RecordedEvent], out: &mut Vec<Call>) -> Result<(), (usize, ApplyError)> {
        events.iter().enumerate().try_for_each(|(index, event)| self.apply(event, out).map_err(|error| (index, error)))
    }
}

/// A table with its schema, quoted where it is shown, so that it can be put into SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(Box<str>);

impl TableName {
    /// Names as they are in the catalog, without quotes.
    pub fn new(schema: &str, table: &str) -> Self {
        Self(format!("{}.{}", quote(schema), quote(table)).into())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a projection cannot apply an event.
#[derive(Clone, Debug)]
pub struct ApplyError(Arc<dyn StdError + Send + Sync>);

impl ApplyError {
    /// From a message or an error.
    pub fn new(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(cause.into().into())
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for ApplyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A projection that cannot be registered, or that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectionError {
    /// Its name cannot be used.
    Name(InvalidName),
    /// Two projections have this name.
    Duplicate(SmolStr),
    /// It names no table, so that a rebuild could not empty its read model.
    NoTables(SmolStr),
    /// The store was built without a projection of this name.
    Unknown(SmolStr),
}

impl fmt::Display for ProjectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Duplicate(name) => write!(f, "two projections are named {name:?}: expected one of each name"),
            Self::NoTables(name) => {
                write!(f, "the projection {name:?} names no tables: expected those that a rebuild has to empty")
            }
            Self::Unknown(name) => {
                write!(f, "the store has no projection {name:?}: add it with EventStoreBuilder::projection")
            }
        }
    }
}

impl StdError for ProjectionError {}

impl From<InvalidName> for ProjectionError {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}
