//! The port: what the core needs of a PostgreSQL, and all that it knows of one.
//!
//! A [`Session`] sends SQL and gets answers. One [`Statement`] is one step of a schedule: it has a name, which is its
//! label in a timeline and its key in a schedule, and a constant SQL text. Transactions are statements too (`BEGIN ..`,
//! `COMMIT`), so that whoever steps through a schedule sees every one of them.
//!
//! Two implementations exist: `postgres::PostgresSession` on tokio-postgres, and the harness's, which hands each statement
//! to an executor. The core is generic over them, so what was verified is what runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use smol_str::SmolStr;

use crate::error::DbError;

/// One connection to a PostgreSQL, used by one task at a time.
#[expect(
    async_fn_in_trait,
    reason = "the core spawns nothing: whether a future is Send follows from the session alone"
)]
pub trait Session {
    /// Sends one statement and waits for its answer.
    ///
    /// Errs with what PostgreSQL answered, or with a connection exception (SQLSTATE class 08), after which
    /// it is unknown whether the statement took effect.
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError>;

    /// Sends all `calls` in one flight and waits for all their answers; each is still a statement with a snapshot of its own.
    ///
    /// Errs with the first error, once every call has been answered: behind an error, PostgreSQL refuses the rest
    /// of the transaction (25P02) and answers a COMMIT with ROLLBACK.
    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError>;

    /// The transaction that may be open was left midway: the session must roll it back before its next statement.
    /// Does nothing where none is open. Not async, since it is called from `Drop`.
    fn abandon(&mut self);

    /// Waits for `duration` before something is asked again. Under a schedule no time passes: the wait ends when
    /// something has happened that may change the answer.
    async fn pause(&mut self, duration: Duration);
}

/// A named SQL text. Cheap to clone; sessions keep what they prepared by [`Statement::id`].
#[derive(Clone, Debug)]
pub struct Statement(Arc<StatementInner>);

#[derive(Debug)]
struct StatementInner {
    id: u32,
    name: Box<str>,
    sql: Box<str>,
    goes_back: bool,
}

impl Statement {
    /// `name` is `area.what_it_does`, as in `rebuild.read_batch`; `sql` is one statement with `$1`-style parameters.
    pub fn new(name: &str, sql: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(StatementInner { id, name: name.into(), sql: sql.into(), goes_back: goes_back(sql) }))
    }

    /// Unique in this process, and never shown: it differs from run to run.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// The label of its lane in a timeline and its key in a schedule.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The text that is sent.
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    /// Whether it goes back to a savepoint. PostgreSQL answers that with the tag of a ROLLBACK; its transaction goes on.
    pub fn goes_back(&self) -> bool {
        self.0.goes_back
    }
}

/// Source: PostgreSQL, src/backend/parser/gram.y, `TransactionStmt`.
fn goes_back(sql: &str) -> bool {
    let mut words = sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let is = |word: Option<&str>, wanted: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(wanted));
    if !is(words.next(), "ROLLBACK") {
        return false;
    }
    let second = words.next();
    let is_noise = is(second, "WORK") || is(second, "TRANSACTION");
    is(if is_noise { words.next() } else { second }, "TO")
}

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is sent.
    pub statement: Statement,
    /// `$1`, `$2`, ...
    pub params: Vec<Value>,
}

impl Call {
    /// Pairs a statement with its parameters.
    pub fn new(statement: &Statement, params: impl Into<Vec<Value>>) -> Self {
        Self { statement: statement.clone(), params: params.into() }
    }
}

/// What PostgreSQL answered to one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which command was done. A COMMIT of a failed transaction is answered [`Tag::Rollback`], without an error.
    pub tag: Tag,
    /// How many rows were returned, inserted, updated or deleted.
    pub affected: u64,
    /// The rows, if the statement returns any.
    pub rows: Rows,
}

/// The command tag of an answer, as far as anybody branches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A transaction was begun.
    Begin,
    /// The transaction was committed.
    Commit,
    /// The transaction was rolled back.
    Rollback,
    /// Anything else; ROLLBACK TO a savepoint, too: its transaction goes on.
    Other,
}

/// The rows of an answer: equally many values each, all of them in one list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    width: usize,
    count: usize,
    values: Vec<Value>,
}

impl Rows {
    /// `count` rows, from the values of all of them, row by row.
    pub fn new(count: usize, values: Vec<Value>) -> Self {
        let width = values.len().checked_div(count).unwrap_or(0);
        assert!(width * count == values.len(), "expected {count} rows of equal length, found {} values", values.len());
        Self { width, count, values }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Row `index`, from 0.
    #[track_caller]
    pub fn row(&self, index: usize) -> Row<'_> {
        assert!(index < self.count, "expected a row {index}, found {} rows", self.count);
        Row(&self.values[index * self.width..][..self.width])
    }

    /// The first row, if there is one.
    pub fn first(&self) -> Option<Row<'_>> {
        (self.count > 0).then(|| self.row(0))
    }

    /// The last row, if there is one.
    pub fn last(&self) -> Option<Row<'_>> {
        self.count.checked_sub(1).map(|last| self.row(last))
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> + Clone {
        (0..self.count).map(|index| self.row(index))
    }
}

/// One row of an answer. Getters panic where the column is missing or of another type: statement and reader stand side by
/// side in the core, so that is a bug of ours and not of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a>(&'a [Value]);

impl<'a> Row<'a> {
    /// Its values, by column.
    pub fn values(self) -> &'a [Value] {
        self.0
    }

    /// The value of column `index`, from 0.
    #[track_caller]
    pub fn value(self, index: usize) -> &'a Value {
        &self.0[index]
    }

    /// An integer that is not NULL.
    #[track_caller]
    pub fn int(self, index: usize) -> i64 {
        match &self.0[index] {
            Value::Int(value) => *value,
            other => panic!("column {index}: expected an integer, found {other:?}"),
        }
    }

    /// A boolean that is not NULL.
    #[track_caller]
    pub fn bool(self, index: usize) -> bool {
        match &self.0[index] {
            Value::Bool(value) => *value,
            other => panic!("column {index}: expected a boolean, found {other:?}"),
        }
    }

    /// A text that is not NULL.
    #[track_caller]
    pub fn text(self, index: usize) -> &'a SmolStr {
        match &self.0[index] {
            Value::Text(value) => value,
            other => panic!("column {index}: expected a text, found {other:?}"),
        }
    }

    /// Whether column `index` is NULL.
    #[track_caller]
    pub fn is_null(self, index: usize) -> bool {
        self.0[index] == Value::Null
    }
}

/// A parameter or a column. Only these types cross the port; the core's SQL casts everything else (`xid::text`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `smallint`, `integer` or `bigint`. As a parameter of a narrower type: an error if it does not fit.
    Int(i64),
    /// `text`, `varchar`, `name`.
    Text(SmolStr),
    /// `jsonb`, `json`.
    Json(Arc<serde_json::Value>),
    /// `timestamptz`: microseconds since 1970-01-01 00:00:00 UTC.
    Timestamp(i64),
    /// A one-dimensional array of one of the above.
    Array(Arc<[Value]>),
}

impl Value {
    /// An array of these values.
    pub fn array(mut values: impl ExactSizeIterator<Item = Self>) -> Self {
        // Most have one, as those of an append of one event have; to collect it would take five times as long.
        match values.len() {
            1 => Self::Array(Arc::new([values.next().expect("its length is 1")])),
            _ => Self::Array(values.collect()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<SmolStr> for Value {
    fn from(value: SmolStr) -> Self {
        Self::Text(value)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(Arc::new(value))
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::array(values.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::{Rows, Statement, Value};

    #[test]
    fn rows_have_equally_many_values() {
        let rows = Rows::new(3, (0..6).map(Value::Int).collect());
        let seconds: Vec<i64> = rows.iter().map(|row| row.int(1)).collect();
        assert_eq!((seconds, rows.row(1).values()), (vec![1, 3, 5], &[Value::Int(2), Value::Int(3)][..]));
        assert_eq!((rows.first(), rows.last()), (Some(rows.row(0)), Some(rows.row(2))));
        let without_columns = Rows::new(2, Vec::new());
        assert_eq!((without_columns.len(), without_columns.row(1).values()), (2, &[][..]));
        let none = Rows::default();
        assert_eq!((none.len(), none.is_empty(), none.first(), none.last()), (0, true, None, None));
    }

    #[test]
    #[should_panic(expected = "expected 2 rows of equal length, found 3 values")]
    fn a_row_that_is_too_short_is_refused() {
        Rows::new(2, vec![Value::Null; 3]);
    }

    #[test]
    fn an_array_of_one_is_like_any_other() {
        for values in [vec![], vec![Value::Int(1)], vec![Value::Int(1), Value::Null]] {
            assert_eq!(Value::from(values.clone()), Value::Array(values.into()));
        }
    }

    #[test]
    fn to_a_savepoint_or_to_the_beginning() {
        let goes_back = |sql: &str| Statement::new("test", sql).goes_back();
        for sql in
            ["ROLLBACK TO s", " rollback to savepoint s;", "ROLLBACK WORK TO s", "ROLLBACK TRANSACTION TO SAVEPOINT s"]
        {
            assert!(goes_back(sql), "{sql}");
        }
        for sql in [
            "ROLLBACK",
            "ROLLBACK WORK",
            "ROLLBACK AND CHAIN",
            "ROLLBACK PREPARED 'up to now'",
            "ABORT",
            "SAVEPOINT to_a",
            "",
        ] {
            assert!(!goes_back(sql), "{sql}");
        }
    }
}
