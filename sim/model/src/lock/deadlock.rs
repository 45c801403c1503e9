//! Deadlocks: found when the wait that closes the cycle begins.
//!
//! A cycle of holders alone is a deadlock, and the session whose wait closed it is the victim. If the cycle goes through
//! somebody who merely stands ahead in a queue, putting the waiter before them may open it. PostgreSQL looks for the cycle when a wait has lasted for
//! `deadlock_timeout`; so its victim is the waiter whose time is up first. Source: src/backend/storage/lmgr/deadlock.c.

use super::Locks;
use crate::mvcc::Xacts;

impl Locks {
    /// Whether `session`, which has just begun to wait, may go on waiting. Queues are re-ordered where that resolves a cycle.
    pub(super) fn resolve_deadlock(&mut self, session: u16, xacts: &Xacts) -> bool {
        if !self.reaches(session, session, true, &mut Vec::new(), xacts) {
            return true;
        }
        let before = self.waiters.clone();
        // Each waiter of the cycle may be put before those who only stand ahead of it.
        let mut in_cycle = Vec::new();
        self.reaches(session, session, true, &mut in_cycle, xacts);
        in_cycle.push(session);
        for moved in in_cycle {
            let Some(place) = self.waiters.iter().position(|waiter| waiter.session == moved) else { continue };
            let Some(first) = self.ahead(place).next().map(|waiter| waiter.session) else { continue };
            let target = self.waiters.iter().position(|waiter| waiter.session == first).expect("it stands ahead");
            let waiter = self.waiters.remove(place);
            self.waiters.insert(target, waiter);
            if !self.reaches(session, session, true, &mut Vec::new(), xacts) {
                self.wake(waiter.tag);
                return true;
            }
            self.waiters.clone_from(&before);
        }
        false
    }

    /// `session` and those who wait for it while it waits for them, if there are any.
    pub(super) fn cycle(&self, session: u16, xacts: &Xacts) -> Vec<u16> {
        let reaches = |from, to| self.reaches(from, to, true, &mut Vec::new(), xacts);
        let others = self.waiters.iter().map(|waiter| waiter.session).filter(|other| *other != session);
        let in_cycle = others.filter(|other| reaches(session, *other) && reaches(*other, session));
        std::iter::once(session).chain(in_cycle).collect()
    }

    /// Whether `from` waits, over any number of steps, for `to`.
    fn reaches(&self, from: u16, to: u16, soft: bool, seen: &mut Vec<u16>, xacts: &Xacts) -> bool {
        let mut next = self.hard_blockers(from, xacts);
        if soft && let Some(place) = self.waiters.iter().position(|waiter| waiter.session == from) {
            next.extend(self.ahead(place).map(|waiter| waiter.session));
        }
        for blocker in next {
            if blocker == to {
                return true;
            }
            if !seen.contains(&blocker) {
                seen.push(blocker);
                if self.reaches(blocker, to, soft, seen, xacts) {
                    return true;
                }
            }
        }
        false
    }
}
