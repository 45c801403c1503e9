//! Advisory locks: numbers that the user locks, for a session or for a transaction.

use super::{LockTag, Locks};
use crate::plan::TableLockMode;

/// What `pg_advisory_lock(bigint)` (one number) or `(int, int)` (two) names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AdvisoryKey {
    pub(crate) key: i64,
    /// The two-number form is a space of its own.
    pub(crate) two: bool,
}

/// Until when an advisory lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdvisoryScope {
    Session,
    Transaction,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    key: AdvisoryKey,
    session: u16,
    mode: TableLockMode,
    /// How many times it was taken and not given back.
    by_session: u32,
    by_transaction: u32,
}

/// The mode of an advisory lock.
pub(crate) fn mode(shared: bool) -> TableLockMode {
    if shared { TableLockMode::Share } else { TableLockMode::Exclusive }
}

impl Locks {
    pub(super) fn advisory_holders(&self, key: AdvisoryKey) -> impl Iterator<Item = (u16, TableLockMode)> {
        self.advisory.iter().filter(move |holder| holder.key == key).map(|holder| (holder.session, holder.mode))
    }

    /// All advisory locks: key, session and mode.
    pub(crate) fn all_advisory(&self) -> impl Iterator<Item = (AdvisoryKey, u16, TableLockMode)> {
        self.advisory.iter().map(|holder| (holder.key, holder.session, holder.mode))
    }

    /// A granted lock counts for nothing until [`Locks::count_advisory`] says for whom.
    pub(super) fn grant_advisory(&mut self, session: u16, key: AdvisoryKey, mode: TableLockMode) {
        self.advisory.push(Holder { key, session, mode, by_session: 0, by_transaction: 0 });
    }

    /// Asks for an advisory lock.
    pub(crate) fn lock_advisory(&mut self, session: u16, key: AdvisoryKey, shared: bool, scope: AdvisoryScope) -> bool {
        let mode = mode(shared);
        let held =
            self.advisory.iter().any(|holder| holder.key == key && holder.session == session && holder.mode == mode);
        let tag = LockTag::Advisory(key);
        if !held && !self.can_have(session, tag, mode, self.waiters.len()) {
            return false;
        }
        if !held {
            self.grant(session, tag, mode);
        }
        let holder = self
            .advisory
            .iter_mut()
            .find(|holder| holder.key == key && holder.session == session && holder.mode == mode);
        let holder = holder.expect("granted above");
        match scope {
            AdvisoryScope::Session => holder.by_session += 1,
            AdvisoryScope::Transaction => holder.by_transaction += 1,
        }
        true
    }

    /// Gives a session's lock back once; false if it does not hold it.
    pub(crate) fn unlock_advisory(&mut self, session: u16, key: AdvisoryKey, shared: bool) -> bool {
        let mode = mode(shared);
        let found = self.advisory.iter_mut().find(|holder| {
            holder.key == key && holder.session == session && holder.mode == mode && holder.by_session > 0
        });
        let Some(holder) = found else { return false };
        holder.by_session -= 1;
        self.drop_unheld(session);
        true
    }

    /// Gives one transaction-level lock back: ROLLBACK TO.
    pub(crate) fn release_advisory(&mut self, session: u16, key: AdvisoryKey, mode: TableLockMode) {
        let found = self
            .advisory
            .iter_mut()
            .find(|holder| holder.key == key && holder.session == session && holder.mode == mode);
        if let Some(holder) = found {
            holder.by_transaction = holder.by_transaction.saturating_sub(1);
        }
        self.drop_unheld(session);
    }

    /// Gives all locks of a scope back.
    pub(crate) fn release_advisory_scope(&mut self, session: u16, scope: AdvisoryScope) {
        if self.advisory.is_empty() {
            return;
        }
        for holder in self.advisory.iter_mut().filter(|holder| holder.session == session) {
            match scope {
                AdvisoryScope::Session => holder.by_session = 0,
                AdvisoryScope::Transaction => holder.by_transaction = 0,
            }
        }
        self.drop_unheld(session);
    }

    /// Gives what a transaction holds to another session; false, and nothing is done: the session holds some of it, too.
    pub(super) fn hand_over_advisory(&mut self, from: u16, to: u16) -> bool {
        let own = |holder: &&mut Holder| holder.session == from && holder.by_transaction > 0;
        if self.advisory.iter_mut().filter(own).any(|holder| holder.by_session > 0) {
            return false;
        }
        self.advisory.iter_mut().filter(own).for_each(|holder| holder.session = to);
        true
    }

    fn drop_unheld(&mut self, session: u16) {
        let unheld =
            |holder: &Holder| holder.session == session && holder.by_session == 0 && holder.by_transaction == 0;
        while let Some(place) = self.advisory.iter().position(unheld) {
            let holder = self.advisory.remove(place);
            self.wake(LockTag::Advisory(holder.key));
        }
    }
}
