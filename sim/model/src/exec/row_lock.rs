//! Row locks: who holds a row, waiting for them, and the newest version of a row that was waited for.
//!
//! A row is held by the transaction in its `xmax` or by those in its list of lockers. Whoever must wait first takes the *tuple lock*, then waits
//! for the holder's end. So the first waiter is the next to get the row, and those that come later queue behind it. When the
//! row has a newer version by then, READ COMMITTED goes on with that one, after a re-check.
//! Source: PostgreSQL, src/backend/access/heap: `heap_lock_tuple`, `heap_update`, `heapam_tuple_lock`.

use crate::catalog::TableId;
use crate::error::Error;
use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::footprint::{Access, Lock};
use crate::lock::LockTag;
use crate::mvcc::{Locker, NO_TUPLE, NO_XID, State, TupleId, Xid};
use crate::plan::{Expr, NodeId, RowLockStrength, RowLockTarget, TableLockMode, WaitPolicy};

/// What became of asking for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowStatus {
    /// It can be had, or is had.
    Free,
    /// Written by a later command than this one sees, or by none that it sees.
    Invisible,
    /// This command, or a later one of the same transaction, has written or deleted it already.
    SelfModified,
    /// A committed transaction has put a newer version in its place.
    Updated,
    Deleted,
    /// It would have to be waited for.
    WouldBlock,
}

/// Whether two strengths exclude each other.
pub(crate) fn excludes(left: RowLockStrength, right: RowLockStrength) -> bool {
    use RowLockStrength::{KeyShare, NoKeyUpdate, Share, Update};
    match left {
        KeyShare => right == Update,
        Share => right >= NoKeyUpdate,
        NoKeyUpdate => right >= Share,
        Update => true,
    }
}

/// The mode of the tuple lock. Source: PostgreSQL, `tupleLockExtraInfo` in heapam.c.
fn tuple_mode(strength: RowLockStrength) -> TableLockMode {
    match strength {
        RowLockStrength::KeyShare => TableLockMode::AccessShare,
        RowLockStrength::Share => TableLockMode::RowShare,
        RowLockStrength::NoKeyUpdate => TableLockMode::Exclusive,
        RowLockStrength::Update => TableLockMode::AccessExclusive,
    }
}

impl Exec<'_> {
    fn is_own(&self, xid: Xid) -> bool {
        self.core.xacts.is_own(xid, self.me)
    }

    /// Whether somebody else runs under this id.
    fn runs_elsewhere(&self, xid: Xid) -> bool {
        xid != NO_XID && self.core.xacts.state(xid) == State::Running && !self.is_own(xid)
    }

    /// The first transaction that holds a row against `strength`, in the order in which they came. Source: PostgreSQL, `DoMultiXactIdWait`.
    fn holder(&self, table: TableId, tuple: TupleId, strength: RowLockStrength) -> Option<Xid> {
        let storage = &self.core.tables[table as usize];
        let header = storage.header(tuple);
        let changes = excludes(strength, header.xmax_strength()) && self.runs_elsewhere(header.xmax);
        let against = |lock: &&Locker| excludes(strength, lock.strength) && self.runs_elsewhere(lock.xid);
        match storage.lockers(tuple).iter().find(against) {
            Some(locker) if !changes || locker.behind != header.xmax => Some(locker.xid),
            _ => changes.then_some(header.xmax),
        }
    }

    pub(super) fn own_lock(&self, table: TableId, tuple: TupleId) -> Option<RowLockStrength> {
        let lockers = self.core.tables[table as usize].lockers(tuple);
        lockers.iter().filter(|locker| self.is_own(locker.xid)).map(|locker| locker.strength).max()
    }

    /// Makes sure that nobody else holds a row, waiting as `policy` says. Nothing is written.
    pub(super) fn claim(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        policy: WaitPolicy,
    ) -> Result<RowStatus, Interrupt> {
        self.core.note_and_hold(self.me, || Lock::Row(table, tuple, strength));
        loop {
            let status = self.row_status(table, tuple, strength);
            let own = if status == RowStatus::Free { self.own_lock(table, tuple) } else { None };
            if status != RowStatus::Free || own >= Some(strength) {
                self.core.locks.release_tuple(self.me, table, tuple);
                return Ok(status);
            }
            let Some(holder) = self.holder(table, tuple, strength) else {
                self.core.locks.release_tuple(self.me, table, tuple);
                return Ok(RowStatus::Free);
            };
            match policy {
                WaitPolicy::Block => {}
                WaitPolicy::SkipLocked => return Ok(RowStatus::WouldBlock),
                WaitPolicy::NoWait => return Err(self.not_available(table)),
            }
            // Who already holds a weaker lock on the row does not queue: it would wait for those that wait for it.
            let mode = tuple_mode(strength);
            if own.is_none() && !self.core.locks.lock_tuple(self.me, table, tuple, mode) {
                self.wait(LockTag::Tuple(table, tuple), mode)?;
            }
            self.wait(LockTag::Xact(holder), TableLockMode::Share)?;
        }
    }

    fn not_available(&self, table: TableId) -> Interrupt {
        let name = &self.core.catalog.table(table).name;
        Error::new("55P03", format!("could not obtain lock on row in relation \"{name}\"")).into()
    }

    /// What a row is for this command, holders aside.
    fn row_status(&self, table: TableId, tuple: TupleId, strength: RowLockStrength) -> RowStatus {
        let header = self.core.tables[table as usize].header(tuple);
        let command = self.act.snapshot.command;
        match self.core.xacts.state(header.xmin) {
            State::Aborted => return RowStatus::Invisible,
            State::Running if !self.is_own(header.xmin) || header.cmin >= command => return RowStatus::Invisible,
            State::Running | State::Committed => {}
        }
        if header.xmax == NO_XID {
            return RowStatus::Free;
        }
        match self.core.xacts.state(header.xmax) {
            State::Running if self.is_own(header.xmax) && header.cmax >= command => RowStatus::SelfModified,
            State::Running if self.is_own(header.xmax) => RowStatus::Invisible,
            State::Aborted | State::Running => RowStatus::Free,
            State::Committed if !excludes(strength, header.xmax_strength()) => RowStatus::Free,
            State::Committed if header.next == NO_TUPLE => RowStatus::Deleted,
            State::Committed => RowStatus::Updated,
        }
    }

    /// Locks a row, waiting as `policy` says.
    pub(super) fn lock_row(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        policy: WaitPolicy,
    ) -> Result<RowStatus, Interrupt> {
        // The tuple lock is given back by `claim`, before the row is marked; nobody can come in between.
        let mut status = self.claim(table, tuple, strength, policy)?;
        if status == RowStatus::Free && strength == RowLockStrength::KeyShare {
            status = self.share_newer_versions(table, tuple, policy)?;
        }
        if status == RowStatus::Free && self.own_lock(table, tuple) < Some(strength) {
            let xid = self.core.assign_xid(self.me);
            self.core.tables[table as usize].add_locker(tuple, xid, strength, &self.core.xacts);
        }
        Ok(status)
    }

    /// KEY SHARE can be had on a row that is being updated: the lock is put on its newer versions too, so that nobody takes them away.
    /// Where a newer version is gone already, so is the row. Source: PostgreSQL, `heap_lock_updated_tuple`, `test_lockmode_for_conflict`.
    fn share_newer_versions(
        &mut self,
        table: TableId,
        tuple: TupleId,
        policy: WaitPolicy,
    ) -> Result<RowStatus, Interrupt> {
        let mut tuple = tuple;
        loop {
            let header = *self.core.tables[table as usize].header(tuple);
            if header.xmax == NO_XID || header.next == NO_TUPLE || self.core.xacts.state(header.xmax) == State::Aborted
            {
                return Ok(RowStatus::Free);
            }
            tuple = header.next;
            self.core.note_and_hold(self.me, || Lock::Row(table, tuple, RowLockStrength::KeyShare));
            while let Some(holder) = self.holder(table, tuple, RowLockStrength::KeyShare) {
                if policy != WaitPolicy::Block {
                    return Err(self.not_available(table));
                }
                self.wait(LockTag::Xact(holder), TableLockMode::Share)?;
            }
            let header = self.core.tables[table as usize].header(tuple);
            if header.key_gone && self.core.xacts.state(header.xmax) == State::Committed {
                return Ok(if header.next == NO_TUPLE { RowStatus::Deleted } else { RowStatus::Updated });
            }
            let xid = self.core.assign_xid(self.me);
            self.core.tables[table as usize].add_locker(tuple, xid, RowLockStrength::KeyShare, &self.core.xacts);
        }
    }

    /// Locks the newest version of a row that was updated; none: it was deleted. What was done before a wait is done again after it, and
    /// comes to the same.
    pub(super) fn lock_newest(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        policy: WaitPolicy,
    ) -> Result<Result<TupleId, RowStatus>, Interrupt> {
        let mut tuple = tuple;
        loop {
            self.core.note(|| Access::Take(Lock::Row(table, tuple, RowLockStrength::Update)));
            let header = *self.core.tables[table as usize].header(tuple);
            let committed = header.xmax != NO_XID && self.core.xacts.state(header.xmax) == State::Committed;
            if committed && header.next == NO_TUPLE {
                return Ok(Err(RowStatus::Deleted));
            }
            if committed {
                tuple = header.next;
                continue;
            }
            if self.runs_elsewhere(header.xmax) {
                match policy {
                    WaitPolicy::Block => self.wait(LockTag::Xact(header.xmax), TableLockMode::Share)?,
                    WaitPolicy::SkipLocked => return Ok(Err(RowStatus::WouldBlock)),
                    WaitPolicy::NoWait => return Err(self.not_available(table)),
                }
                continue;
            }
            match self.lock_row(table, tuple, strength, policy)? {
                RowStatus::Free => return Ok(Ok(tuple)),
                RowStatus::Updated => {}
                status => return Ok(Err(status)),
            }
        }
    }

    /// Who has waited for a row's holder locks the row's newer versions too, and waits for whoever holds those, before it finds out that the row
    /// that it sees is no longer the newest, which under REPEATABLE READ is an error. Source: PostgreSQL, `heap_lock_tuple`,
    /// `heap_lock_updated_tuple`.
    fn wait_for_newer_versions(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
    ) -> Result<(), Interrupt> {
        let mut next = self.core.tables[table as usize].header(tuple).next;
        while next != NO_TUPLE {
            while let Some(holder) = self.holder(table, next, strength) {
                self.wait(LockTag::Xact(holder), TableLockMode::Share)?;
            }
            next = self.core.tables[table as usize].header(next).next;
        }
        Ok(())
    }

    /// The error of REPEATABLE READ where READ COMMITTED would go on with a newer version.
    pub(super) fn check_isolation(&self, status: RowStatus) -> Result<(), Error> {
        let what = match status {
            RowStatus::Updated => "update",
            RowStatus::Deleted => "delete",
            _ => return Ok(()),
        };
        if self.isolation().keeps_snapshot() {
            let message = format!("could not serialize access due to concurrent {what}");
            return Err(Error::new("40001", message));
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn poll_lock_rows(
        &mut self,
        node: NodeId,
        input: NodeId,
        targets: &[RowLockTarget],
        recheck: &[Expr],
    ) -> Result<Polled, Interrupt> {
        'rows: loop {
            // `at` is the target to be locked next; `flag`: one was not the newest version.
            if matches!(self.state(node).stage, Stage::Fresh | Stage::Input) {
                if self.poll(input)? == Polled::End {
                    return Ok(Polled::End);
                }
                let state = self.state(node);
                state.stage = Stage::Work;
                state.at = 0;
                state.flag = false;
            }
            while let Some(target) = targets.get(self.state(node).at as usize) {
                if !self.lock_target(node, target)? {
                    self.state(node).stage = Stage::Input;
                    continue 'rows;
                }
                self.state(node).at += 1;
            }
            let qualifies = !self.state(node).flag || self.rechecks(recheck)?;
            self.state(node).stage = Stage::Input;
            if qualifies {
                return Ok(Polled::Row);
            }
        }
    }

    /// Locks one table's row; false: the row is to be left out.
    fn lock_target(&mut self, node: NodeId, target: &RowLockTarget) -> Result<bool, Interrupt> {
        let Some(tuple) = self.tuple(target.slot) else { return Ok(true) };
        let has_waited = std::mem::replace(&mut self.state(node).waited, true);
        let status = self.lock_row(target.table, tuple, target.strength, target.wait)?;
        if has_waited && status == RowStatus::Updated && self.isolation().keeps_snapshot() {
            self.wait_for_newer_versions(target.table, tuple, target.strength)?;
        }
        self.state(node).waited = false;
        // Of a deleted row, too, FOR UPDATE says that it was updated (ExecLockRows).
        self.check_isolation(if status == RowStatus::Deleted { RowStatus::Updated } else { status })?;
        if status != RowStatus::Updated {
            return Ok(status == RowStatus::Free);
        }
        let Ok(newest) = self.lock_newest(target.table, tuple, target.strength, target.wait)? else { return Ok(false) };
        self.bind(target.slot, Slot::Tuple { table: target.table, tuple: newest });
        self.state(node).flag = true;
        Ok(true)
    }
}
