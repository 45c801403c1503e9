//! A lane: where an actor and the executor meet.

use std::cell::{Cell, Ref, RefCell};
use std::mem;

use skiptrace::{Answer, Call, DbError, Statement, Value};

/// What an actor is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has a statement ready.
    Posted,
    /// Its statement was sent and waits in the database.
    Waiting,
    /// Its statement was sent and has its snapshot.
    HasSnapshot,
    /// It paused; the number of transactions that had ended by then.
    Paused(u64),
    /// It has nothing more to do until every appender and every rebuilder is done.
    AwaitsOthers,
    /// Its answer is there; it has not gone on yet. Never seen between two steps.
    Running,
    /// It died and has not started again.
    Crashed,
    /// It is done.
    Done,
    /// It gave up, with an error that its protocol does not cope with.
    GaveUp,
}

/// One actor's place: what it asked for, and what it was answered. Kept over runs.
pub(crate) struct Lane {
    pub(crate) phase: Cell<Phase>,
    flight: RefCell<Flight>,
    /// Whether the statement that it has ready is a COMMIT: losing its answer matters.
    pub(crate) is_commit: Cell<bool>,
    /// Whether its session is in a transaction, by command tags.
    pub(crate) in_transaction: Cell<bool>,
    /// Whether its session is connected.
    pub(crate) connected: Cell<bool>,
    /// Counts its connections: a session of an earlier one is dead.
    pub(crate) connection: Cell<u32>,
    /// Statements sent since its transaction began.
    pub(crate) statements: Cell<u32>,
    /// What its client keeps in a notebook of its own, so that a crash spares it: how much of its work was acknowledged.
    pub(crate) acknowledged: Cell<u32>,
    /// In the same notebook: whether the next piece of work was begun.
    pub(crate) begun: Cell<bool>,
}

/// What the actor sent at once, a statement by itself too. The statements become ready one after another; the actor goes on when all
/// are answered.
#[derive(Default)]
struct Flight {
    calls: Vec<Call>,
    answers: Vec<Answer>,
    /// How many calls are answered, with an error or without.
    answered: usize,
    first_error: Option<DbError>,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Running),
            flight: RefCell::default(),
            is_commit: Cell::new(false),
            in_transaction: Cell::new(false),
            connected: Cell::new(false),
            connection: Cell::new(0),
            statements: Cell::new(0),
            acknowledged: Cell::new(0),
            begun: Cell::new(false),
        }
    }

    /// As new, but for the memory that it holds.
    pub(crate) fn reset(&self) {
        self.phase.set(Phase::Running);
        self.in_transaction.set(false);
        self.connected.set(false);
        self.connection.set(0);
        self.statements.set(0);
        self.acknowledged.set(0);
        self.begun.set(false);
    }

    /// The connection is gone, and with it whatever it had open.
    pub(crate) fn disconnected(&self) {
        self.in_transaction.set(false);
        self.connected.set(false);
        self.connection.set(self.connection.get() + 1);
        self.statements.set(0);
    }

    /// Posts the calls of a flight; where there is none, the actor can go on at once.
    pub(crate) fn post(&self, calls: Vec<Call>) {
        let flight = &mut *self.flight.borrow_mut();
        flight.answers = Vec::with_capacity(calls.len());
        flight.calls = calls;
        self.begin(flight);
    }

    /// Posts one statement.
    pub(crate) fn post_one(&self, statement: &Statement, params: &[Value]) {
        let flight = &mut *self.flight.borrow_mut();
        flight.answers.clear();
        flight.calls.clear();
        flight.calls.push(Call::new(statement, params));
        self.begin(flight);
    }

    fn begin(&self, flight: &mut Flight) {
        flight.answered = 0;
        flight.first_error = None;
        self.post_next(flight);
    }

    /// Whether there was another call to post.
    fn post_next(&self, flight: &Flight) -> bool {
        let next = flight.calls.get(flight.answered);
        if let Some(call) = next {
            self.is_commit.set(begins_with(&call.statement, *b"commit"));
            self.phase.set(Phase::Posted);
        }
        next.is_some()
    }

    /// What it has ready.
    pub(crate) fn posted(&self) -> Ref<'_, Call> {
        Ref::map(self.flight.borrow(), |flight| &flight.calls[flight.answered])
    }

    /// Takes the answer to what was posted. Whether the actor goes on: it does not before its flight is answered to the end.
    pub(crate) fn answered(&self, answer: Result<Answer, DbError>) -> bool {
        let flight = &mut *self.flight.borrow_mut();
        flight.answered += 1;
        match answer {
            Ok(answer) => flight.answers.push(answer),
            Err(error) => {
                if error.sqlstate().is_connection_lost() {
                    // Nothing of it is sent any more.
                    flight.answered = flight.calls.len();
                }
                flight.first_error.get_or_insert(error);
            }
        }
        !self.post_next(flight)
    }

    /// What a flight has come to that is answered to the end.
    pub(crate) fn take_answers(&self) -> Result<Vec<Answer>, DbError> {
        let flight = &mut *self.flight.borrow_mut();
        flight.first_error.take().map_or_else(|| Ok(mem::take(&mut flight.answers)), Err)
    }

    /// The same for one statement.
    pub(crate) fn take_answer(&self) -> Result<Answer, DbError> {
        let flight = &mut *self.flight.borrow_mut();
        flight.first_error.take().map_or_else(|| Ok(flight.answers.pop().expect("it has an answer")), Err)
    }
}

/// Whether a statement is a SELECT.
pub(crate) fn is_select(statement: &Statement) -> bool {
    begins_with(statement, *b"select")
}

/// Whether a statement's first letters are these.
fn begins_with(statement: &Statement, word: [u8; 6]) -> bool {
    // To set this bit makes a capital letter a small one.
    statement.sql().as_bytes().first_chunk::<6>().is_some_and(|start| start.map(|byte| byte | 0x20) == word)
}
