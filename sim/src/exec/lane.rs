//! A lane: where an actor and the executor meet.

use std::cell::{Cell, RefCell};

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

impl Lane {
    pub(crate) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Running),
            request: RefCell::default(),
            is_commit: Cell::new(false),
            is_select: Cell::new(false),
            reply: RefCell::new(None),
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
        *self.reply.borrow_mut() = None;
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

    /// Posts a statement.
    pub(crate) fn post(&self, statement: &Statement, params: &[Value]) {
        let mut request = self.request.borrow_mut();
        request.statement = Some(statement.clone());
        request.params.clear();
        request.params.extend_from_slice(params);
        self.posted(statement);
    }

    /// The same, for a call that nobody needs afterwards.
    pub(crate) fn post_call(&self, Call { statement, params }: Call) {
        self.posted(&statement);
        *self.request.borrow_mut() = Request { statement: Some(statement), params };
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
