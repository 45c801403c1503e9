//! DELETE.

use crate::catalog::TableId;
use crate::exec::row_lock::RowStatus;
use crate::exec::{Exec, Interrupt, Polled, Stage};
use crate::mvcc::{NO_TUPLE, TupleId};
use crate::plan::{Expr, NodeId, Returning, RowLockStrength, SlotId};

/// The fields of the node.
pub(super) struct DeleteNode<'q> {
    pub(super) node: NodeId,
    pub(super) input: NodeId,
    pub(super) target: SlotId,
    pub(super) table: TableId,
    pub(super) recheck: &'q [Expr],
}

impl Exec<'_> {
    #[inline(never)]
    pub(super) fn poll_delete(
        &mut self,
        delete: &DeleteNode<'_>,
        returning: Option<&Returning>,
    ) -> Result<Polled, Interrupt> {
        let (node, target, table) = (delete.node, delete.target, delete.table);
        loop {
            match self.state(node).stage {
                Stage::Fresh | Stage::Input => {
                    if self.poll(delete.input)? == Polled::End {
                        return Ok(Polled::End);
                    }
                    self.state(node).stage = Stage::Write;
                }
                Stage::Write => {
                    let old = self.tuple(target).expect("the target of a DELETE is a tuple");
                    self.core.assign_xid(self.me);
                    let status = self.claim(table, old, RowLockStrength::Update)?;
                    self.check_isolation(status)?;
                    self.check_seen(status, table, old)?;
                    self.state(node).stage = match status {
                        RowStatus::Free => {
                            self.write_end(table, old);
                            self.count_row(node);
                            Stage::Return
                        }
                        RowStatus::Updated => Stage::Newest,
                        _ => Stage::Input,
                    };
                }
                Stage::Newest => self.go_to_newest(node, table, target, RowLockStrength::Update)?,
                Stage::Recheck => {
                    self.state(node).stage = if self.rechecks(delete.recheck)? { Stage::Write } else { Stage::Input };
                }
                _ => {
                    if let Some(returning) = returning {
                        self.evaluate_into(returning.slot, &returning.exprs)?;
                        self.state(node).stage = Stage::Input;
                        return Ok(Polled::Row);
                    }
                    self.state(node).stage = Stage::Input;
                }
            }
        }
    }

    /// Marks a claimed version as deleted.
    fn write_end(&mut self, table: TableId, old: TupleId) {
        let xid = self.core.assign_xid(self.me);
        let command = self.core.transaction(self.me).command;
        let (storage, xacts) = (&mut self.core.tables[table as usize], &self.core.xacts);
        storage.end(old, (xid, command), NO_TUPLE, RowLockStrength::Update, xacts);
        self.core.note_written(self.me, table, Some(old), None);
        self.queue_foreign_keys(table, Some(old), None);
    }
}
