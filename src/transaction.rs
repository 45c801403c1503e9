//! The one way in which the core has transactions.
//!
//! Whoever drops a [`Transaction`] midway, by an early return or because its future was cancelled, leaves word with the
//! session, which rolls back before its next statement: half an append can never be committed by what comes next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::error::DbError;
use crate::session::{Answer, Call, Session, Statement, Tag, Value};
use crate::sqlstate::SqlState;
use crate::statements::{Text, statements};

/// READ COMMITTED, whatever the default is: under REPEATABLE READ the states of the generations would be as old as
/// the transaction's first statement, and an append could apply inline to a generation that is retired by now.
const BEGIN: Text = ("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
const COMMIT: Text = ("commit", "COMMIT");
const ROLLBACK: Text = ("rollback", "ROLLBACK");

statements! {
    /// What begins and ends a transaction.
    Control { begin = BEGIN, commit = COMMIT, rollback = ROLLBACK, }
}

/// How long the core lets a transaction that holds what others need stand still, where nobody says otherwise.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(60);

/// A duration as a setting of PostgreSQL, where 0 would mean no limit.
pub(crate) fn setting(duration: Duration) -> Value {
    Value::from(format!("{}ms", duration.as_millis().clamp(1, i32::MAX.unsigned_abs().into())).as_str())
}

/// An open transaction.
pub(crate) struct Transaction<'a, S: Session> {
    session: &'a mut S,
    control: &'a Control,
    open: bool,
}

impl<'a, S: Session> Transaction<'a, S> {
    /// Begins one; `calls` are its first statements, sent in the same flight. Their answers come back.
    pub(crate) async fn begin(
        session: &'a mut S,
        control: &'a Control,
        calls: impl IntoIterator<Item = Call>,
    ) -> Result<(Self, Vec<Answer>), DbError> {
        let flight = std::iter::once(call(&control.begin)).chain(calls).collect();
        let mut transaction = Self { session, control, open: true };
        let mut answers = transaction.send(flight).await?;
        answers.remove(0);
        Ok((transaction, answers))
    }

    /// Sends `calls` in one flight. After an error the transaction has been rolled back.
    pub(crate) async fn send(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        match self.session.pipeline(calls).await {
            Ok(answers) => Ok(answers),
            Err(error) => {
                // Not left to the next statement of this session: until then the stream would stay locked.
                if !error.sqlstate().is_connection_lost() {
                    let rollback = self.session.execute(&self.control.rollback, &[]).await;
                    self.open = rollback.is_err();
                }
                Err(error)
            }
        }
    }

    /// Sends `calls` and COMMIT in one flight. The answers to `calls` come back.
    pub(crate) async fn commit(mut self, mut calls: Vec<Call>) -> Result<Vec<Answer>, CommitError> {
        calls.push(call(&self.control.commit));
        match self.session.pipeline(calls).await {
            Ok(mut answers) => {
                self.open = false;
                match answers.pop().map(|answer| answer.tag) {
                    Some(Tag::Commit) => Ok(answers),
                    tag => Err(CommitError::Failed(DbError::new(
                        SqlState::IN_FAILED_SQL_TRANSACTION,
                        format!("COMMIT was answered with {tag:?}: the transaction was rolled back"),
                    ))),
                }
            }
            Err(error) if error.sqlstate().is_connection_lost() => Err(CommitError::Unknown(error)),
            // Behind an error COMMIT rolls back; should it not have been sent, the session is told on drop.
            Err(error) => Err(CommitError::Failed(error)),
        }
    }

    /// Ends it without effect.
    pub(crate) async fn rollback(mut self) -> Result<(), DbError> {
        let answer = self.session.execute(&self.control.rollback, &[]).await;
        self.open = answer.is_err();
        answer.map(|_| ())
    }
}

impl<S: Session> Drop for Transaction<'_, S> {
    fn drop(&mut self) {
        if self.open {
            self.session.abandon();
        }
    }
}

/// A call without parameters.
pub(crate) fn call(statement: &Statement) -> Call {
    Call { statement: statement.clone(), params: Vec::new() }
}

/// A transaction that did not answer COMMIT.
#[derive(Clone, Debug)]
pub(crate) enum CommitError {
    /// It was rolled back.
    Failed(DbError),
    /// The connection was lost: it may have been committed.
    Unknown(DbError),
}

impl CommitError {
    /// The database's error, for those who find out by reading what was committed.
    pub(crate) fn into_db_error(self) -> DbError {
        match self {
            Self::Failed(error) | Self::Unknown(error) => error,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the transaction was rolled back: {error}"),
            Self::Unknown(error) => write!(f, "the transaction may or may not have been committed: {error}"),
        }
    }
}

impl StdError for CommitError {}
