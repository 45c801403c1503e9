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
use crate::mvcc::{Holder, Holders, NO_TUPLE, NO_XID, State, TupleId, Xid};
use crate::plan::{Expr, LockedAgain, NodeId, RowLockStrength, RowLockTarget, SlotId, TableLockMode, WaitPolicy};

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
    /// Others hold it, as strongly or weakly as it may be.
    Held,
}

/// A row to be locked that others hold, or have changed.
struct HeldRow {
    table: TableId,
    tuple: TupleId,
    status: RowStatus,
    /// What this statement has just waited for, [`crate::exec::Activation::waited_for`].
    has_waited: Option<(TableId, TupleId, Option<Xid>)>,
    /// Whether its transaction is one of them.
    own: bool,
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

    /// Whoever runs beside `self` and holds a row against `strength`, the first of them. Source: PostgreSQL, `Do_MultiXactIdWait`.
    fn in_the_way(&self, holders: &Holders, strength: RowLockStrength) -> Option<Xid> {
        let against = |holder: &&Holder| excludes(strength, holder.strength) && self.runs_elsewhere(holder.xid);
        holders.iter().find(against).map(|holder| holder.xid)
    }

    /// Whether somebody else holds a row against `strength`, be it through a change that has been committed. Source: PostgreSQL,
    /// `DoesMultiXactIdConflict`.
    fn is_held_against(&self, holders: &Holders, strength: RowLockStrength) -> bool {
        let xacts = &self.core.xacts;
        holders.iter().filter(|holder| excludes(strength, holder.strength) && !self.is_own(holder.xid)).any(|holder| {
            if holder.changes { xacts.state(holder.xid) != State::Aborted } else { !holder.is_over(xacts) }
        })
    }

    fn own_lock(&self, holders: &Holders) -> Option<RowLockStrength> {
        holders.iter().filter(|holder| self.is_own(holder.xid)).map(|holder| holder.strength).max()
    }

    /// Those who are awake may go first.
    fn race(&mut self) -> Result<(), Interrupt> {
        if self.core.locks.lets_others_go_first(self.me) { Err(Interrupt::Wait) } else { Ok(()) }
    }

    /// Makes sure that a row can be changed, and waits for those who are in the way. Source: PostgreSQL, `heap_update`, `heap_delete`.
    pub(super) fn claim(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
    ) -> Result<RowStatus, Interrupt> {
        self.race()?;
        self.core.note_and_hold(self.me, || Lock::Row(table, tuple, strength));
        let status = self.row_status(table, tuple);
        if status == RowStatus::Free && self.core.tables[table as usize].header(tuple).is_untouched() {
            return Ok(status);
        }
        let status = if status == RowStatus::Held { self.claim_held(table, tuple, strength)? } else { status };
        self.core.locks.release_tuple(self.me, table, tuple);
        Ok(status)
    }

    fn claim_held(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
    ) -> Result<RowStatus, Interrupt> {
        let holders = self.core.tables[table as usize].holders(tuple);
        let own = self.own_lock(&holders).is_some();
        let shares = strength == RowLockStrength::NoKeyUpdate && holders.strongest() == Some(RowLockStrength::KeyShare);
        let conflicts = if holders.is_multi() { self.is_held_against(&holders, strength) } else { !own && !shares };
        if conflicts {
            self.queue_for(table, tuple, strength, own, WaitPolicy::Block)?;
            if let Some(xid) = self.in_the_way(&holders, strength) {
                self.wait(LockTag::Xact(xid), TableLockMode::Share)?;
            }
        }
        Ok(self.changed(table, tuple, &holders))
    }

    /// What a change that those who held the row may have made means for who comes after them.
    fn changed(&self, table: TableId, tuple: TupleId, holders: &Holders) -> RowStatus {
        let changed = holders.change().is_some_and(|change| self.core.xacts.state(change.xid) == State::Committed);
        match changed {
            false => RowStatus::Free,
            true if self.core.tables[table as usize].header(tuple).next == NO_TUPLE => RowStatus::Deleted,
            true => RowStatus::Updated,
        }
    }

    /// The right to be the next to get a row; false: others have it, and are not waited for. Who holds the row itself, `exempt`, does not queue: it
    /// would wait for those that wait for it. Source: PostgreSQL, `heap_acquire_tuplock`.
    fn queue_for(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        exempt: bool,
        policy: WaitPolicy,
    ) -> Result<bool, Interrupt> {
        let mode = tuple_mode(strength);
        if exempt || self.core.locks.lock_tuple(self.me, table, tuple, mode) {
            return Ok(true);
        }
        match policy {
            WaitPolicy::Block => self.wait(LockTag::Tuple(table, tuple), mode).map(|()| true),
            WaitPolicy::SkipLocked => Ok(false),
            WaitPolicy::NoWait => Err(self.not_available(table)),
        }
    }

    fn not_available(&self, table: TableId) -> Interrupt {
        let name = &self.core.catalog.table(table).name;
        Error::new("55P03", format!("could not obtain lock on row in relation \"{name}\"")).into()
    }

    /// What a row is for this command. Source: PostgreSQL, `HeapTupleSatisfiesUpdate`.
    fn row_status(&self, table: TableId, tuple: TupleId) -> RowStatus {
        let storage = &self.core.tables[table as usize];
        let header = storage.header(tuple);
        let command = self.act.snapshot.command;
        match self.core.xacts.state(header.xmin) {
            State::Aborted => return RowStatus::Invisible,
            State::Running if !self.is_own(header.xmin) || header.cmin >= command => return RowStatus::Invisible,
            State::Running | State::Committed => {}
        }
        if header.is_untouched() {
            return RowStatus::Free;
        }
        if header.xmax != NO_XID && self.is_own(header.xmax) {
            return if header.cmax >= command { RowStatus::SelfModified } else { RowStatus::Invisible };
        }
        let holders = storage.holders(tuple);
        // A change that was committed is told only when nobody runs who shares the row.
        if holders.iter().any(|holder| !holder.is_over(&self.core.xacts)) {
            return RowStatus::Held;
        }
        self.changed(table, tuple, &holders)
    }

    /// Locks a row, waiting as `policy` says; `follow`: its newer versions, too. Source: PostgreSQL, `heap_lock_tuple`.
    pub(super) fn lock_row(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        policy: WaitPolicy,
        follow: bool,
    ) -> Result<RowStatus, Interrupt> {
        self.race()?;
        self.core.note_and_hold(self.me, || Lock::Row(table, tuple, strength));
        let status = self.row_status(table, tuple);
        let untouched = self.core.tables[table as usize].header(tuple).is_untouched();
        let status = match status {
            RowStatus::Held | RowStatus::Updated | RowStatus::Deleted => {
                // It may be a newer version of this row that was waited for.
                let this = |row: &mut (TableId, TupleId, Option<Xid>)| (row.0, row.1) == (table, tuple);
                let has_waited = self.act.waited_for.take_if(this);
                let own = self.own_lock(&self.core.tables[table as usize].holders(tuple));
                if own >= Some(strength) {
                    self.core.locks.release_tuple(self.me, table, tuple);
                    return Ok(RowStatus::Free);
                }
                let row = HeldRow { table, tuple, status, has_waited, own: own.is_some() };
                let status = self.lock_held(&row, strength, policy, follow)?;
                self.act.waited_for.take_if(this);
                status
            }
            status => status,
        };
        if !untouched {
            self.core.locks.release_tuple(self.me, table, tuple);
        }
        if status == RowStatus::Free {
            let xid = self.core.assign_xid(self.me);
            self.core.tables[table as usize].lock(tuple, xid, strength, &self.core.xacts);
        }
        Ok(status)
    }

    /// What becomes of locking a row that others hold, or have changed.
    fn lock_held(
        &mut self,
        row: &HeldRow,
        strength: RowLockStrength,
        policy: WaitPolicy,
        follow: bool,
    ) -> Result<RowStatus, Interrupt> {
        let HeldRow { table, tuple, status, own, .. } = *row;
        let storage = &self.core.tables[table as usize];
        let holders = storage.holders(tuple);
        let next = storage.header(tuple).next;
        let change = holders.change().map(|change| change.xid);
        let strongest = holders.strongest().unwrap_or(RowLockStrength::KeyShare);
        let follows = follow && change.is_some() && next != NO_TUPLE;
        let mut free = !holders.is_multi() && own;
        match strength {
            RowLockStrength::KeyShare if strongest < RowLockStrength::Update => {
                if follows {
                    let status = self.lock_newer_versions(table, next, strength)?;
                    if status != RowStatus::Free {
                        return Ok(status);
                    }
                }
                free = true;
            }
            RowLockStrength::Share => free |= change.is_none() && strongest <= RowLockStrength::Share,
            RowLockStrength::NoKeyUpdate if holders.is_multi() => free |= !self.is_held_against(&holders, strength),
            RowLockStrength::NoKeyUpdate => free |= change.is_none() && strongest == RowLockStrength::KeyShare,
            RowLockStrength::KeyShare | RowLockStrength::Update => {}
        }
        if free {
            return Ok(RowStatus::Free);
        }
        if follow && matches!(row.has_waited, Some((.., Some(changer))) if Some(changer) != change) {
            // It goes on as if it had looked at the row before its wait, and has an id before it looks at newer versions.
            self.core.assign_xid(self.me);
        }
        let has_waited = row.has_waited == Some((table, tuple, change));
        if status != RowStatus::Held && !has_waited {
            return Ok(status);
        }
        // After a wait it goes on as if it had looked at the row before that.
        self.act.waited_for = Some((table, tuple, change));
        if status == RowStatus::Held {
            if !self.queue_for(table, tuple, strength, own, policy)? {
                return Ok(RowStatus::WouldBlock);
            }
            if let Some(xid) = self.in_the_way(&holders, strength) {
                match policy {
                    WaitPolicy::Block => self.wait(LockTag::Xact(xid), TableLockMode::Share)?,
                    WaitPolicy::SkipLocked => return Ok(RowStatus::WouldBlock),
                    WaitPolicy::NoWait => return Err(self.not_available(table)),
                }
            }
        }
        if follows {
            let status = self.lock_newer_versions(table, next, strength)?;
            if status != RowStatus::Free {
                return Ok(status);
            }
        }
        Ok(self.changed(table, tuple, &holders))
    }

    /// Puts a lock on the newer versions of a row, so that nobody takes them away; where one is gone already, so is the row. Waits, whatever the
    /// statement's policy is. Source: PostgreSQL, `heap_lock_updated_tuple_rec`, `test_lockmode_for_conflict`.
    fn lock_newer_versions(
        &mut self,
        table: TableId,
        first: TupleId,
        strength: RowLockStrength,
    ) -> Result<RowStatus, Interrupt> {
        // It has an id before it looks.
        let xid = self.core.assign_xid(self.me);
        let mut tuple = first;
        loop {
            let header = *self.core.tables[table as usize].header(tuple);
            if self.core.xacts.state(header.xmin) == State::Aborted {
                return Ok(RowStatus::Free);
            }
            self.core.note_and_hold(self.me, || Lock::Row(table, tuple, strength));
            let holders = self.core.tables[table as usize].holders(tuple);
            let mut is_locked = false;
            for holder in holders.iter() {
                if self.is_own(holder.xid) {
                    is_locked = true;
                    break;
                }
                if excludes(strength, holder.strength) {
                    match self.core.xacts.state(holder.xid) {
                        State::Running => self.wait(LockTag::Xact(holder.xid), TableLockMode::Share)?,
                        State::Committed if holder.changes && header.next == NO_TUPLE => return Ok(RowStatus::Deleted),
                        State::Committed if holder.changes => return Ok(RowStatus::Updated),
                        State::Committed | State::Aborted => {}
                    }
                }
            }
            if !is_locked {
                self.core.tables[table as usize].lock(tuple, xid, strength, &self.core.xacts);
            }
            let header = self.core.tables[table as usize].header(tuple);
            if header.next == NO_TUPLE || self.core.xacts.state(header.xmax) == State::Aborted {
                return Ok(RowStatus::Free);
            }
            tuple = header.next;
        }
    }

    /// Locks the newest version of a row that was updated; none: it was deleted. What was done before a wait is done again after it, and
    /// comes to the same. Source: PostgreSQL, `heapam_tuple_lock`.
    pub(super) fn lock_newest(
        &mut self,
        table: TableId,
        tuple: TupleId,
        strength: RowLockStrength,
        policy: WaitPolicy,
        follow: bool,
    ) -> Result<Result<TupleId, RowStatus>, Interrupt> {
        self.race()?;
        let mut tuple = tuple;
        loop {
            self.core.note(|| Access::Take(Lock::Row(table, tuple, RowLockStrength::Update)));
            let header = *self.core.tables[table as usize].header(tuple);
            // What has been waited for is locked, or found to be gone, by who waited: it has to give back its place in the row's queue, too.
            let looks = self.act.waited_for.is_none_or(|(of, version, _)| (of, version) != (table, tuple));
            let committed = looks && header.xmax != NO_XID && self.core.xacts.state(header.xmax) == State::Committed;
            if committed && header.next == NO_TUPLE {
                return Ok(Err(RowStatus::Deleted));
            }
            if committed {
                tuple = header.next;
                continue;
            }
            if looks && self.runs_elsewhere(header.xmax) {
                match policy {
                    WaitPolicy::Block => self.wait(LockTag::Xact(header.xmax), TableLockMode::Share)?,
                    WaitPolicy::SkipLocked => return Ok(Err(RowStatus::WouldBlock)),
                    WaitPolicy::NoWait => return Err(self.not_available(table)),
                }
                continue;
            }
            match self.lock_row(table, tuple, strength, policy, follow)? {
                RowStatus::Free => return Ok(Ok(tuple)),
                RowStatus::Updated => {}
                status => return Ok(Err(status)),
            }
        }
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
        again: &LockedAgain,
    ) -> Result<Polled, Interrupt> {
        'rows: loop {
            // `at` is the target to be locked next; `flag`: one was not the newest version.
            if matches!(self.state(node).stage, Stage::Fresh | Stage::Input) {
                if self.state(node).flag {
                    // A join goes on with the version that it has found.
                    self.exchange_versions();
                }
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
            let qualifies =
                !self.state(node).flag || self.joins_again(&again.missing)? && self.rechecks(&again.recheck)?;
            self.state(node).stage = Stage::Input;
            if qualifies {
                return Ok(Polled::Row);
            }
        }
    }

    /// See [`LockedAgain::missing`].
    #[cold]
    fn joins_again(&mut self, missing: &[(Expr, Vec<SlotId>)]) -> Result<bool, Interrupt> {
        for (on, slots) in missing {
            if self.test(on)? != Some(true) {
                for slot in slots {
                    self.bind(*slot, Slot::Nulls);
                }
            }
        }
        self.row_done();
        Ok(true)
    }

    /// Binds the newest version of a row in place of an older one.
    pub(super) fn replace(&mut self, slot: SlotId, table: TableId, newest: TupleId) {
        let old = self.bound(slot);
        let bound = if let Slot::Tuple { tuple, .. } = old { Some(tuple) } else { None };
        let known = self.act.replaced.iter_mut().find(|(known, ..)| *known == slot);
        match known {
            // It is replaced once more: the one that was found stays the one that was found.
            Some((_, _, latest)) if Some(*latest) == bound => *latest = newest,
            Some(known) => *known = (slot, old, newest),
            None => self.act.replaced.push((slot, old, newest)),
        }
        self.bind(slot, Slot::Tuple { table, tuple: newest });
    }

    /// Binds the versions that were found in place of the newest, or takes that back.
    pub(super) fn exchange_versions(&mut self) {
        for at in 0..self.act.replaced.len() {
            let (slot, found, newest) = self.act.replaced[at];
            match (self.bound(slot), found) {
                (Slot::Tuple { table, tuple }, _) if tuple == newest => {
                    self.bind(slot, found);
                    self.act.replaced[at] = (slot, Slot::Tuple { table, tuple }, NO_TUPLE);
                }
                (now, Slot::Tuple { tuple, .. }) if newest == NO_TUPLE => {
                    self.bind(slot, found);
                    self.act.replaced[at] = (slot, now, tuple);
                }
                // Of a row before this one.
                _ => {}
            }
        }
    }

    /// Locks one table's row; false: the row is to be left out.
    fn lock_target(&mut self, node: NodeId, target: &RowLockTarget) -> Result<bool, Interrupt> {
        let Some(tuple) = self.tuple(target.slot) else { return Ok(true) };
        let status = self.lock_row(target.table, tuple, target.strength, target.wait, true)?;
        // Of a deleted row, too, FOR UPDATE says that it was updated (ExecLockRows).
        self.check_isolation(if status == RowStatus::Deleted { RowStatus::Updated } else { status })?;
        if status != RowStatus::Updated {
            return Ok(status == RowStatus::Free);
        }
        let Ok(newest) = self.lock_newest(target.table, tuple, target.strength, target.wait, true)? else {
            return Ok(false);
        };
        self.replace(target.slot, target.table, newest);
        self.state(node).flag = true;
        Ok(true)
    }
}
