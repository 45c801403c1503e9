//! Errors. [`DbError`] is what a PostgreSQL answered, the same on every backend; each operation has an error of its
//! own beside its code, and all of them carry it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::session::Statement;
use crate::sqlstate::SqlState;

/// An error of the database or of the connection to it. Branch on [`DbError::sqlstate`].
#[derive(Clone, Debug)]
pub struct DbError {
    sqlstate: SqlState,
    message: Box<str>,
    statement: Option<Statement>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl DbError {
    /// An error with PostgreSQL's code and primary message.
    pub fn new(sqlstate: SqlState, message: impl Into<Box<str>>) -> Self {
        Self { sqlstate, message: message.into(), statement: None, source: None }
    }

    /// The same, with the driver's error as its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same, with the statement that was answered with it.
    #[must_use]
    pub fn in_statement(mut self, statement: &Statement) -> Self {
        self.statement = Some(statement.clone());
        self
    }

    /// PostgreSQL's code.
    pub fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    /// PostgreSQL's primary message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name of the statement that was answered with this error, where the session told.
    pub fn statement(&self) -> Option<&str> {
        self.statement.as_ref().map(Statement::name)
    }
}

impl PartialEq for DbError {
    /// Equal where code and message are: neither the statement nor the driver's cause counts.
    fn eq(&self, other: &Self) -> bool {
        self.sqlstate == other.sqlstate && self.message == other.message
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)?;
        self.statement().map_or(Ok(()), |name| write!(f, " in {name}"))
    }
}

impl StdError for DbError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
