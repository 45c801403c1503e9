//! Who holds a row version: what PostgreSQL keeps in a tuple's xmax and its infomask.
//!
//! That is one transaction, which locks the row or changes it, or a *multixact*: a list of them that is written once and then replaced by
//! another. A transaction that has ended stays in the list until then, and a list is a list as long as one of its members
//! runs, so that a change that has been committed is told only when everybody has been waited for who would have been in its way.
//! Source: PostgreSQL, `compute_new_xmax_infomask` in heapam.c, `MultiXactIdExpand` in multixact.c.

use smallvec::SmallVec;

use super::xid::{State, Xacts, Xid};
use crate::plan::RowLockStrength;

/// One of those who hold a row version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) xid: Xid,
    pub(crate) strength: RowLockStrength,
    /// It deletes the row or puts a new version in its place, and does not merely lock it.
    pub(crate) changes: bool,
}

impl Holder {
    pub(crate) fn is_over(self, xacts: &Xacts) -> bool {
        xacts.state(self.xid) != State::Running
    }

    /// Whether a new list has it still.
    fn counts(self, xacts: &Xacts) -> bool {
        match xacts.state(self.xid) {
            State::Running => true,
            State::Committed => self.changes,
            State::Aborted => false,
        }
    }
}

/// Those who hold a row version, the oldest transaction first. Two or more are a multixact.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders(SmallVec<[Holder; 2]>);

impl Holders {
    /// Whoever changes the row, alone.
    pub(super) fn one(holder: Holder) -> Self {
        Self(SmallVec::from_slice(&[holder]))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn is_multi(&self) -> bool {
        self.0.len() > 1
    }

    pub(crate) fn change(&self) -> Option<&Holder> {
        self.iter().find(|holder| holder.changes)
    }

    pub(crate) fn strongest(&self) -> Option<RowLockStrength> {
        self.iter().map(|holder| holder.strength).max()
    }

    /// One more.
    pub(super) fn add(&mut self, mut new: Holder, xacts: &Xacts) {
        match self.0[..] {
            [old] if old.xid == new.xid && !old.is_over(xacts) => {
                new.strength = new.strength.max(old.strength);
                self.0.clear();
            }
            _ if self.is_multi() && self.0.contains(&new) => return,
            _ => self.0.retain(|old| old.counts(xacts)),
        }
        self.0.push(new);
        // Source: PostgreSQL, `mXactCacheGetBySet`, `mxactMemberComparator`.
        self.0.sort_unstable_by_key(|holder| (holder.xid, holder.changes, holder.strength));
    }

    /// Those of the new version of a row that these hold: who shares the old one shares the new one. Source: PostgreSQL, `heap_update`.
    pub(super) fn of_new_version(&self, xacts: &Xacts) -> Self {
        let running = self.iter().filter(|holder| !holder.changes && !holder.is_over(xacts)).copied();
        let mut new = Self(running.collect());
        if !self.is_multi() {
            new.0.iter_mut().for_each(|alone| alone.strength = RowLockStrength::KeyShare);
        }
        new
    }
}
