//! CREATE INDEX: the entries of a new index, and what a rollback leaves of it.

use std::cmp::Ordering;

use crate::catalog::{IndexDef, IndexId, TableId};
use crate::error::Error;
use crate::exec::conflict::{own_column, storage_index};
use crate::exec::{Exec, Interrupt, Slot};
use crate::mvcc::{NO_XID, State, TupleId};
use crate::plan::{Expr, OWN_ROW, Query, QueryKind, RowOrder};
use crate::server::Core;
use crate::types::{Value, compare};

/// What an index needs to know of the rows that are there: for each the values of its expressions, and whether it is in the index.
struct Computed {
    values: Vec<Value>,
    is_in: Vec<bool>,
}

/// No node, no row: expressions can be evaluated beside it.
fn nothing() -> Query {
    Query {
        kind: QueryKind::Select,
        locks: Vec::new(),
        nodes: Vec::new(),
        root: 0,
        output: None,
        slots: 0,
        ctes: Vec::new(),
        onces: 0,
        fails: None,
        order: RowOrder::default(),
        writes: None,
    }
}

impl Core {
    /// Fills a new index. From now on every version has index entries of its own: where the chains of versions lead
    /// depends on which columns are indexed.
    pub(super) fn build_index(&mut self, me: u16, table: TableId, def: &IndexDef) -> Result<(), Interrupt> {
        let computed = self.compute_for_index(me, table, def)?;
        let storage = &mut self.tables[table as usize];
        storage.widen_each(&computed.values);
        let index = storage_index(storage, def);
        let columns = index.columns.clone();
        storage.enter_all();
        let entries: Vec<TupleId> = (0..storage.len()).filter(|tuple| computed.is_in[*tuple as usize]).collect();
        storage.build(index, &entries);
        let lives = |tuple: &TupleId| {
            let header = storage.header(*tuple);
            self.xacts.state(header.xmin) != State::Aborted
                && (header.xmax == NO_XID || self.xacts.state(header.xmax) == State::Aborted)
        };
        let mut living: Vec<TupleId> = entries.into_iter().filter(lives).collect();
        let storage = &*storage;
        let key = |tuple: TupleId| columns.iter().map(move |column| storage.value(tuple, usize::from(*column)));
        let order = |left: &TupleId, right: &TupleId| {
            let mut orderings = key(*left).zip(key(*right)).map(|(left, right)| compare(left, right));
            orderings.find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
        };
        living.sort_by(order);
        let has_null = |tuple: TupleId| key(tuple).any(|value| matches!(value, Value::Null));
        let twins = living.windows(2).any(|pair| order(&pair[0], &pair[1]).is_eq() && !has_null(pair[0]));
        if def.unique && twins {
            return Err(Error::new("23505", format!("could not create unique index \"{}\"", def.name)).into());
        }
        Ok(())
    }

    fn compute_for_index(&mut self, me: u16, table: TableId, def: &IndexDef) -> Result<Computed, Interrupt> {
        let query = nothing();
        let mut act = self.session_mut(me).take_activation();
        act.begin(&query);
        let mut exec = Exec { core: self, query: &query, act: &mut act, me };
        let computed = exec.compute_for_index(table, def);
        self.session_mut(me).put_activation(act);
        computed
    }

    /// DROP INDEX. The storage is put aside with it, for a rollback: nobody else has the table.
    pub(super) fn drop_each_index(&mut self, me: u16, indexes: &[(TableId, IndexId)]) {
        for (table, index) in indexes {
            self.catalog.drop_index(*table, *index);
            let def = self.catalog.table(*table).clone();
            let mut new = self.tables[*table as usize].clone();
            new.indexes.remove(usize::from(*index));
            new.narrow(new.stride, def.columns.len(), def.indexes.len());
            for index in &def.indexes {
                storage_index(&mut new, index);
            }
            let old = std::mem::replace(&mut self.tables[*table as usize], new);
            self.put_storage_aside(me, *table, old);
        }
    }

    /// Takes those indexes out of the storage that are in the catalog no more.
    pub(crate) fn drop_indexes(&mut self) {
        for (id, storage) in self.tables.iter_mut().enumerate() {
            let Some(def) = self.catalog.find_table(TableId::try_from(id).expect("numbers of tables fit")) else {
                continue;
            };
            if storage.indexes.len() > def.indexes.len() {
                let is_computed = |key: &&Expr| own_column(key).is_none();
                let computed = def.indexes.iter().flat_map(|index| &index.keys).filter(is_computed).count();
                storage.narrow(def.columns.len() + computed, def.columns.len(), def.indexes.len());
                for index in &def.indexes {
                    storage_index(storage, index);
                }
            }
        }
    }
}

impl Exec<'_> {
    fn compute_for_index(&mut self, table: TableId, def: &IndexDef) -> Result<Computed, Interrupt> {
        let exprs: Vec<&Expr> = def.keys.iter().filter(|key| own_column(key).is_none()).collect();
        let mut computed = Computed { values: Vec::new(), is_in: Vec::new() };
        for tuple in 0..self.core.tables[table as usize].len() {
            let header = *self.core.tables[table as usize].header(tuple);
            let is_dead = self.core.xacts.state(header.xmin) == State::Aborted
                || header.xmax != NO_XID && self.core.xacts.state(header.xmax) == State::Committed;
            self.bind(OWN_ROW, Slot::Tuple { table, tuple });
            let mut row = || -> Result<(Vec<Value>, bool), Interrupt> {
                let is_in = def
                    .predicate
                    .as_ref()
                    .map_or(Ok(true), |predicate| Ok::<bool, Interrupt>(self.test(predicate)? == Some(true)))?;
                // PostgreSQL does not evaluate what is not in the index.
                let value = |expr: &&Expr| if is_in { self.eval(expr) } else { Ok(Value::Null) };
                Ok((exprs.iter().map(value).collect::<Result<_, _>>()?, is_in))
            };
            let (values, is_in) = match row() {
                // Whether such a row is looked at hangs on who else may see it.
                Err(Interrupt::Error(error)) if is_dead => {
                    return Err(Error::refused(format_args!("CREATE INDEX over a dead row that errs ({error})")).into());
                }
                row => row?,
            };
            self.spend(1 + values.len())?;
            computed.values.extend(values);
            computed.is_in.push(is_in);
        }
        Ok(computed)
    }
}
