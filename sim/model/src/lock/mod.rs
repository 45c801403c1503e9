//! Heavyweight locks: who holds what, who waits for it, and in which order waiters go on.
//!
//! Waiters stand in one list; the queue of a lock is what that list has of it. When something is released, the queue is gone
//! through in order, and each waiter that conflicts neither with a holder nor with a waiter still ahead of it is granted its lock: its
//! session is put into [`Locks::granted`], and its statement goes on from where it waited. Row locks are not here: they
//! stand in the tuples, and whoever waits for one waits for the end of the transaction that holds it.
//! Source: PostgreSQL, src/backend/storage/lmgr (lock.c, proc.c, deadlock.c).

mod advisory;
mod chance;
mod deadlock;
mod queue;

use std::collections::VecDeque;

use crate::catalog::TableId;
use crate::mvcc::{TupleId, Xid};
use crate::plan::TableLockMode;

pub(crate) use advisory::{AdvisoryKey, AdvisoryScope};
pub(crate) use queue::ALL_MODES;

/// What can be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockTag {
    Table(TableId),
    /// The right to be the next to get a row.
    Tuple(TableId, TupleId),
    /// Held by the transaction itself; waiting for it is waiting for its end.
    Xact(Xid),
    Advisory(AdvisoryKey),
}

/// A session that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) session: u16,
    pub(crate) tag: LockTag,
    pub(crate) mode: TableLockMode,
    /// When `lock_timeout` or `statement_timeout` ends the wait, and as what.
    pub(crate) deadline: Option<(i64, End)>,
    /// When `deadlock_timeout` has passed, and it looks for a deadlock, once.
    pub(crate) check: Option<i64>,
    /// Of those who began to wait at the same time, the one with the lower number was first. Given by [`Locks::wait`].
    pub(crate) number: u64,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Granted,
    /// `lock_timeout` has passed.
    TimedOut,
    /// `statement_timeout` has passed.
    StatementTimedOut,
    Deadlock,
}

/// How a request for a lock went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Granted,
    Waits,
    Deadlock,
}

/// A holder of a tuple lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TupleHolder {
    pub(crate) session: u16,
    pub(crate) table: TableId,
    pub(crate) tuple: TupleId,
    pub(crate) mode: TableLockMode,
}

/// All heavyweight locks of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks {
    /// Holders of each mode, by table.
    counts: Vec<[u16; 8]>,
    /// By session: the table locks it holds, in the order in which it got them.
    held: Vec<Vec<(TableId, TableLockMode)>>,
    pub(crate) tuples: Vec<TupleHolder>,
    advisory: Vec<advisory::Holder>,
    pub(crate) waiters: Vec<Waiter>,
    /// Sessions whose wait is over and whose statement has not gone on yet.
    pub(crate) granted: VecDeque<(u16, End)>,
    /// Whether a deadlock is found when somebody's `deadlock_timeout` has passed, not when a wait closes the cycle.
    pub(crate) timed: bool,
    /// How many waits there were.
    waits: u64,
    /// None: the first alternative, always.
    chance: Option<Box<chance::Chance>>,
}

/// Conflicts of each mode, as a bit mask. Source: PostgreSQL, `LockConflicts` in src/backend/storage/lmgr/lock.c.
const CONFLICTS: [u8; 8] =
    [0b1000_0000, 0b1100_0000, 0b1111_0000, 0b1111_1000, 0b1110_1100, 0b1111_1100, 0b1111_1110, 0b1111_1111];

/// Whether a holder of one mode keeps the other out.
pub(crate) fn conflicts(left: TableLockMode, right: TableLockMode) -> bool {
    CONFLICTS[left as usize] & (1 << right as u8) != 0
}

impl Locks {
    pub(crate) fn set_sessions(&mut self, sessions: usize) {
        self.held.resize_with(sessions.max(self.held.len()), Vec::new);
    }

    pub(crate) fn set_tables(&mut self, tables: usize) {
        self.counts.resize(tables.max(self.counts.len()), [0; 8]);
    }

    /// Whether nobody holds anything, or waits.
    pub(crate) fn is_empty(&self) -> bool {
        let held = self.held.iter().any(|held| !held.is_empty());
        !held
            && self.tuples.is_empty()
            && self.advisory.is_empty()
            && self.waiters.is_empty()
            && self.granted.is_empty()
    }

    /// Forgets all locks.
    pub(crate) fn clear(&mut self) {
        for (session, held) in self.held.iter_mut().enumerate() {
            debug_assert!(session < usize::from(u16::MAX));
            for (table, mode) in held.drain(..) {
                self.counts[table as usize][mode as usize] -= 1;
            }
        }
        self.tuples.clear();
        self.advisory.clear();
        self.waiters.clear();
        self.granted.clear();
    }

    /// The table locks of a session, in the order in which it got them.
    pub(crate) fn tables_of(&self, session: u16) -> &[(TableId, TableLockMode)] {
        &self.held[usize::from(session)]
    }

    /// Asks for a table lock, and stands in line for it if it cannot be had.
    pub(crate) fn lock_table(&mut self, session: u16, table: TableId, mode: TableLockMode) -> bool {
        let held = &mut self.held[usize::from(session)];
        if held.contains(&(table, mode)) {
            return true;
        }
        let counts = &self.counts[table as usize];
        let strong = counts[3..].iter().any(|count| *count > 0);
        let free = mode <= TableLockMode::RowExclusive && !strong && self.waiters.is_empty();
        if free || self.can_have(session, LockTag::Table(table), mode, self.waiters.len()) {
            self.grant(session, LockTag::Table(table), mode);
            return true;
        }
        false
    }

    /// Whether a table lock would have to be waited for.
    pub(crate) fn keeps_out(&self, session: u16, table: TableId, mode: TableLockMode) -> bool {
        !self.can_have(session, LockTag::Table(table), mode, self.waiters.len())
    }

    /// Releases the table locks that a session got after its first `keep`.
    pub(crate) fn release_tables(&mut self, session: u16, keep: usize) {
        while self.held[usize::from(session)].len() > keep {
            let (table, mode) = self.held[usize::from(session)].pop().expect("not empty");
            self.counts[table as usize][mode as usize] -= 1;
            if !self.waiters.is_empty() {
                self.wake(LockTag::Table(table));
            }
        }
    }

    /// Asks for the right to be the next to get a row.
    pub(crate) fn lock_tuple(&mut self, session: u16, table: TableId, tuple: TupleId, mode: TableLockMode) -> bool {
        let held = |lock: &TupleHolder| {
            lock.session == session && lock.table == table && lock.tuple == tuple && lock.mode == mode
        };
        if self.tuples.iter().any(held) {
            return true;
        }
        let tag = LockTag::Tuple(table, tuple);
        let free = self.can_have(session, tag, mode, self.waiters.len());
        if free {
            self.grant(session, tag, mode);
        }
        free
    }

    /// Releases a session's tuple lock, if it has it.
    pub(crate) fn release_tuple(&mut self, session: u16, table: TableId, tuple: TupleId) {
        if self.tuples.is_empty() {
            return;
        }
        let before = self.tuples.len();
        self.tuples.retain(|lock| lock.session != session || lock.table != table || lock.tuple != tuple);
        if self.tuples.len() < before {
            self.wake(LockTag::Tuple(table, tuple));
        }
    }

    /// Releases all tuple locks of a session.
    pub(crate) fn release_tuples(&mut self, session: u16) {
        while let Some(lock) = self.tuples.iter().find(|lock| lock.session == session).copied() {
            self.release_tuple(session, lock.table, lock.tuple);
        }
    }

    /// Gives what a transaction holds to another session, which holds nothing; false: see [`Locks::hand_over_advisory`].
    pub(crate) fn hand_over(&mut self, from: u16, to: u16) -> bool {
        if !self.hand_over_advisory(from, to) {
            return false;
        }
        self.held.swap(usize::from(from), usize::from(to));
        true
    }

    /// A transaction, or a savepoint's part of one, has ended.
    pub(crate) fn end_xact(&mut self, xid: Xid) {
        if !self.waiters.is_empty() {
            self.wake(LockTag::Xact(xid));
        }
    }
}
