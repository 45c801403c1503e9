//! Deadlocks: found when the wait that closes the cycle begins.
//!
//! A cycle of holders alone is a deadlock, and the session whose wait closed it is the victim. If the cycle goes through
//! somebody who merely stands ahead in a queue, putting the waiter before them may open it. PostgreSQL looks for the cycle when a wait has lasted for
//! `deadlock_timeout`; so its victim is the waiter whose time is up first. That one is ended, too, if it could be let go only by an order that leaves
//! others in a deadlock of their own, though its end helps nobody. Source: src/backend/storage/lmgr/deadlock.c.

use super::{LockTag, Locks, conflicts};
use crate::mvcc::Xacts;

/// Somebody who waits merely because another stands ahead in the queue; as a constraint: who shall stand before whom.
#[derive(Clone, Copy)]
struct SoftEdge {
    waiter: u16,
    blocker: u16,
    tag: LockTag,
}

/// One look for a deadlock. Source: `DeadLockCheck`.
struct Search<'l> {
    locks: &'l Locks,
    xacts: &'l Xacts,
    /// Queues as they would be.
    orders: Vec<(LockTag, Vec<u16>)>,
    visited: Vec<u16>,
    /// Of the cycle that was found last.
    soft: Vec<SoftEdge>,
}

impl Search<'_> {
    /// Whether no order of the queues that heeds `constraints` lets `start` wait. Else [`Search::orders`] is one. Source: `DeadLockCheckRecurse`.
    fn is_deadlock(&mut self, start: u16, constraints: &mut Vec<SoftEdge>) -> bool {
        let Some(edges) = self.edges_of_cycles(start, constraints) else { return true };
        if constraints.len() >= self.locks.waiters.len() {
            return !edges.is_empty();
        }
        for edge in &edges {
            constraints.push(*edge);
            if !self.is_deadlock(start, constraints) {
                return false;
            }
            constraints.pop();
        }
        !edges.is_empty()
    }

    /// The soft edges of a cycle that is left, of `start` or of anybody whom the constraints name; none: one has no soft edge, or the
    /// constraints contradict each other. Source: `TestConfiguration`.
    fn edges_of_cycles(&mut self, start: u16, constraints: &[SoftEdge]) -> Option<Vec<SoftEdge>> {
        self.orders.clear();
        for (number, constraint) in constraints.iter().enumerate().rev() {
            if self.orders.iter().all(|(tag, _)| *tag != constraint.tag) {
                let order = self.order(constraint.tag, &constraints[..=number])?;
                self.orders.push((constraint.tag, order));
            }
        }
        let mut found = Vec::new();
        let named = constraints.iter().flat_map(|constraint| [constraint.waiter, constraint.blocker]);
        for session in named.chain([start]) {
            self.visited.clear();
            self.soft.clear();
            if self.reaches_first(session) {
                if self.soft.is_empty() {
                    return None;
                }
                found.clone_from(&self.soft);
            }
        }
        Some(found)
    }

    /// Whether `session` waits, over any number of steps, for the one that was visited first. Source: `FindLockCycleRecurse`.
    fn reaches_first(&mut self, session: u16) -> bool {
        if let Some(place) = self.visited.iter().position(|visited| *visited == session) {
            return place == 0;
        }
        self.visited.push(session);
        let Some(waiter) = self.locks.waiters.iter().find(|waiter| waiter.session == session) else { return false };
        let holders = self.locks.hard_blockers(session, self.xacts);
        if holders.into_iter().any(|holder| self.reaches_first(holder)) {
            return true;
        }
        if matches!(waiter.tag, LockTag::Xact(_)) {
            return false;
        }
        let queue = self.queue(waiter.tag);
        for blocker in queue.into_iter().take_while(|other| *other != session) {
            let other = self.locks.waiters.iter().find(|other| other.session == blocker).expect("it stands in a queue");
            if conflicts(other.mode, waiter.mode) && self.reaches_first(blocker) {
                self.soft.push(SoftEdge { waiter: session, blocker, tag: waiter.tag });
                return true;
            }
        }
        false
    }

    /// Who waits for `tag`, in the order that is tried.
    fn queue(&self, tag: LockTag) -> Vec<u16> {
        let tried = self.orders.iter().find(|(other, _)| *other == tag).map(|(_, order)| order.clone());
        tried.unwrap_or_else(|| self.locks.queue(tag))
    }

    /// The queue for `tag` with as few changes as the constraints ask for; none: they contradict each other. Source: `TopoSort`.
    fn order(&self, tag: LockTag, constraints: &[SoftEdge]) -> Option<Vec<u16>> {
        let mut left = self.locks.queue(tag);
        let mut open: Vec<SoftEdge> = constraints.iter().filter(|edge| edge.tag == tag).copied().collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            // From the end: the last who need not stand before anybody.
            let last = left.iter().rposition(|session| open.iter().all(|edge| edge.waiter != *session))?;
            let session = left.remove(last);
            open.retain(|edge| edge.blocker != session);
            order.push(session);
        }
        order.reverse();
        Some(order)
    }
}

impl Locks {
    /// Whether `session`, which waits, may go on waiting. Queues are re-ordered where that resolves a cycle.
    pub(super) fn resolve_deadlock(&mut self, session: u16, xacts: &Xacts) -> bool {
        let mut search = Search { locks: self, xacts, orders: Vec::new(), visited: Vec::new(), soft: Vec::new() };
        if search.is_deadlock(session, &mut Vec::new()) {
            return false;
        }
        for (tag, order) in std::mem::take(&mut search.orders) {
            let mut waiters: Vec<_> = order.iter().filter_map(|session| self.waiter(*session)).collect();
            waiters.reverse();
            for place in self.waiters.iter_mut().filter(|waiter| waiter.tag == tag) {
                *place = waiters.pop().expect("as many as before");
            }
            self.wake(tag);
        }
        true
    }

    /// The sessions that wait for `tag`, in their order.
    fn queue(&self, tag: LockTag) -> Vec<u16> {
        self.waiters.iter().filter(|waiter| waiter.tag == tag).map(|waiter| waiter.session).collect()
    }

    fn waiter(&self, session: u16) -> Option<super::Waiter> {
        self.waiters.iter().find(|waiter| waiter.session == session).copied()
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
