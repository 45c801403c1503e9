//! Errors. [`DbError`] is what a PostgreSQL answered, the same on every backend; each operation has an error of its
//! own beside its code, and all of them carry it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::sqlstate::SqlState;

/// An error of the database or of the connection to it. Branch on [`DbError::sqlstate`].
#[derive(Clone, Debug)]
pub struct DbError {
    sqlstate: SqlState,
    message: Box<str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl DbError {
    /// An error with PostgreSQL's code and primary message.
    pub fn new(sqlstate: SqlState, message: impl Into<Box<str>>) -> Self {
        Self { sqlstate, message: message.into(), source: None }
    }

    /// The same, with the driver's error as its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
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
}

impl PartialEq for DbError {
    /// Equal where code and message are: the driver's cause does not count.
    fn eq(&self, other: &Self) -> bool {
        self.sqlstate == other.sqlstate && self.message == other.message
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)
    }
}

impl StdError for DbError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
