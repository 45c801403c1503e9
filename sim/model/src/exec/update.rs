//! UPDATE, and writing a new version.

use crate::catalog::TableId;
use crate::exec::row_lock::RowStatus;
use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::footprint::Lock;
use crate::mvcc::TupleId;
use crate::plan::{
    ALL_COLUMNS, ColumnId, ColumnSet, Expr, NodeId, OWN_ROW, Returning, RowLockStrength, SlotId, WaitPolicy, column_set,
};
use crate::types::same;

/// The fields of the node.
pub(super) struct UpdateNode<'q> {
    pub(super) node: NodeId,
    pub(super) input: NodeId,
    pub(super) target: SlotId,
    pub(super) table: TableId,
    pub(super) set: &'q [(ColumnId, Expr)],
    pub(super) recheck: &'q [Expr],
}

impl Exec<'_> {
    #[inline(never)]
    pub(super) fn poll_update(
        &mut self,
        update: &UpdateNode<'_>,
        returning: Option<&Returning>,
    ) -> Result<Polled, Interrupt> {
        let (node, target, table) = (update.node, update.target, update.table);
        loop {
            match self.state(node).stage {
                Stage::Fresh | Stage::Input => {
                    if self.poll(update.input)? == Polled::End {
                        return Ok(Polled::End);
                    }
                    self.state(node).stage = Stage::Work;
                }
                Stage::Work => {
                    self.new_row(target, update.set)?;
                    self.check_row(table, self.written(table, update.set))?;
                    self.state(node).stage = Stage::Write;
                }
                Stage::Write => {
                    let old = self.tuple(target).expect("the target of an UPDATE is a tuple");
                    let written = self.written(table, update.set);
                    let (status, strength) = self.claim_for_update(table, old, written)?;
                    self.check_isolation(status)?;
                    self.check_seen(status, table, old)?;
                    // `end` is the strength with which a newer version is locked.
                    self.state(node).end = u32::from(strength == RowLockStrength::Update);
                    self.state(node).stage = match status {
                        RowStatus::Free => {
                            let new = self.write_version(table, old, written);
                            self.bind(target, Slot::Tuple { table, tuple: new });
                            self.state(node).at = 0;
                            Stage::Enter
                        }
                        RowStatus::Updated => Stage::Newest,
                        _ => Stage::Input,
                    };
                }
                Stage::Newest => {
                    let strength =
                        if self.state(node).end == 1 { RowLockStrength::Update } else { RowLockStrength::NoKeyUpdate };
                    self.go_to_newest(node, table, target, strength)?;
                }
                Stage::Recheck => {
                    self.state(node).stage = if self.rechecks(update.recheck)? { Stage::Work } else { Stage::Input };
                }
                Stage::Enter => {
                    let new = self.tuple(target).expect("bound when it was written");
                    self.enter_indexes(node, table, new)?;
                    self.count_row(node);
                    self.state(node).stage = if returning.is_some() { Stage::Return } else { Stage::Input };
                }
                _ => {
                    let returning = returning.expect("a row is given back where RETURNING says so");
                    self.evaluate_into(returning.slot, &returning.exprs)?;
                    self.state(node).stage = Stage::Input;
                    return Ok(Polled::Row);
                }
            }
        }
    }

    /// Locks the newest version and binds the target to it.
    pub(super) fn go_to_newest(
        &mut self,
        node: NodeId,
        table: TableId,
        target: SlotId,
        strength: RowLockStrength,
    ) -> Result<(), Interrupt> {
        let old = self.tuple(target).expect("the target is a tuple");
        match self.lock_newest(table, old, strength, WaitPolicy::Block, false)? {
            Ok(newest) => {
                self.replace(target, table, newest);
                self.state(node).stage = Stage::Recheck;
            }
            Err(_) => self.state(node).stage = Stage::Input,
        }
        Ok(())
    }

    /// A row of the answer's count, if the node is the statement itself.
    pub(super) fn count_row(&mut self, node: NodeId) {
        if node == self.query.root {
            self.act.affected += 1;
        }
    }

    /// Puts the new row of an update into the values of [`OWN_ROW`].
    pub(super) fn new_row(&mut self, target: SlotId, set: &[(ColumnId, Expr)]) -> Result<(), Interrupt> {
        let place = super::place(OWN_ROW);
        let mut values = std::mem::take(&mut self.act.values[place]);
        values.clear();
        let slot = self.bound(target);
        values.extend_from_slice(self.row(slot));
        let evaluated = set.iter().try_for_each(|(column, expr)| {
            values[usize::from(*column)] = self.eval(expr)?;
            Ok(())
        });
        self.act.values[place] = values;
        self.bind_values(OWN_ROW);
        if evaluated.is_ok() {
            self.row_done();
        }
        evaluated
    }

    /// The columns that an update can change.
    pub(super) fn written(&self, table: TableId, set: &[(ColumnId, Expr)]) -> ColumnSet {
        let def = self.core.catalog.table(table);
        if def.generates || self.core.tables[table as usize].stride != def.columns.len() {
            return ALL_COLUMNS;
        }
        column_set(set.iter().map(|(column, _)| *column))
    }

    /// Makes sure that the old version can be replaced by the row in [`OWN_ROW`]'s values, which differs from it at most in the columns
    /// `written`. An update has an id before it waits.
    pub(super) fn claim_for_update(
        &mut self,
        table: TableId,
        old: TupleId,
        written: ColumnSet,
    ) -> Result<(RowStatus, RowLockStrength), Interrupt> {
        self.core.assign_xid(self.me);
        let strength = if self.changes(table, old, written, true) {
            RowLockStrength::Update
        } else {
            RowLockStrength::NoKeyUpdate
        };
        let status = self.claim(table, old, strength)?;
        Ok((status, strength))
    }

    /// Whether the new row differs from the old in a column that an index uses; `key`: in one that a foreign key might refer to.
    fn changes(&self, table: TableId, old: TupleId, written: ColumnSet, key: bool) -> bool {
        let storage = &self.core.tables[table as usize];
        let new = &self.act.values[super::place(OWN_ROW)];
        let columns = if key { &storage.key_columns } else { &storage.indexed_columns };
        columns.of(written).any(|column| !same(storage.value(old, usize::from(column)), &new[usize::from(column)]))
    }

    /// Appends the row in [`OWN_ROW`]'s values as the version after `old`, which was claimed.
    pub(super) fn write_version(&mut self, table: TableId, old: TupleId, written: ColumnSet) -> TupleId {
        let (changes_key, indexed) =
            (self.changes(table, old, written, true), self.changes(table, old, written, false));
        let strength = if changes_key { RowLockStrength::Update } else { RowLockStrength::NoKeyUpdate };
        let xid = self.core.assign_xid(self.me);
        let command = self.core.transaction(self.me).command;
        let place = super::place(OWN_ROW);
        let storage = &mut self.core.tables[table as usize];
        let new = storage.append(xid, command, !indexed, &mut self.act.values[place]);
        let shared = storage.end(old, (xid, command), new, strength, &self.core.xacts);
        self.core.note_written(self.me, table, Some(old), Some(new));
        for holder in shared.iter() {
            let session = self.core.xacts.session(holder.xid);
            self.core.note_held(session, Lock::Row(table, new, holder.strength));
        }
        self.queue_foreign_keys(table, Some(old), Some(new));
        new
    }
}
