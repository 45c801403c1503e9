//! The port, as an actor sees it under the executor.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use skiptrace::{Answer, Call, DbError, Session, SqlState, Statement, Value};

use super::lane::{Lane, Phase};

/// What an actor is given: its lane, and what it may know of the others.
#[derive(Clone)]
pub struct ActorContext {
    pub(crate) lane: Rc<Lane>,
    pub(crate) shared: Rc<Shared>,
    pub(crate) actor: u8,
}

/// What all actors of a run share.
pub(crate) struct Shared {
    /// How many appenders and rebuilders are not done.
    pub(crate) at_work: Cell<u32>,
    pub(crate) rollback: Statement,
}

impl ActorContext {
    /// Opens a session: the first one, or one in place of one that was lost.
    pub fn connect(&self) -> SimSession {
        SimSession {
            lane: self.lane.clone(),
            rollback: self.shared.rollback.clone(),
            connection: self.lane.connection.get(),
            abandoned: false,
        }
    }

    /// The actor's number in its scenario.
    pub fn actor(&self) -> u8 {
        self.actor
    }

    /// How much of its work the actor's client knows to be done. A crash does not touch it: it is the client's memory.
    pub fn acknowledged(&self) -> u32 {
        self.lane.acknowledged.get()
    }

    /// Whether the client noted that it has begun the next piece of work.
    pub fn is_begun(&self) -> bool {
        self.lane.begun.get()
    }

    /// Notes that the next piece of work is begun.
    pub fn begin(&self) {
        self.lane.begun.set(true);
    }

    /// One more piece of work is known to be done.
    pub fn acknowledge(&self) {
        self.lane.begun.set(false);
        self.lane.acknowledged.set(self.lane.acknowledged.get() + 1);
    }

    /// Whether every appender and every rebuilder is done.
    pub fn others_are_done(&self) -> bool {
        self.shared.at_work.get() == 0
    }

    /// Waits until every appender and every rebuilder is done.
    pub async fn others_done(&self) {
        if !self.others_are_done() {
            self.lane.phase.set(Phase::AwaitsOthers);
            released(&self.lane).await;
        }
    }
}

/// The port on a lane: each call is posted and pends until the executor has answered it.
pub struct SimSession {
    lane: Rc<Lane>,
    rollback: Statement,
    connection: u32,
    abandoned: bool,
}

impl SimSession {
    async fn send(&self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        self.check_connection()?;
        self.lane.post_one(statement, params);
        released(&self.lane).await;
        self.lane.take_answer()
    }

    fn check_connection(&self) -> Result<(), DbError> {
        if self.lane.connection.get() == self.connection { Ok(()) } else { Err(connection_lost()) }
    }

    /// Rolls back what a dropped future has left.
    async fn clean_up(&mut self) -> Result<(), DbError> {
        self.abandoned = false;
        if self.lane.in_transaction.get() {
            let rollback = self.rollback.clone();
            self.send(&rollback, &[]).await?;
        }
        Ok(())
    }
}

/// What a statement on a broken connection errs with.
pub(crate) fn connection_lost() -> DbError {
    DbError::new(SqlState::CONNECTION_FAILURE, "the connection is lost")
}

impl Session for SimSession {
    async fn execute(&mut self, statement: &Statement, params: &[Value]) -> Result<Answer, DbError> {
        if self.abandoned {
            self.clean_up().await?;
        }
        self.send(statement, params).await
    }

    async fn pipeline(&mut self, calls: Vec<Call>) -> Result<Vec<Answer>, DbError> {
        if self.abandoned {
            self.clean_up().await?;
        }
        self.check_connection()?;
        self.lane.post(calls);
        released(&self.lane).await;
        self.lane.take_answers()
    }

    fn abandon(&mut self) {
        self.abandoned = true;
    }

    async fn pause(&mut self, _: Duration) {
        // The executor writes the number of transactions that have ended by now in its place.
        self.lane.phase.set(Phase::Paused(u64::MAX));
        released(&self.lane).await;
    }
}

/// Pends until the executor lets the actor run on.
async fn released(lane: &Lane) {
    poll_fn(|_| if lane.phase.get() == Phase::Running { Poll::Ready(()) } else { Poll::Pending }).await;
}
