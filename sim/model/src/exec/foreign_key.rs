//! Foreign keys: what a statement has written is checked at its end, by queries of their own.
//!
//! As in PostgreSQL, where they are AFTER triggers, each row that was written queues an event for each foreign key that it may break. When the
//! statement's rows are written, the events are worked off in their order: a query looks for the referenced row and locks it FOR KEY SHARE, or looks for
//! rows that refer to what is gone, or deletes or changes them. What such a query writes queues events behind the others. Each is a statement with an
//! [`Activation`] of its own and a snapshot of its own, so it waits as any other does, and the statement around it waits with it.
//!
//! Under REPEATABLE READ the referenced row must be one that the transaction sees. Referencing rows, though, count even if it does not see them, and to change
//! one of those is an error (40001). Source: PostgreSQL, `src/backend/utils/adt/ri_triggers.c`, and `AfterTriggerSaveEvent` in trigger.c.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::catalog::{Catalog, ForeignKey, ReferentialAction, TableDef, TableId};
use crate::error::Error;
use crate::exec::row_lock::RowStatus;
use crate::exec::{Activation, Exec, Interrupt};
use crate::mvcc::{NO_XID, TupleId};
use crate::plan::{Body, ColumnId, Plan, TableLockMode};
use crate::server::Core;
use crate::types::{Value, compare, same};

/// A foreign key: the table that it belongs to, and its place there.
type Key = (TableId, usize);

/// What a foreign key has to be checked for.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A row that refers was written.
    Refers { key: Key, row: TupleId },
    /// A row that may be referred to is gone, or has another key in its new version.
    Gone { key: Key, old: TupleId, new: Option<TupleId> },
}

/// The queries of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Look for the row that is referred to.
    Referenced,
    /// Delete or change the rows that refer to a row that was deleted,
    ActOnDelete,
    /// or whose key has changed.
    ActOnUpdate,
    /// Look for another row with the key that is gone.
    Substitute,
    /// Look for a row that refers to it.
    Referencing,
}

#[derive(Clone, Debug)]
struct Running {
    event: Event,
    step: Step,
    /// None: it is yet to be begun.
    plan: Option<Arc<Plan>>,
}

/// The events of a statement.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    events: VecDeque<Event>,
    running: Option<Running>,
    /// The state of the query that runs.
    inner: Option<Box<Activation>>,
}

impl Queue {
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.running = None;
    }
}

/// The queries that have been needed so far, each with the version of the catalog that it was compiled under.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks(BTreeMap<(Key, Step), (u64, Arc<Plan>)>);

impl Exec<'_> {
    /// Queues the checks of a row that was written.
    pub(super) fn queue_foreign_keys(&mut self, table: TableId, old: Option<TupleId>, new: Option<TupleId>) {
        let def = self.core.catalog.table(table);
        if def.foreign_keys.is_empty() && def.referenced_by.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.act.foreign.events);
        if let Some(old) = old {
            for (referencing, number, key) in self.core.catalog.references_to(table) {
                if self.takes_key_away(table, key, old, new) {
                    events.push_back(Event::Gone { key: (referencing, number), old, new });
                }
            }
        }
        if let Some(row) = new {
            for (number, key) in def.foreign_keys.iter().enumerate() {
                if self.refers_anew(table, key, old, row) {
                    events.push_back(Event::Refers { key: (table, number), row });
                }
            }
        }
        self.act.foreign.events = events;
    }

    /// Source: PostgreSQL, `RI_FKey_pk_upd_check_required`.
    fn takes_key_away(&self, table: TableId, key: &ForeignKey, old: TupleId, new: Option<TupleId>) -> bool {
        let storage = &self.core.tables[table as usize];
        let value = |tuple: TupleId, column: &ColumnId| storage.value(tuple, usize::from(*column));
        if key.referenced.iter().any(|column| *value(old, column) == Value::Null) {
            return false;
        }
        new.is_none_or(|new| key.referenced.iter().any(|column| !same(value(old, column), value(new, column))))
    }

    /// Source: PostgreSQL, `RI_FKey_fk_upd_check_required`.
    fn refers_anew(&self, table: TableId, key: &ForeignKey, old: Option<TupleId>, row: TupleId) -> bool {
        let storage = &self.core.tables[table as usize];
        let value = |tuple: TupleId, column: &ColumnId| storage.value(tuple, usize::from(*column));
        if key.columns.iter().any(|column| *value(row, column) == Value::Null) {
            return false;
        }
        // Of one that this transaction has inserted the check may be in the queue still, and is going to pass it over.
        old.is_none_or(|old| {
            let changed = |column| compare(value(old, column), value(row, column)).is_ne();
            self.core.xacts.is_own(storage.header(old).xmin, self.me) || key.columns.iter().any(changed)
        })
    }

    /// Works the queue off. After a wait it goes on where it was.
    pub(super) fn check_foreign_keys(&mut self) -> Result<(), Interrupt> {
        loop {
            if self.act.foreign.running.is_none() {
                let Some(event) = self.act.foreign.events.pop_front() else { return Ok(()) };
                let step = self.core.first_step(event);
                self.act.foreign.running = Some(Running { event, step, plan: None });
            }
            let Running { event, step, plan } = self.act.foreign.running.clone().expect("set above");
            let plan = match plan {
                Some(plan) => plan,
                None if self.is_superseded(event) => {
                    self.act.foreign.running = None;
                    continue;
                }
                None => self.begin_check(event, step)?,
            };
            let found = self.run_check(&plan)?;
            let next = self.core.after(event, step, found)?;
            self.act.foreign.running = next.map(|step| Running { event, step, plan: None });
        }
    }

    /// Whether the row that refers was written anew or deleted since by this transaction: its newer version has an event of its own.
    fn is_superseded(&self, event: Event) -> bool {
        let Event::Refers { key: (table, _), row } = event else { return false };
        let header = self.core.tables[table as usize].header(row);
        header.xmax != NO_XID && self.core.xacts.is_own(header.xmax, self.me)
    }

    fn begin_check(&mut self, event: Event, step: Step) -> Result<Arc<Plan>, Interrupt> {
        let (Event::Refers { key, .. } | Event::Gone { key, .. }) = event;
        let foreign = self.core.foreign_key(key);
        let opened = if step == Step::Referenced { foreign.table } else { key.0 };
        let writes = matches!(step, Step::ActOnDelete | Step::ActOnUpdate);
        let mode = if writes { TableLockMode::RowExclusive } else { TableLockMode::RowShare };
        self.core.lock_table(self.me, opened, mode)?;
        let plan = self.core.check_plan(key, step)?;
        let Body::Query(query) = &plan.body else { unreachable!("a check is a query") };
        let mut inner = self.act.foreign.inner.take().unwrap_or_default();
        inner.params.clear();
        self.core.check_params(event, step, &mut inner.params);
        inner.begin(query);
        inner.latest = step != Step::Referenced && self.isolation().keeps_snapshot();
        self.act.foreign.inner = Some(inner);
        self.core.transaction_mut(self.me).command += 1;
        let running = self.act.foreign.running.as_mut().expect("an event is being worked on");
        running.plan = Some(plan.clone());
        Ok(plan)
    }

    /// Runs the query of a check; whether it found a row.
    fn run_check(&mut self, plan: &Plan) -> Result<bool, Interrupt> {
        let Body::Query(query) = &plan.body else { unreachable!("a check is a query") };
        let mut inner = self.act.foreign.inner.take().expect("it was begun");
        let ran = Exec { core: &mut *self.core, query, act: &mut inner, me: self.me }.run();
        self.act.foreign.events.append(&mut inner.foreign.events);
        let found = inner.count > 0;
        self.act.foreign.inner = Some(inner);
        ran.map(|()| found)
    }

    /// A check must not change a row that its transaction does not see. Source: the `crosscheck` of `heap_delete` and `heap_update`.
    pub(super) fn check_seen(&self, status: RowStatus, table: TableId, tuple: TupleId) -> Result<(), Error> {
        let transaction = self.core.transaction(self.me);
        let Some(kept) = transaction.snapshot.as_ref().filter(|_| self.act.latest && status == RowStatus::Free) else {
            return Ok(());
        };
        let mut seen = kept.clone();
        seen.command = transaction.command;
        if seen.sees(self.core.tables[table as usize].header(tuple), &self.core.xacts, self.me) {
            return Ok(());
        }
        Err(Error::new("40001", "could not serialize access due to concurrent update"))
    }
}

impl Core {
    fn foreign_key(&self, (table, number): Key) -> &ForeignKey {
        &self.catalog.table(table).foreign_keys[number]
    }

    fn first_step(&self, event: Event) -> Step {
        let Event::Gone { key, new, .. } = event else { return Step::Referenced };
        let key = self.foreign_key(key);
        match if new.is_some() { key.on_update } else { key.on_delete } {
            ReferentialAction::NoAction => Step::Substitute,
            ReferentialAction::Restrict => Step::Referencing,
            _ if new.is_some() => Step::ActOnUpdate,
            _ => Step::ActOnDelete,
        }
    }

    /// What comes after a step that `found` a row or did not; none: the check has passed.
    fn after(&self, event: Event, step: Step, found: bool) -> Result<Option<Step>, Error> {
        let (Event::Refers { key, .. } | Event::Gone { key, .. }) = event;
        let (own, key) = (self.catalog.table(key.0), self.foreign_key(key));
        let (table, name) = (&own.name, &key.name);
        let message = match step {
            Step::Referenced if !found => {
                format!("insert or update on table \"{table}\" violates foreign key constraint \"{name}\"")
            }
            Step::Referencing if found => {
                let referenced = &self.catalog.table(key.table).name;
                let broken = format!("violates foreign key constraint \"{name}\" on table \"{table}\"");
                format!("update or delete on table \"{referenced}\" {broken}")
            }
            Step::Substitute if !found => return Ok(Some(Step::Referencing)),
            // Rows that had the default values already have them still.
            Step::ActOnDelete if key.on_delete == ReferentialAction::SetDefault => return Ok(Some(Step::Substitute)),
            Step::ActOnUpdate if key.on_update == ReferentialAction::SetDefault => return Ok(Some(Step::Substitute)),
            _ => return Ok(None),
        };
        Err(Error::new("23503", message))
    }

    fn check_params(&self, event: Event, step: Step, into: &mut Vec<Value>) {
        let (table, columns, tuple, new) = match event {
            Event::Refers { key, row } => (key.0, &self.foreign_key(key).columns, row, None),
            Event::Gone { key, old, new } => (self.foreign_key(key).table, &self.foreign_key(key).referenced, old, new),
        };
        let (Event::Refers { key, .. } | Event::Gone { key, .. }) = event;
        let cascades = step == Step::ActOnUpdate && self.foreign_key(key).on_update == ReferentialAction::Cascade;
        let storage = &self.tables[table as usize];
        for tuple in new.filter(|_| cascades).into_iter().chain([tuple]) {
            into.extend(columns.iter().map(|column| storage.value(tuple, usize::from(*column)).clone()));
        }
    }

    fn check_plan(&mut self, key: Key, step: Step) -> Result<Arc<Plan>, Error> {
        let version = self.catalog.version();
        if let Some((under, plan)) = self.checks.0.get(&(key, step))
            && *under == version
        {
            return Ok(plan.clone());
        }
        let text = check_text(&self.catalog, key, step);
        let plan = Arc::new(crate::compile::compile(&crate::parse::parse_one(&text)?, &self.catalog)?);
        self.checks.0.insert((key, step), (version, plan.clone()));
        Ok(plan)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The query of a step, as `ri_triggers.c` writes it; one row is enough where it looks for one.
fn check_text(catalog: &Catalog, (table, number): Key, step: Step) -> String {
    let own = catalog.table(table);
    let key = &own.foreign_keys[number];
    let of_referenced = matches!(step, Step::Referenced | Step::Substitute);
    let (def, columns): (&TableDef, _) =
        if of_referenced { (catalog.table(key.table), &key.referenced) } else { (own, &key.columns) };
    let name = |column: &ColumnId| quoted(&def.columns[usize::from(*column)].name);
    let relation = format!("{}.{}", quoted(&def.schema), quoted(&def.name));
    let (action, mut param) = match step {
        Step::ActOnDelete => (Some(key.on_delete), 0),
        Step::ActOnUpdate => (Some(key.on_update), 0),
        _ => (None, 0),
    };
    let mut text = match (step, action) {
        (Step::ActOnDelete, Some(ReferentialAction::Cascade)) => format!("DELETE FROM {relation} x"),
        (_, Some(action)) => {
            let mut set = Vec::with_capacity(columns.len());
            for column in columns {
                let value = match action {
                    ReferentialAction::SetNull => "NULL".to_owned(),
                    ReferentialAction::SetDefault => "DEFAULT".to_owned(),
                    _ => {
                        param += 1;
                        format!("${param}")
                    }
                };
                set.push(format!("{} = {value}", name(column)));
            }
            format!("UPDATE {relation} x SET {}", set.join(", "))
        }
        (_, None) => format!("SELECT 1 FROM {relation} x"),
    };
    for (place, column) in columns.iter().enumerate() {
        param += 1;
        let word = if place == 0 { "WHERE" } else { "AND" };
        write!(text, " {word} ${param} = x.{}", name(column)).expect("a string takes everything");
    }
    if action.is_none() {
        text.push_str(" LIMIT 1 FOR KEY SHARE OF x");
    }
    text
}

/// What foreign keys mean for DDL. Source: PostgreSQL, tablecmds.c, `heap_truncate_check_FKs` in heap.c, dependency.c.
impl Core {
    /// CREATE TABLE makes triggers on the tables that it refers to.
    pub(super) fn lock_referenced(&mut self, me: u16, table: &TableDef) -> Result<(), Interrupt> {
        let others = table.foreign_keys.iter().map(|key| key.table).filter(|other| *other != crate::catalog::ITSELF);
        let others: Vec<TableId> = others.collect();
        if others.is_empty() || self.catalog.lookup(&table.schema, &table.name).is_some() {
            return Ok(());
        }
        self.assign_xid(me);
        self.lock_tables(me, &others, TableLockMode::ShareRowExclusive, false)
    }

    pub(super) fn refuse_to_truncate(&self, tables: &[TableId]) -> Result<(), Error> {
        let referenced_from_elsewhere = |table: &TableId| {
            let mut referencing = self.catalog.table(*table).referenced_by.iter();
            referencing.any(|other| !tables.contains(other))
        };
        if tables.iter().any(referenced_from_elsewhere) {
            return Err(Error::new("0A000", "cannot truncate a table referenced in a foreign key constraint"));
        }
        Ok(())
    }

    /// DROP SCHEMA of these tables.
    pub(super) fn refuse_to_drop_schema(&self, tables: &[TableId]) -> Result<(), Error> {
        let leaves = |table: &TableId| {
            let def = self.catalog.table(*table);
            let mut others = def.foreign_keys.iter().map(|key| key.table).chain(def.referenced_by.iter().copied());
            others.any(|other| !tables.contains(&other))
        };
        if tables.iter().any(leaves) {
            return Err(Error::refused("DROP SCHEMA with foreign keys to or from other schemas"));
        }
        Ok(())
    }

    /// DROP TABLE: foreign keys of other tables must be dropped with it, and the tables at their other ends are locked for that. What to tell the client.
    pub(super) fn lock_for_drop(
        &mut self,
        me: u16,
        tables: &[TableId],
        cascade: bool,
    ) -> Result<Vec<String>, Interrupt> {
        let (mut notices, mut others) = (Vec::new(), Vec::new());
        for table in tables {
            for (referencing, _, key) in self.catalog.references_to(*table) {
                if !tables.contains(&referencing) {
                    let other = self.catalog.relation_text(Catalog::oid(referencing));
                    notices.push(format!("drop cascades to constraint {} on table {other}", key.name));
                    others.push(referencing);
                }
            }
        }
        let views = self.catalog.views_over(tables);
        notices.extend(views.iter().map(|view| self.cascade_to(*view)));
        if !notices.is_empty() && !cascade {
            return Err(self.depended_on("table", tables).into());
        }
        if !views.is_empty() && notices.len() > 1 {
            return Err(Error::refused("DROP TABLE .. CASCADE to several objects, views among them").into());
        }
        if let several @ 2.. = notices.len() {
            notices = vec![format!("drop cascades to {several} other objects")];
        }
        for table in tables {
            let keys = self.catalog.table(*table).foreign_keys.iter().map(|key| key.table);
            others.extend(keys.filter(|other| !tables.contains(other)));
        }
        others.extend(views);
        self.lock_tables(me, &others, TableLockMode::AccessExclusive, false)?;
        Ok(notices)
    }
}
