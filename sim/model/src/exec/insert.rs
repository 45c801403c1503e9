//! INSERT, with ON CONFLICT, and entering rows into indexes.

use crate::catalog::{Check, TableId};
use crate::error::Error;
use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::mvcc::TupleId;
use crate::plan::{ALL_COLUMNS, ColumnSet, ConflictAction, EXCLUDED, NodeId, OWN_ROW, OnConflict, Returning, SlotId};
use crate::types::Value;

/// The fields of the node.
#[derive(Clone, Copy)]
pub(super) struct InsertNode {
    pub(super) node: NodeId,
    pub(super) input: NodeId,
    pub(super) source: SlotId,
    pub(super) table: TableId,
}

impl Exec<'_> {
    /// The row that is proposed for insertion stands in the values of [`EXCLUDED`] until it is written. `at` is, while it is entered,
    /// the index that comes next; `end` is the tuple.
    #[inline(never)]
    pub(super) fn poll_insert(
        &mut self,
        insert: InsertNode,
        on_conflict: Option<&OnConflict>,
        returning: Option<&Returning>,
    ) -> Result<Polled, Interrupt> {
        let InsertNode { node, input, source, table } = insert;
        loop {
            match self.state(node).stage {
                Stage::Fresh | Stage::Input => {
                    if self.poll(input)? == Polled::End {
                        return Ok(Polled::End);
                    }
                    self.propose(source);
                    self.spend(1 + self.width(self.bound(EXCLUDED)))?;
                    self.state(node).stage = Stage::Work;
                }
                Stage::Work => {
                    self.bind(OWN_ROW, self.bound(EXCLUDED));
                    self.check_row(table, ALL_COLUMNS)?;
                    if on_conflict.is_some() {
                        let state = self.state(node);
                        (state.stage, state.at) = (Stage::Probe, 0);
                    } else {
                        self.write(&insert);
                    }
                }
                Stage::Probe => {
                    let on_conflict = on_conflict.expect("only an ON CONFLICT looks for conflicts");
                    let found = self.probe(node, table, on_conflict.arbiter)?;
                    self.state(node).stage = match found {
                        None => Stage::Write,
                        Some(existing) => self.resolve_at_once(table, existing, &on_conflict.action)?,
                    };
                    self.state(node).end = found.unwrap_or(0);
                }
                Stage::Write => self.write(&insert),
                Stage::Enter => {
                    let tuple = self.state(node).end;
                    self.enter_indexes(node, table, tuple)?;
                    self.count_row(node);
                    self.state(node).stage = if returning.is_some() { Stage::Return } else { Stage::Input };
                }
                Stage::Return => {
                    let returning = returning.expect("a row is given back where RETURNING says so");
                    let tuple = self.state(node).end;
                    self.bind(returning.row, Slot::Tuple { table, tuple });
                    self.evaluate_into(returning.slot, &returning.exprs)?;
                    self.state(node).stage = Stage::Input;
                    return Ok(Polled::Row);
                }
                _ => {
                    let Some(OnConflict { action: ConflictAction::Update { existing, set, condition }, .. }) =
                        on_conflict
                    else {
                        unreachable!("only DO UPDATE acts on a conflict");
                    };
                    self.resolve(&insert, *existing, set, condition.as_ref())?;
                }
            }
        }
    }

    /// Takes the source's row as the one that is proposed.
    fn propose(&mut self, source: SlotId) {
        let place = self.bind_values(EXCLUDED);
        match self.bound(source) {
            Slot::Values(at) => self.act.values.swap(usize::from(at), place),
            slot => {
                let mut values = std::mem::take(&mut self.act.values[place]);
                values.clear();
                values.extend_from_slice(self.row(slot));
                self.act.values[place] = values;
            }
        }
    }

    /// NOT NULL and CHECK, for the row that [`OWN_ROW`] is bound to, and then the values of its indexed expressions. What holds already,
    /// because it hangs on none of the columns `written`, is not asked: PostgreSQL asks all, and it comes to the same.
    pub(super) fn check_row(&mut self, table: TableId, written: ColumnSet) -> Result<(), Interrupt> {
        if self.core.catalog.table(table).generates {
            self.generate(table)?;
        }
        let def = self.core.catalog.table(table);
        let asked = |check: &Check| check.columns & written != 0;
        let computes = self.core.tables[table as usize].stride != def.columns.len();
        let asks = def.checks.iter().any(asked);
        let slot = self.bound(OWN_ROW);
        for (value, column) in self.row(slot).iter().zip(&def.columns) {
            if matches!(value, Value::Null) && column.not_null {
                let message = format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, def.name
                );
                return Err(Error::new("23502", message).into());
            }
        }
        if !asks && !computes {
            return Ok(());
        }
        let def = def.clone();
        for Check { name, condition, .. } in def.checks.iter().filter(|check| asked(check)) {
            if self.test(condition)? == Some(false) {
                let message = format!("new row for relation \"{}\" violates check constraint \"{name}\"", def.name);
                return Err(Error::new("23514", message).into());
            }
        }
        if computes {
            let Slot::Values(place) = slot else { unreachable!("a new row stands in values") };
            self.act.values[usize::from(place)].truncate(def.columns.len());
            for index in &def.indexes {
                for key in index.keys.iter().filter(|key| crate::exec::conflict::own_column(key).is_none()) {
                    let value = self.eval(key)?;
                    self.act.values[usize::from(place)].push(value);
                }
            }
        }
        self.row_done();
        Ok(())
    }

    /// Appends the proposed row, which is then to be entered.
    fn write(&mut self, insert: &InsertNode) {
        let tuple = self.write_row(insert.table);
        let state = self.state(insert.node);
        state.stage = Stage::Enter;
        state.at = 0;
        state.end = tuple;
    }

    fn write_row(&mut self, table: TableId) -> TupleId {
        let xid = self.core.assign_xid(self.me);
        let command = self.core.transaction(self.me).command;
        let place = super::place(EXCLUDED);
        let new = self.core.tables[table as usize].append(xid, command, false, &mut self.act.values[place]);
        self.core.note_written(self.me, table, None, Some(new));
        self.queue_foreign_keys(table, None, Some(new));
        new
    }
}
