//! Messages: SQL text of one or several statements, as a client sends it without preparing anything.
//!
//! Several statements in one message are one transaction, an *implicit transaction block*, unless they say otherwise: the first error undoes them all and
//! ends the message. BEGIN among them makes the block an explicit one that outlives the message, what came before it included; COMMIT and
//! ROLLBACK end it, with a warning, and what follows is a block of its own.
//! Source: PostgreSQL, `exec_simple_query` in src/backend/tcop/postgres.c; the manual, "Multiple Statements in a Simple Query".

mod piece;
mod poison;
mod statement;
mod touch;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::error::Error;
use crate::exec::UNITS;
use crate::rows::Rows;
use crate::server::{CommandTag, Core, Outcome, Prepared, Server, SessionId};
use crate::session::Block;
use crate::types::{Scalar, Type, Value};

pub(crate) use piece::{Piece, words};
pub(crate) use poison::{Poison, Poisoned};
pub use touch::Touch;

/// How much a [`Notice`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// `NOTICE`
    Notice,
    /// `WARNING`
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
        })
    }
}

/// What a server tells a client beside its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// PostgreSQL's primary message.
    pub message: String,
    /// How many results of its message were complete when it came.
    pub results: usize,
    /// Whether the next result had begun: its rows were being computed.
    pub in_rows: bool,
}

/// What a message is answered: what its statements returned, in order, and the error that ended it, if one did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// One a statement that was executed.
    pub results: Vec<Returned>,
    /// Of the statement after those.
    pub error: Option<Error>,
}

/// What a statement of a message returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// What was done.
    pub tag: CommandTag,
    /// Names and types of the columns; none for a statement that returns no rows.
    pub columns: Vec<(SmolStr, Type)>,
    /// The rows.
    pub rows: Rows,
}

/// A message that a session is working on.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pieces: Arc<[Piece]>,
    /// How many were begun.
    next: usize,
    /// Statements that a piece turned out to be.
    ahead: VecDeque<SmolStr>,
    /// The prepared statement that EXECUTE names.
    executes: Option<SmolStr>,
    reply: Reply,
    /// What is left for its statements to spend.
    left: usize,
}

impl Message {
    pub(crate) fn is_of_several(&self) -> bool {
        self.pieces.len() > 1 || matches!(*self.pieces, [Piece::CreateAs { .. }])
    }
}

impl Server {
    /// Sends a message of any number of statements on a session that waits for nothing. None: it waits; its reply comes from
    /// [`Server::next_reply`].
    pub fn send(&mut self, session: SessionId, sql: &str) -> Option<Reply> {
        let me = session.number();
        assert!(self.core.session(me).waiting.is_none(), "session {me} waits: its message is not answered");
        let pieces = match self.pieces_of(sql) {
            Ok(pieces) => pieces,
            Err(error) => {
                let error = self.core.fail_to_compile(me, error);
                return Some(Reply { results: Vec::new(), error: Some(error) });
            }
        };
        self.core.session_mut(me).message = Some(Message {
            pieces,
            next: 0,
            ahead: VecDeque::new(),
            executes: None,
            reply: Reply::default(),
            left: UNITS,
        });
        self.go_on_with_message(me)
    }

    /// The reply to the next message that had waited, in the order in which the waits ended.
    pub fn next_reply(&mut self) -> Option<(SessionId, Reply)> {
        while let Some((me, prepared, outcome)) = self.go_on_with_next() {
            self.note(me, prepared, outcome);
            if let Some(reply) = self.go_on_with_message(me) {
                return Some((SessionId(u32::from(me)), reply));
            }
        }
        None
    }

    /// What all messages have cost together: about the rows that were read and the values that were kept and returned. A message is limited, those
    /// that follow each other are not.
    pub fn spent(&self) -> u64 {
        self.core.spent
    }

    /// Notes from now on what messages touch, for [`Server::take_touch`].
    pub fn watch_touches(&mut self) {
        self.core.watches = true;
    }

    /// What was touched since this was last asked, by whatever session.
    pub fn take_touch(&mut self) -> Touch {
        std::mem::take(&mut self.core.touch)
    }

    /// What a session was told since this was last asked.
    pub fn take_notices(&mut self, session: SessionId) -> Vec<Notice> {
        std::mem::take(&mut self.core.session_mut(session.number()).notices)
    }

    /// A value as PostgreSQL's output function prints it; NULL has no text.
    pub fn output(&self, value: &Value, ty: Type) -> Option<String> {
        match (value, ty) {
            (Value::Int(oid), Type::Scalar(Scalar::Regclass)) => Some(self.core.catalog.relation_text(*oid)),
            _ => value.to_text(ty),
        }
    }

    /// A message's statements.
    fn pieces_of(&mut self, sql: &str) -> Result<Arc<[Piece]>, Error> {
        if let Some(known) = self.messages.get(sql) {
            return Ok(known.clone());
        }
        let pieces: Arc<[Piece]> = piece::pieces(sql)?.into();
        self.messages.insert(sql.into(), pieces.clone());
        Ok(pieces)
    }

    /// Executes what is left of a session's message; none: it waits.
    fn go_on_with_message(&mut self, me: u16) -> Option<Reply> {
        loop {
            let message = self.core.session_mut(me).message.as_mut()?;
            let over = message.ahead.is_empty() && message.next == message.pieces.len();
            if over || message.reply.error.is_some() {
                let reply = std::mem::take(&mut message.reply);
                self.core.session_mut(me).message = None;
                self.core.end_of_message(me);
                return Some(reply);
            }
            let entered = self.core.enter(me);
            let message = self.core.session_mut(me).message.as_mut()?;
            message.executes = None;
            let went = if let Some(statement) = message.ahead.pop_front() {
                self.execute_text(me, &statement)
            } else {
                let (pieces, number) = (message.pieces.clone(), message.next);
                message.next += 1;
                self.execute_piece(me, &pieces[number])
            };
            if entered {
                self.core.leave();
            }
            match went {
                Err(error) => {
                    let error = self.core.fail_to_compile(me, error);
                    self.note_error(me, error);
                }
                Ok(None) => {}
                Ok(Some((_, Outcome::Waits))) => return None,
                Ok(Some((prepared, outcome))) => self.note(me, prepared, outcome),
            }
        }
    }

    /// Adds what became of a statement to the reply.
    fn note(&mut self, me: u16, prepared: Prepared, outcome: Outcome) {
        if let Err(error) = self.pay(me, &outcome).and_then(|()| self.check_order(me, prepared, &outcome)) {
            let error = self.core.fail_to_compile(me, error);
            return self.note_error(me, error);
        }
        match outcome {
            Outcome::Done(answer) => {
                let columns = self.columns(prepared).map(|(name, ty)| (name.into(), ty)).collect();
                let returned = Returned { tag: answer.tag, columns, rows: answer.rows };
                if let Some(message) = &mut self.core.session_mut(me).message {
                    message.reply.results.push(returned);
                }
            }
            Outcome::Failed(error) => self.note_error(me, error),
            Outcome::Waits | Outcome::Paused => unreachable!("it has an outcome"),
        }
    }

    /// Pays for a statement out of its message's budget.
    fn pay(&mut self, me: u16, outcome: &Outcome) -> Result<(), Error> {
        let rows = if let Outcome::Done(answer) = outcome { Some(&answer.rows) } else { None };
        let session = self.core.session_mut(me);
        let spent = session.activation().take_spent(rows.into_iter().flat_map(Rows::iter).flatten());
        let Some(message) = &mut session.message else { return Ok(()) };
        let left = message.left.checked_sub(spent);
        message.left = left.unwrap_or(0);
        self.core.spent += spent as u64;
        let too_much = || {
            Error::too_much(format_args!("a message that reads, keeps and returns more than {UNITS} rows and values"))
        };
        left.map(|_| ()).ok_or_else(too_much)
    }

    /// Rows are shown in their order: it must be PostgreSQL's.
    fn check_order(&self, me: u16, prepared: Prepared, outcome: &Outcome) -> Result<(), Error> {
        let is_open = || self.core.session(me).activation_ref().is_some_and(|activation| !activation.shows_order());
        match (self.order_left_open_by(prepared), outcome) {
            (Some((construct, limited)), Outcome::Done(answer)) if (limited || answer.rows.len() > 1) && is_open() => {
                Err(Error::refused(format_args!("rows in an order that the planner chooses, because of {construct}")))
            }
            _ => Ok(()),
        }
    }

    fn note_error(&mut self, me: u16, error: Error) {
        if let Some(message) = &mut self.core.session_mut(me).message {
            // All of a message is parsed before anything of it is done: what cannot be read may be what PostgreSQL errs with.
            let unreadable = message.pieces[message.next..].iter().find_map(Piece::unreadable);
            let late = error.is_of_grammar() && message.next > 1 && !error.is_refusal();
            let error = if late {
                Error::refused(format_args!("a syntax error behind other statements of its message ({error})"))
            } else {
                error
            };
            message.reply.error = Some(unreadable.cloned().unwrap_or(error));
        }
    }
}

impl Core {
    /// Tells a session's client something.
    pub(crate) fn tell(&mut self, me: u16, severity: Severity, message: impl Into<String>) {
        let session = self.session_mut(me);
        let results = session.message.as_ref().map_or(0, |message| message.reply.results.len());
        session.notices.push(Notice { severity, message: message.into(), results, in_rows: false });
    }

    pub(crate) fn notice(&mut self, me: u16, message: String) {
        self.tell(me, Severity::Notice, message);
    }

    /// A warning that comes while a query's rows are computed.
    pub(crate) fn warn_among_rows(&mut self, me: u16, message: &str) {
        self.warn(me, message);
        if let Some(notice) = self.session_mut(me).notices.last_mut() {
            notice.in_rows = true;
        }
    }

    pub(crate) fn warn(&mut self, me: u16, message: &str) {
        self.tell(me, Severity::Warning, message);
    }

    /// An implicit block ends with its message.
    fn end_of_message(&mut self, me: u16) {
        if self.session(me).transaction.as_ref().is_some_and(|open| open.block == Block::Implicit) {
            self.commit(me);
        }
    }
}
