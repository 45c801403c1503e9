//! Queues: who may have a lock now, who stands where, and who is granted what is released.

use super::{End, LockTag, Locks, Request, TupleHolder, Waiter, conflicts};
use crate::mvcc::Xacts;
use crate::plan::TableLockMode;

impl Locks {
    /// Whether `session` can have a lock at once: no other holder, and none of the first `ahead` waiters, stands against it.
    pub(super) fn can_have(&self, session: u16, tag: LockTag, mode: TableLockMode, ahead: usize) -> bool {
        let stands_against =
            |waiter: &Waiter| waiter.tag == tag && waiter.session != session && conflicts(waiter.mode, mode);
        !self.is_held_against(session, tag, mode) && !self.waiters[..ahead].iter().any(stands_against)
    }

    /// Whether a holder of `tag` other than `session` stands against `mode`. The end of a transaction is never had early.
    fn is_held_against(&self, session: u16, tag: LockTag, mode: TableLockMode) -> bool {
        match tag {
            LockTag::Xact(_) => true,
            LockTag::Table(table) => {
                let own = &self.held[usize::from(session)];
                ALL_MODES.iter().filter(|held| conflicts(**held, mode)).any(|held| {
                    let mine = u16::from(own.contains(&(table, *held)));
                    self.counts[table as usize][*held as usize] > mine
                })
            }
            LockTag::Tuple(table, tuple) => self.tuples.iter().any(|lock| {
                lock.session != session && lock.table == table && lock.tuple == tuple && conflicts(lock.mode, mode)
            }),
            LockTag::Advisory(key) => {
                self.advisory_holders(key).any(|(holder, held)| holder != session && conflicts(held, mode))
            }
        }
    }

    /// The sessions that hold `tag` against `session`.
    fn holders_against(&self, session: u16, tag: LockTag, mode: TableLockMode, xacts: &Xacts, into: &mut Vec<u16>) {
        match tag {
            LockTag::Xact(xid) => into.push(xacts.session(xid)),
            LockTag::Table(table) => {
                for (holder, held) in (0..).zip(&self.held) {
                    let against = |(other, held): &(u32, TableLockMode)| *other == table && conflicts(*held, mode);
                    if holder != session && held.iter().any(against) {
                        into.push(holder);
                    }
                }
            }
            LockTag::Tuple(table, tuple) => {
                let of = |lock: &&TupleHolder| lock.table == table && lock.tuple == tuple;
                let against = |lock: &&TupleHolder| lock.session != session && conflicts(lock.mode, mode);
                into.extend(self.tuples.iter().filter(of).filter(against).map(|lock| lock.session));
            }
            LockTag::Advisory(key) => {
                into.extend(
                    self.advisory_holders(key)
                        .filter(|(holder, held)| *holder != session && conflicts(*held, mode))
                        .map(|(holder, _)| holder),
                );
            }
        }
    }

    pub(super) fn grant(&mut self, session: u16, tag: LockTag, mode: TableLockMode) {
        match tag {
            LockTag::Xact(_) => {}
            LockTag::Table(table) => {
                self.held[usize::from(session)].push((table, mode));
                self.counts[table as usize][mode as usize] += 1;
            }
            LockTag::Tuple(table, tuple) => self.tuples.push(TupleHolder { session, table, tuple, mode }),
            LockTag::Advisory(key) => self.grant_advisory(session, key, mode),
        }
    }

    /// Puts a session into the queue. It stands before the first waiter that it already keeps out, or else at the end.
    /// Source: PostgreSQL, `ProcSleep` in src/backend/storage/lmgr/proc.c.
    pub(crate) fn wait(&mut self, waiter: Waiter, xacts: &Xacts) -> Request {
        debug_assert!(
            !self.waiters.iter().any(|other| other.session == waiter.session),
            "a session waits for one thing"
        );
        let mut place = self.waiters.len();
        for (at, other) in self.waiters.iter().enumerate().filter(|(_, other)| other.tag == waiter.tag) {
            let mut against = Vec::new();
            self.holders_against(other.session, other.tag, other.mode, xacts, &mut against);
            if against.contains(&waiter.session) {
                against.clear();
                self.holders_against(waiter.session, waiter.tag, waiter.mode, xacts, &mut against);
                if self.timed && against.contains(&other.session) {
                    return Request::Deadlock;
                }
                place = at;
                break;
            }
        }
        if place < self.waiters.len() && self.can_have(waiter.session, waiter.tag, waiter.mode, place) {
            self.grant(waiter.session, waiter.tag, waiter.mode);
            return Request::Granted;
        }
        self.waits += 1;
        self.waiters.insert(place, Waiter { number: self.waits, ..waiter });
        if self.timed || self.look_for_deadlock(waiter.session, xacts) {
            return Request::Waits;
        }
        self.cancel_wait(waiter.session);
        Request::Deadlock
    }

    /// Takes a session out of the queue; those behind it may go on.
    pub(crate) fn cancel_wait(&mut self, session: u16) {
        if let Some(place) = self.waiters.iter().position(|waiter| waiter.session == session) {
            let waiter = self.waiters.remove(place);
            if !matches!(waiter.tag, LockTag::Xact(_)) {
                self.wake(waiter.tag);
            }
        }
    }

    /// Grants what can be granted of `tag`. Source: PostgreSQL, `ProcLockWakeup`.
    pub(super) fn wake(&mut self, tag: LockTag) {
        let mut at = 0;
        while at < self.waiters.len() {
            let waiter = self.waiters[at];
            let free = matches!(tag, LockTag::Xact(_)) || self.can_have(waiter.session, tag, waiter.mode, at);
            if waiter.tag == tag && free {
                self.waiters.remove(at);
                self.grant(waiter.session, tag, waiter.mode);
                self.granted.push_back((waiter.session, End::Granted));
            } else {
                at += 1;
            }
        }
    }

    /// Does what is due to waiters until `now`, in the order in which it is due: looks for deadlocks, and ends waits.
    pub(crate) fn expire(&mut self, now: i64, xacts: &Xacts) {
        while let Some((due, session)) = self.next_due()
            && due <= now
        {
            let waiter = self.waiters.iter_mut().find(|waiter| waiter.session == session).expect("it is due");
            let looks = waiter.check == Some(due);
            let end = if looks { End::Deadlock } else { waiter.deadline.map_or(End::TimedOut, |(_, end)| end) };
            if looks {
                waiter.check = None;
            }
            if !looks || !self.resolve_deadlock(session, xacts) {
                self.granted.push_back((session, end));
                self.cancel_wait(session);
            }
        }
    }

    /// When something is due to a waiter next, and to whom.
    pub(crate) fn next_due(&self) -> Option<(i64, u16)> {
        let due = |waiter: &Waiter| {
            let at = waiter.deadline.map(|(at, _)| at).into_iter().chain(waiter.check).min()?;
            Some((at, waiter.number, waiter.session))
        };
        self.waiters.iter().filter_map(due).min().map(|(at, _, session)| (at, session))
    }

    /// The sessions that a waiting session waits for: holders, then those ahead of it in the queue, as `pg_blocking_pids` has it.
    pub(crate) fn blockers(&self, session: u16, xacts: &Xacts) -> Vec<u16> {
        let mut blockers = Vec::new();
        if let Some(place) = self.waiters.iter().position(|waiter| waiter.session == session) {
            let Waiter { tag, mode, .. } = self.waiters[place];
            self.holders_against(session, tag, mode, xacts, &mut blockers);
            blockers.extend(self.ahead(place).map(|waiter| waiter.session));
        }
        blockers
    }

    /// Those who wait before `place` for the same thing in a conflicting mode.
    pub(super) fn ahead(&self, place: usize) -> impl Iterator<Item = &Waiter> {
        let waiter = self.waiters[place];
        let waits_for_end = matches!(waiter.tag, LockTag::Xact(_));
        self.waiters[..place]
            .iter()
            .filter(move |other| !waits_for_end && other.tag == waiter.tag && conflicts(other.mode, waiter.mode))
    }

    /// The sessions that hold what `session` waits for.
    pub(super) fn hard_blockers(&self, session: u16, xacts: &Xacts) -> Vec<u16> {
        let mut blockers = Vec::new();
        if let Some(waiter) = self.waiters.iter().find(|waiter| waiter.session == session) {
            self.holders_against(session, waiter.tag, waiter.mode, xacts, &mut blockers);
        }
        blockers
    }
}

pub(crate) const ALL_MODES: [TableLockMode; 8] = [
    TableLockMode::AccessShare,
    TableLockMode::RowShare,
    TableLockMode::RowExclusive,
    TableLockMode::ShareUpdateExclusive,
    TableLockMode::Share,
    TableLockMode::ShareRowExclusive,
    TableLockMode::Exclusive,
    TableLockMode::AccessExclusive,
];
