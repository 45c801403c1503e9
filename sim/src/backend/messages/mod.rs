//! Databases that are talked to as `psql` and `isolationtester` do it: messages of any SQL, answers as text.
//!
//! [`super::Database`] steps single statements and is made for millions of runs; here a message may hold several statements, or text that is no
//! SQL at all, and what counts is what a user sees: rows as text, notices, notifications, the words of an error.

mod model;
mod postgres;

pub use model::ModelMessages;
pub use postgres::PostgresMessages;

/// A number of connections to one database, each with at most one message under way. Number 0 is nobody's session: setups and teardowns
/// go through it.
pub trait Messages {
    /// An empty database, and connections that nothing was sent on.
    fn restart(&mut self) -> Result<(), Trouble>;

    /// Sends a message on a connection that has none under way.
    fn send(&mut self, connection: usize, sql: &str) -> Result<(), Trouble>;

    /// Waits for a message's answer: true when it is there. Without patience no longer than until it waits for a lock.
    fn wait(&mut self, connection: usize, patience: Patience) -> Result<bool, Trouble>;

    /// What a message was answered that [`Messages::wait`] says is answered, in order.
    fn answer(&mut self, connection: usize) -> Result<Vec<Part>, Trouble>;

    /// What had been notified to a connection by its last answer, since this was last asked.
    fn notifications(&mut self, connection: usize) -> Vec<Notification>;

    /// What came on a connection beside answers since this was last asked.
    fn notices(&mut self, connection: usize) -> Vec<Notice>;

    /// Keeps the state after a setup, with what the setup came to.
    fn keep(&mut self, setup: Setup) {
        let _ = setup;
    }

    /// Goes back to the kept state, if the setup would lead there from here.
    fn set_up_again(&mut self) -> Option<Setup> {
        None
    }

    /// A number for what was touched since this was last asked; [`Messages::commute`] knows it.
    fn touched(&mut self) -> usize;

    /// Whether two messages of two connections that touched this, one after the other, come to the same in either order. False: who knows.
    fn commute(&self, one: usize, other: usize) -> bool;

    /// Lets time pass: for somebody who waits for something that only time can bring.
    fn pass_time(&mut self) -> Result<(), Trouble>;
}

/// What a connection calls itself, as isolationtester does it, and as long as PostgreSQL takes it.
fn application_name(program: &str, name: &str) -> String {
    let mut all = format!("{program}/{name}");
    let end = (0..=63.min(all.len())).rev().find(|at| all.is_char_boundary(*at)).unwrap_or(0);
    all.truncate(end);
    all
}

/// What setups printed.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// To everybody.
    pub output: String,
    /// To each session.
    pub told: Vec<String>,
    /// How many notices each session had.
    pub notices: Vec<u32>,
}

/// How long [`Messages::wait`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until it is answered, or waits for a lock that somebody else has.
    UntilBlocked,
    /// Until it is answered.
    UntilAnswered,
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A statement that returns no rows was executed.
    Done,
    /// A statement's rows.
    Rows(Table),
    /// The error that ended the message.
    Error {
        /// `ERROR`, `FATAL`
        severity: String,
        /// PostgreSQL's primary message.
        message: String,
    },
    /// The server closed the connection behind a FATAL error.
    Closed,
}

/// A notice or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// As libpq words it.
    pub text: String,
    /// How many results of its message have been read before it is.
    pub after: usize,
    /// A result has reached the client: isolationtester waits for the others and looks at nobody else.
    pub shows_result: bool,
}

impl Notice {
    /// That came when so many results were complete. libpq reads on until a result is complete, and then the notices behind it, but not the rows of the
    /// next one. Source: PostgreSQL, fe-protocol3.c, `pqParseInput3`.
    fn new(text: String, results: usize, in_rows: bool) -> Self {
        let after = if in_rows { results } else { results.saturating_sub(1) };
        Self { text, after, shows_result: results > 0 }
    }
}

/// Rows as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// As many values each; none: NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// What LISTEN brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel.
    pub channel: String,
    /// The text that was sent along.
    pub payload: String,
    /// The connection that sent it, or else its server process.
    pub sender: Result<usize, i32>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The model does not support this.
    Refused(String),
    /// It waits, and nothing that could end the wait is going to happen.
    Stuck,
    /// No server, or one that died.
    Environment(String),
}
