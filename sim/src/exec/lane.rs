//! A lane: where an actor and the executor meet.

use std::cell::{Cell, RefCell};
use std::vec;

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

/// One actor's place: what it asked for, and what it was answered. Kept over runs, so that a step allocates nothing.
pub(crate) struct Lane {
    pub(crate) phase: Cell<Phase>,
    pub(crate) request: RefCell<Request>,
    /// Whether the statement that it has ready is a COMMIT: losing its answer matters.
    pub(crate) is_commit: Cell<bool>,
    /// Whether it is a SELECT.
    pub(crate) is_select: Cell<bool>,
    pub(crate) reply: RefCell<Option<Result<Answer, DbError>>>,
    /// The rest of what it sent in one flight. Its answers are collected here: the actor goes on when all have come.
    flight: RefCell<Option<Flight>>,
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

/// See [`Lane::request`].
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) statement: Option<Statement>,
    pub(crate) params: Vec<Value>,
}

/// See [`Lane::flight`].
struct Flight {
    calls: vec::IntoIter<Call>,
    answers: Vec<Answer>,
    first_error: Option<DbError>,
    /// Whether nothing of it is sent any more.
    ended: bool,
}

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Running),
            request: RefCell::default(),
            is_commit: Cell::new(false),
            is_select: Cell::new(false),
            reply: RefCell::new(None),
            flight: RefCell::new(None),
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
        self.forget();
        self.in_transaction.set(false);
        self.connected.set(false);
        self.connection.set(0);
        self.statements.set(0);
        self.acknowledged.set(0);
        self.begun.set(false);
    }

    /// What was under way, its actor knows no more.
    pub(crate) fn forget(&self) {
        *self.reply.borrow_mut() = None;
        *self.flight.borrow_mut() = None;
    }

    /// The connection is gone, and with it whatever it had open.
    pub(crate) fn disconnected(&self) {
        self.in_transaction.set(false);
        self.connected.set(false);
        self.connection.set(self.connection.get() + 1);
        self.statements.set(0);
    }

    /// Posts a statement.
    pub(crate) fn post(&self, statement: &Statement, params: &[Value]) {
        let mut request = self.request.borrow_mut();
        request.statement = Some(statement.clone());
        request.params.clear();
        request.params.extend_from_slice(params);
        self.posted(statement);
    }

    /// Posts the calls of a flight, one after another. Nothing is posted where there is none.
    pub(crate) fn post_flight(&self, calls: Vec<Call>) {
        let answers = Vec::with_capacity(calls.len());
        let mut flight = Flight { calls: calls.into_iter(), answers, first_error: None, ended: false };
        self.post_next(&mut flight);
        *self.flight.borrow_mut() = Some(flight);
    }

    fn post_next(&self, flight: &mut Flight) {
        match flight.calls.next() {
            Some(Call { statement, params }) => {
                self.posted(&statement);
                *self.request.borrow_mut() = Request { statement: Some(statement), params };
            }
            None => flight.ended = true,
        }
    }

    /// Takes the answer to what was posted. Whether the actor goes on: it does not before its flight is answered to the end.
    pub(crate) fn answered(&self, answer: Result<Answer, DbError>) -> bool {
        let mut flight = self.flight.borrow_mut();
        let Some(flight) = &mut *flight else {
            *self.reply.borrow_mut() = Some(answer);
            return true;
        };
        match answer {
            Ok(answer) => flight.answers.push(answer),
            Err(error) => {
                flight.ended = error.sqlstate().is_connection_lost();
                flight.first_error.get_or_insert(error);
            }
        }
        if !flight.ended {
            self.post_next(flight);
        }
        flight.ended
    }

    /// What a flight has come to, once it is answered to the end.
    pub(crate) fn take_flight(&self) -> Option<Result<Vec<Answer>, DbError>> {
        let flight = self.flight.borrow_mut().take_if(|flight| flight.ended)?;
        Some(flight.first_error.map_or(Ok(flight.answers), Err))
    }

    fn posted(&self, statement: &Statement) {
        self.is_commit.set(begins_with(statement.sql(), *b"commit"));
        self.is_select.set(begins_with(statement.sql(), *b"select"));
        self.phase.set(Phase::Posted);
    }
}

/// Whether a statement's first letters are these.
fn begins_with(sql: &str, word: [u8; 6]) -> bool {
    sql.as_bytes().first_chunk::<6>().is_some_and(|start| start.eq_ignore_ascii_case(&word))
}
