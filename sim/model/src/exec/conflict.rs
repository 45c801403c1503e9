//! Unique indexes: a key whose other holder is not committed is waited for; and what ON CONFLICT does about a twin.
//!
//! Source: PostgreSQL, `_bt_check_unique` in src/backend/access/nbtree/nbtinsert.c; src/backend/executor: execIndexing.c and
//! nodeModifyTable.c (`ExecOnConflictUpdate`).

use smallvec::SmallVec;

use crate::catalog::{IndexDef, IndexId, TableId};
use crate::error::Error;
use crate::exec::insert::InsertNode;
use crate::exec::row_lock::RowStatus;
use crate::exec::{Exec, Interrupt, NodeState, Slot, Stage};
use crate::footprint::{Access, Lock, key_hash};
use crate::lock::LockTag;
use crate::mvcc::{Index, NO_XID, State, TupleId, Xid};
use crate::plan::{
    ColumnId, ConflictAction, Expr, NodeId, OWN_ROW, RowLockStrength, SlotId, TableLockMode, WaitPolicy,
};
use crate::types::Value;

/// What an index has under a key.
enum Twin {
    None,
    /// A row that is there, or will be unless it is deleted again.
    Living(TupleId),
    /// One whose fate hangs on this transaction.
    Undecided(Xid),
}

/// The column that an index key is; none: an expression.
pub(super) fn own_column(key: &Expr) -> Option<ColumnId> {
    match key {
        Expr::Column { slot: OWN_ROW, column } => Some(*column),
        _ => None,
    }
}

impl Exec<'_> {
    /// Enters a new version into the indexes, from number `at` of the node's state on.
    pub(super) fn enter_indexes(&mut self, node: NodeId, table: TableId, tuple: TupleId) -> Result<(), Interrupt> {
        if self.core.tables[table as usize].header(tuple).heap_only {
            return Ok(());
        }
        loop {
            let at = self.state(node).at as usize;
            let storage = &mut self.core.tables[table as usize];
            let Some(index) = storage.indexes.get(at) else { return Ok(()) };
            let (unique, partial) = (index.unique, index.partial);
            // Most often nothing has the key: where it is looked for it is entered. (Whoever follows footprints wants to know that it was.)
            if !partial && self.core.trail.is_none() && storage.enter_new_key(at, tuple) {
                self.state(node).at += 1;
                continue;
            }
            if !partial || self.is_in_index(table, at, Slot::Tuple { table, tuple })? {
                if unique {
                    match self.twin(table, at, Slot::Tuple { table, tuple }) {
                        Twin::None => {}
                        Twin::Undecided(xid) => {
                            self.wait(LockTag::Xact(xid), TableLockMode::Share)?;
                            continue;
                        }
                        Twin::Living(_) => {
                            let name = &self.core.catalog.table(table).indexes[at].name;
                            let message = format!("duplicate key value violates unique constraint \"{name}\"");
                            return Err(Error::new("23505", message).into());
                        }
                    }
                }
                self.core.tables[table as usize].enter(at, tuple);
            }
            self.state(node).at += 1;
        }
    }

    /// Whether a partial index has a row.
    fn is_in_index(&mut self, table: TableId, index: usize, row: Slot) -> Result<bool, Interrupt> {
        let def = self.core.catalog.table(table).clone();
        let place = super::place(OWN_ROW);
        let bound = std::mem::replace(&mut self.act.slots[place], row);
        let predicate = def.indexes[index].predicate.as_ref().expect("a partial index has a predicate");
        let truth = self.test(predicate);
        self.act.slots[place] = bound;
        Ok(truth? == Some(true))
    }

    /// Looks for another row under the key of `row`. One's own deletions have happened, one's own insertions too.
    fn twin(&mut self, table: TableId, index: usize, row: Slot) -> Twin {
        if self.core.trail.is_some() {
            let columns = &self.core.tables[table as usize].indexes[index].columns;
            let values = columns.iter().map(|column| self.slot_value(row, usize::from(*column)));
            let key = key_hash(index, values);
            self.core.note(|| Access::Take(Lock::Key(table, key)));
        }
        let (storage, row) = (&self.core.tables[table as usize], self.row(row));
        // NULLs are distinct.
        if storage.indexes[index].columns.iter().any(|column| matches!(row[usize::from(*column)], Value::Null)) {
            return Twin::None;
        }
        let mut twins = storage.twins(index, row).map(|root| self.twin_in_chain(table, root));
        twins.find(|twin| !matches!(twin, Twin::None)).unwrap_or(Twin::None)
    }

    fn twin_in_chain(&self, table: TableId, root: TupleId) -> Twin {
        let storage = &self.core.tables[table as usize];
        let xacts = &self.core.xacts;
        let mut version = Some(root);
        while let Some(tuple) = version {
            let header = storage.header(tuple);
            match xacts.state(header.xmin) {
                State::Running if !xacts.is_own(header.xmin, self.me) => return Twin::Undecided(header.xmin),
                State::Aborted => {}
                State::Running | State::Committed => {
                    let ended = if header.xmax == NO_XID { State::Aborted } else { xacts.state(header.xmax) };
                    match ended {
                        State::Aborted => return Twin::Living(tuple),
                        State::Running if !xacts.is_own(header.xmax, self.me) => return Twin::Undecided(header.xmax),
                        State::Running | State::Committed => {}
                    }
                }
            }
            version = storage.next_in_chain(tuple);
        }
        Twin::None
    }

    /// ON CONFLICT: the row that the proposed one conflicts with. This waits without having an id. After a wait it goes on with the index where it was, `at`
    /// in the node's state. Source: PostgreSQL, `ExecCheckIndexConstraints`, `ExecInsert`.
    pub(super) fn probe(
        &mut self,
        node: NodeId,
        table: TableId,
        arbiter: Option<IndexId>,
    ) -> Result<Option<TupleId>, Interrupt> {
        for at in self.state(node).at as usize..self.core.tables[table as usize].indexes.len() {
            self.state(node).at = u32::try_from(at).expect("the number of indexes is limited");
            let Index { unique, partial, .. } = self.core.tables[table as usize].indexes[at];
            if !unique || arbiter.is_some_and(|arbiter| usize::from(arbiter) != at) {
                continue;
            }
            let proposed = self.bound(crate::plan::EXCLUDED);
            if partial && !self.is_in_index(table, at, proposed)? {
                continue;
            }
            loop {
                match self.twin(table, at, proposed) {
                    Twin::None => break,
                    Twin::Living(tuple) => return Ok(Some(tuple)),
                    Twin::Undecided(xid) => {
                        self.state(node).flag = true;
                        self.wait(LockTag::Xact(xid), TableLockMode::Share)?;
                    }
                }
            }
        }
        let state = self.state(node);
        if std::mem::take(&mut state.flag) {
            // The row is inserted on trial, under an id. Where it meets a twin then, it is taken back, and all begins anew.
            state.at = 0;
            self.core.assign_xid(self.me);
            return self.probe(node, table, arbiter);
        }
        Ok(None)
    }

    /// What is done about a conflict next.
    pub(super) fn resolve_at_once(
        &mut self,
        table: TableId,
        existing: TupleId,
        action: &ConflictAction,
    ) -> Result<Stage, Interrupt> {
        match action {
            ConflictAction::Nothing => {
                self.check_visible(table, existing)?;
                Ok(Stage::Input)
            }
            ConflictAction::Update { .. } => Ok(Stage::Resolve),
        }
    }

    /// REPEATABLE READ must not act on a row that it does not see.
    fn check_visible(&self, table: TableId, tuple: TupleId) -> Result<(), Error> {
        if !self.isolation().keeps_snapshot() {
            return Ok(());
        }
        let header = self.core.tables[table as usize].header(tuple);
        if self.act.snapshot.sees(header, &self.core.xacts, self.me) || self.core.xacts.is_own(header.xmin, self.me) {
            return Ok(());
        }
        Err(Error::new("40001", "could not serialize access due to concurrent update"))
    }

    /// DO UPDATE: locks the existing row; if it has a newer version by then, looks for the conflict again.
    pub(super) fn resolve(
        &mut self,
        insert: &InsertNode,
        existing: SlotId,
        set: &[(ColumnId, Expr)],
        condition: Option<&Expr>,
    ) -> Result<(), Interrupt> {
        let (node, table) = (insert.node, insert.table);
        let NodeState { end: tuple, .. } = *self.state(node);
        let keys = &self.core.tables[table as usize].key_columns;
        let sets_key = set.iter().any(|(column, _)| keys.contains(*column));
        let strength = if sets_key { RowLockStrength::Update } else { RowLockStrength::NoKeyUpdate };
        let status = self.lock_row(table, tuple, strength, WaitPolicy::Block, false)?;
        self.check_isolation(status)?;
        match status {
            RowStatus::Free => {}
            RowStatus::Invisible => {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                return Err(Error::new("21000", message).into());
            }
            _ => {
                let state = self.state(node);
                (state.stage, state.at) = (Stage::Probe, 0);
                return Ok(());
            }
        }
        self.check_visible(table, tuple)?;
        self.bind(existing, Slot::Tuple { table, tuple });
        if condition.is_some() && !self.passes(condition)? {
            self.state(node).stage = Stage::Input;
            return Ok(());
        }
        self.new_row(existing, set)?;
        let written = self.written(table, set);
        self.check_row(table, written)?;
        let (status, _) = self.claim_for_update(table, tuple, written)?;
        debug_assert_eq!(status, RowStatus::Free, "the row is locked");
        let new = self.write_version(table, tuple, written);
        let state = self.state(node);
        state.stage = Stage::Enter;
        state.at = 0;
        state.end = new;
        Ok(())
    }
}

impl crate::server::Core {
    /// Makes the storage of a table that the catalog has just got.
    pub(crate) fn create_storage(&mut self, table: TableId) {
        let def = self.catalog.table(table).clone();
        self.set_tables(table as usize + 1);
        let mut storage = crate::mvcc::Table::new(def.columns.len());
        for index in &def.indexes {
            let new = storage_index(&mut storage, index);
            storage.build(new, &[]);
        }
        self.tables[table as usize] = storage;
    }
}

/// The storage's view of an index: expressions become hidden columns.
pub(super) fn storage_index(storage: &mut crate::mvcc::Table, def: &IndexDef) -> Index {
    let mut columns = SmallVec::<[ColumnId; 4]>::new();
    for key in &def.keys {
        columns.push(own_column(key).unwrap_or_else(|| {
            storage.stride += 1;
            ColumnId::try_from(storage.stride - 1).expect("a row's width fits")
        }));
    }
    let plain = def.predicate.is_none() && def.keys.iter().all(|key| own_column(key).is_some());
    for column in &columns {
        storage.indexed_columns.add(*column);
        if def.unique && plain {
            storage.key_columns.add(*column);
        }
    }
    for column in &def.include {
        storage.indexed_columns.add(*column);
    }
    if let Some(predicate) = &def.predicate {
        crate::exec::utility::columns_of(predicate, &mut |column| storage.indexed_columns.add(column));
    }
    Index::new(def.unique, def.predicate.is_some(), columns)
}
