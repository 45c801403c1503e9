//! The catalog: schemas, tables, indexes and sequences by name. Written by DDL, read when a statement is compiled.
//!
//! A [`Catalog`] is cheap to copy: what it holds is shared until one of the copies is written to. That is all that
//! transactional DDL needs: a transaction keeps a copy from before its first DDL statement, and [`Catalog::restore`]s it.
//!
//! Numbers are given in the order of creation, so that the same statements always make the same numbers, and never
//! again after a rollback, as PostgreSQL's OIDs are not.

mod columns;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::error::Error;
use crate::plan::{ALL_COLUMNS, ColumnId, ColumnSet, Expr, column_set};
use crate::types::Scalar;
use crate::types::text::quote_name;

pub(crate) use columns::ColumnDef;
pub(crate) use views::{Definition, ViewDef, ViewId};

/// A table, by number. Numbers are never reused.
pub(crate) type TableId = u32;
/// An index, by its place in [`TableDef::indexes`].
pub(crate) type IndexId = u16;
/// A sequence, by number. Tables and sequences share one row of numbers.
pub(crate) type SequenceId = u32;

/// PostgreSQL's `FirstNormalObjectId`: what a user creates has OIDs from here on.
const FIRST_OID: u32 = 16384;

/// A table as DDL describes it.
#[derive(Clone, Debug)]
pub(crate) struct TableDef {
    pub(crate) schema: SmolStr,
    pub(crate) name: SmolStr,
    pub(crate) columns: Vec<ColumnDef>,
    /// In the order of their names, in which PostgreSQL checks them.
    pub(crate) checks: Vec<Check>,
    /// Whether any column is generated.
    pub(crate) generates: bool,
    /// In the order of their creation, in which PostgreSQL maintains them; the primary key of CREATE TABLE before all.
    pub(crate) indexes: Vec<IndexDef>,
    /// In the order of their creation, in which their triggers fire.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// Tables whose foreign keys refer to this one, in the order of their creation.
    pub(crate) referenced_by: Vec<TableId>,
    /// The sequences of its serial and identity columns, dropped with it and restarted by TRUNCATE .. RESTART IDENTITY.
    pub(crate) sequences: Vec<SequenceId>,
}

impl TableDef {
    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<ColumnId> {
        let place = self.columns.iter().position(|column| *column.name == *name)?;
        Some(ColumnId::try_from(place).expect("CREATE TABLE limits the number of columns"))
    }
}

/// A CHECK constraint.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: SmolStr,
    /// Over `OWN_ROW`.
    pub(crate) condition: Expr,
    /// What it hangs on: for a row of which none of these has changed it holds as it did.
    pub(crate) columns: ColumnSet,
}

impl Check {
    pub(crate) fn new(name: SmolStr, condition: Expr) -> Self {
        let mut columns = Vec::new();
        crate::exec::columns_of(&condition, &mut |column| columns.push(column));
        let repeats = !columns.is_empty() && !crate::compile::visit::is_volatile(&condition);
        Self { name, condition, columns: if repeats { column_set(columns) } else { ALL_COLUMNS } }
    }
}

/// REFERENCES: the values of `columns`, unless one is NULL, stand in `referenced` of a row of `table`.
#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub(crate) name: SmolStr,
    pub(crate) columns: Vec<ColumnId>,
    /// [`ITSELF`] until it is created, where a table refers to itself.
    pub(crate) table: TableId,
    pub(crate) referenced: Vec<ColumnId>,
    pub(crate) on_delete: ReferentialAction,
    pub(crate) on_update: ReferentialAction,
}

/// In a table that is not created yet: its own number.
pub(crate) const ITSELF: TableId = TableId::MAX;

/// What becomes of referencing rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferentialAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// An index. One that is neither unique nor useful to a condition is kept all the same: it has a name.
#[derive(Clone, Debug)]
pub(crate) struct IndexDef {
    pub(crate) name: SmolStr,
    pub(crate) unique: bool,
    pub(crate) primary: bool,
    /// A constraint's, which ON CONFLICT ON CONSTRAINT names.
    pub(crate) constraint: bool,
    /// Columns or expressions over `OWN_ROW`.
    pub(crate) keys: Vec<Expr>,
    /// INCLUDE: columns that stand in it beside the keys.
    pub(crate) include: Vec<ColumnId>,
    /// Of a partial index: the condition, over `OWN_ROW`.
    pub(crate) predicate: Option<Expr>,
}

/// A sequence.
#[derive(Clone, Debug)]
pub(crate) struct SequenceDef {
    pub(crate) schema: SmolStr,
    pub(crate) name: SmolStr,
    pub(crate) start: i64,
    pub(crate) increment: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) cycle: bool,
}

impl SequenceDef {
    /// Errs where `value`, which `what` says, is out of bounds. Source: PostgreSQL, sequence.c, `init_params`.
    pub(crate) fn within(&self, what: &str, value: i64) -> Result<(), Error> {
        let (word, name, bound) = if value < self.min {
            ("less", "MINVALUE", self.min)
        } else if value > self.max {
            ("greater", "MAXVALUE", self.max)
        } else {
            return Ok(());
        };
        Err(Error::new("22023", format!("{what} value ({value}) cannot be {word} than {name} ({bound})")))
    }
}

/// A name in a schema, and what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Table(TableId),
    /// An index and the table that it belongs to.
    Index(TableId),
    Sequence(SequenceId),
    View(ViewId),
}

/// Everything that has a name. Copies share what they hold until one is written to.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    names: Arc<Names>,
    /// The highest version that there was, in whatever copy.
    highest: u64,
}

#[derive(Clone, Debug)]
struct Names {
    version: u64,
    /// Indexed by number; none: dropped, or the number of something else.
    tables: Vec<Option<Arc<TableDef>>>,
    sequences: Vec<Option<Arc<SequenceDef>>>,
    views: BTreeMap<ViewId, Arc<ViewDef>>,
    /// What could not be created: what the model does not support about it, and whether rows written to it have no other effect.
    poisoned: BTreeMap<SmolStr, (SmolStr, bool)>,
    poisoned_functions: BTreeMap<SmolStr, SmolStr>,
    /// By schema; each schema by name.
    schemas: BTreeMap<SmolStr, BTreeMap<SmolStr, Relation>>,
}

impl Catalog {
    /// An empty schema `public`.
    pub(crate) fn new() -> Self {
        let schemas = BTreeMap::from([("public".into(), BTreeMap::new())]);
        let names = Names {
            version: 0,
            tables: Vec::new(),
            sequences: Vec::new(),
            views: BTreeMap::new(),
            schemas,
            poisoned: BTreeMap::new(),
            poisoned_functions: BTreeMap::new(),
        };
        Self { names: Arc::new(names), highest: 0 }
    }

    /// Counts the changes: a plan that was compiled under another version may be wrong.
    pub(crate) fn version(&self) -> u64 {
        self.names.version
    }

    /// Whether there is nothing in it but an empty schema `public`.
    pub(crate) fn is_empty(&self) -> bool {
        let names = &self.names;
        names.schemas.len() == 1
            && names.schemas.values().all(BTreeMap::is_empty)
            && names.poisoned.is_empty()
            && names.poisoned_functions.is_empty()
    }

    /// Versions to come are none that `other` has had.
    pub(crate) fn rise_above(&mut self, other: &Self) {
        self.highest = self.highest.max(other.highest);
    }

    /// Takes back what was changed since `saved` was copied from this catalog. Numbers and versions go on, so that neither names
    /// two different things.
    pub(crate) fn restore(&mut self, saved: Self) {
        if self.version() == saved.version() {
            return;
        }
        let numbers = self.names.tables.len();
        self.names = saved.names;
        self.highest = self.highest.max(saved.highest) + 1;
        let names = Arc::make_mut(&mut self.names);
        names.version = self.highest;
        names.tables.resize(numbers, None);
        names.sequences.resize(numbers, None);
    }

    /// A table by number. Panics if there is none: plans are compiled anew when the version has changed.
    pub(crate) fn table(&self, id: TableId) -> &Arc<TableDef> {
        self.find_table(id).expect("a plan names only tables of its catalog version")
    }

    /// A table by number, if it still exists.
    pub(crate) fn find_table(&self, id: TableId) -> Option<&Arc<TableDef>> {
        self.names.tables.get(id as usize)?.as_ref()
    }

    /// A sequence by number. Panics if there is none, as [`Catalog::table`] does.
    pub(crate) fn sequence(&self, id: SequenceId) -> &Arc<SequenceDef> {
        let found = self.names.sequences.get(id as usize).and_then(Option::as_ref);
        found.expect("a plan names only sequences of its catalog version")
    }

    /// A sequence by number, if it exists.
    pub(crate) fn find_sequence(&self, id: SequenceId) -> Option<&Arc<SequenceDef>> {
        self.names.sequences.get(id as usize)?.as_ref()
    }

    /// The OID of a table or sequence, as `'name'::regclass` and `pg_locks.relation` give it.
    pub(crate) fn oid(id: TableId) -> i64 {
        i64::from(FIRST_OID) + i64::from(id)
    }

    /// The table or sequence of an OID: `regclass` is printed as a name.
    pub(crate) fn relation_name(&self, oid: i64) -> Option<(&SmolStr, &SmolStr)> {
        let number = usize::try_from(oid.checked_sub(i64::from(FIRST_OID))?).ok()?;
        if let Some(table) = self.names.tables.get(number)?.as_ref() {
            return Some((&table.schema, &table.name));
        }
        if let Some(view) = self.names.views.get(&ViewId::try_from(number).ok()?) {
            return Some((&view.schema, &view.name));
        }
        self.names.sequences.get(number)?.as_ref().map(|sequence| (&sequence.schema, &sequence.name))
    }

    /// How `regclass` prints an OID: a number where there is no such relation.
    pub(crate) fn relation_text(&self, oid: i64) -> String {
        match self.relation_name(oid) {
            Some((schema, name)) if **schema == *"public" => quote_name(name),
            Some((schema, name)) => format!("{}.{}", quote_name(schema), quote_name(name)),
            None => oid.to_string(),
        }
    }

    /// Errs where a relation is poisoned.
    pub(crate) fn refuse_poisoned(&self, name: &str) -> Result<(), Error> {
        self.names.poisoned.get(name).map_or(Ok(()), |(construct, _)| Err(Error::refused(construct)))
    }

    /// Errs where a function is poisoned.
    pub(crate) fn refuse_poisoned_function(&self, name: &str) -> Result<(), Error> {
        self.names.poisoned_functions.get(name).map_or(Ok(()), |construct| Err(Error::refused(construct)))
    }

    pub(crate) fn is_poisoned(&self, name: &str) -> bool {
        self.names.poisoned.contains_key(name)
    }

    /// Whether one of these words is a poisoned relation that can be written to without any other effect.
    pub(crate) fn has_inert_poison(&self, words: &[SmolStr]) -> bool {
        let mut found = words.iter().filter_map(|word| self.names.poisoned.get(word)).peekable();
        let functions = words.iter().any(|word| self.names.poisoned_functions.contains_key(word));
        found.peek().is_some() && found.all(|(_, inert)| *inert) && !functions
    }

    /// Poisons what a definition would have made, and the relations that it mentions; or drops it.
    pub(crate) fn poison(&mut self, poison: &crate::message::Poison) {
        let exists = |word: &&SmolStr| self.lookup("public", word).is_some() || self.is_poisoned(word);
        let relations: Vec<SmolStr> = poison.words.iter().filter(exists).chain(&poison.relation).cloned().collect();
        let names = self.write();
        if poison.drops {
            for word in &poison.words {
                names.poisoned.remove(word);
                names.poisoned_functions.remove(word);
            }
            return;
        }
        for relation in relations {
            let inert = poison.inert && names.poisoned.get(&relation).is_none_or(|(_, inert)| *inert);
            names.poisoned.insert(relation, (poison.construct.clone(), inert));
        }
        if let Some(function) = &poison.function {
            names.poisoned_functions.insert(function.clone(), poison.construct.clone());
        }
    }

    /// DROP TABLE of what was poisoned.
    pub(crate) fn forget_poison(&mut self, names: &[SmolStr]) {
        if names.iter().any(|name| self.is_poisoned(name)) {
            let all = self.write();
            for name in names {
                all.poisoned.remove(name);
            }
        }
    }

    /// Whether there is a schema of this name.
    pub(crate) fn has_schema(&self, name: &str) -> bool {
        self.names.schemas.contains_key(name)
    }

    /// What `schema.name` stands for.
    pub(crate) fn lookup(&self, schema: &str, name: &str) -> Option<Relation> {
        self.names.schemas.get(schema)?.get(name).copied()
    }

    /// The names in a schema that stand for tables.
    pub(crate) fn tables_in(&self, schema: &str) -> Vec<TableId> {
        let tables = self.names.schemas.get(schema).into_iter().flatten();
        tables.filter_map(|(_, relation)| if let Relation::Table(id) = relation { Some(*id) } else { None }).collect()
    }

    /// Whether anything stands in a schema.
    pub(crate) fn is_empty_schema(&self, schema: &str) -> bool {
        self.names.schemas.get(schema).is_none_or(BTreeMap::is_empty)
    }

    fn write(&mut self) -> &mut Names {
        self.highest += 1;
        let names = Arc::make_mut(&mut self.names);
        names.version = self.highest;
        names
    }

    /// CREATE SCHEMA. False: it exists, and IF NOT EXISTS was said.
    pub(crate) fn create_schema(&mut self, name: &SmolStr, if_not_exists: bool) -> Result<bool, Error> {
        if self.has_schema(name) {
            return exists(if_not_exists, "42P06", format!("schema \"{name}\" already exists"));
        }
        if name.starts_with("pg_") {
            return Err(Error::new("42939", format!("unacceptable schema name \"{name}\"")));
        }
        self.write().schemas.insert(name.clone(), BTreeMap::new());
        Ok(true)
    }

    /// CREATE TABLE, with the sequences of its serial and identity columns, whose defaults are set here. None: it exists, and
    /// IF NOT EXISTS was said.
    pub(crate) fn create_table(
        &mut self,
        table: &TableDef,
        sequences: &[(ColumnId, SequenceDef)],
        if_not_exists: bool,
    ) -> Result<Option<TableId>, Error> {
        if !self.check_new(&table.schema, &table.name, if_not_exists)? {
            return Ok(None);
        }
        let mut table = table.clone();
        for (column, sequence) in sequences {
            if let Some(id) = self.create_sequence(sequence, false)? {
                table.columns[usize::from(*column)].default = Some(Expr::NextVal(id));
                table.sequences.push(id);
            }
        }
        for index in &table.indexes {
            self.check_new(&table.schema, &index.name, false)?;
        }
        let id = self.next_number();
        let names = self.write();
        for key in &mut table.foreign_keys {
            if key.table == ITSELF {
                key.table = id;
                table.referenced_by = vec![id];
            } else {
                let referenced = names.tables[key.table as usize].as_mut().expect("compiled under this version");
                let referenced = Arc::make_mut(referenced);
                if !referenced.referenced_by.contains(&id) {
                    referenced.referenced_by.push(id);
                }
            }
        }
        let schema = names.schemas.get_mut(&table.schema).expect("checked above");
        schema.insert(table.name.clone(), Relation::Table(id));
        schema.extend(table.indexes.iter().map(|index| (index.name.clone(), Relation::Index(id))));
        names.tables.push(Some(Arc::new(table)));
        names.sequences.push(None);
        Ok(Some(id))
    }

    /// ALTER TABLE: another definition of a table, with the same name and indexes.
    pub(crate) fn redefine_table(&mut self, id: TableId, table: TableDef) {
        self.write().tables[id as usize] = Some(Arc::new(table));
    }

    /// ALTER SEQUENCE: another definition of a sequence, with the same name.
    pub(crate) fn redefine_sequence(&mut self, id: SequenceId, sequence: SequenceDef) {
        self.write().sequences[id as usize] = Some(Arc::new(sequence));
    }

    /// CREATE INDEX. None: it exists, and IF NOT EXISTS was said.
    pub(crate) fn create_index(
        &mut self,
        table: TableId,
        index: &IndexDef,
        if_not_exists: bool,
    ) -> Result<Option<IndexId>, Error> {
        let schema = self.table(table).schema.clone();
        if !self.check_new(&schema, &index.name, if_not_exists)? {
            return Ok(None);
        }
        let names = self.write();
        let relations = names.schemas.get_mut(&schema).expect("checked above");
        relations.insert(index.name.clone(), Relation::Index(table));
        let def = names.tables[table as usize].as_mut().expect("looked up above");
        let def = Arc::make_mut(def);
        let id =
            IndexId::try_from(def.indexes.len()).map_err(|_| Error::refused("more than 65535 indexes of a table"))?;
        def.indexes.push(index.clone());
        Ok(Some(id))
    }

    /// CREATE SEQUENCE. None: it exists, and IF NOT EXISTS was said.
    pub(crate) fn create_sequence(
        &mut self,
        sequence: &SequenceDef,
        if_not_exists: bool,
    ) -> Result<Option<SequenceId>, Error> {
        if !self.check_new(&sequence.schema, &sequence.name, if_not_exists)? {
            return Ok(None);
        }
        let id = self.next_number();
        let names = self.write();
        let schema = names.schemas.get_mut(&sequence.schema).expect("checked above");
        schema.insert(sequence.name.clone(), Relation::Sequence(id));
        names.sequences.push(Some(Arc::new(sequence.clone())));
        names.tables.push(None);
        Ok(Some(id))
    }

    /// DROP TABLE: with its indexes, the foreign keys that refer to it, and the sequences of its columns, which are returned.
    pub(crate) fn drop_table(&mut self, id: TableId) -> Vec<SequenceId> {
        let table = self.table(id).clone();
        let names = self.write();
        let schema = names.schemas.get_mut(&table.schema).expect("a table's schema exists");
        schema.remove(&table.name);
        for index in &table.indexes {
            schema.remove(&index.name);
        }
        names.tables[id as usize] = None;
        for other in table.foreign_keys.iter().map(|key| key.table).chain(table.referenced_by.iter().copied()) {
            if let Some(other) = &mut names.tables[other as usize] {
                let other = Arc::make_mut(other);
                other.referenced_by.retain(|referencing| *referencing != id);
                other.foreign_keys.retain(|key| key.table != id);
            }
        }
        for sequence in &table.sequences {
            self.drop_sequence(*sequence);
        }
        table.sequences.clone()
    }

    /// The foreign keys that refer to a table, with the tables that they belong to.
    pub(crate) fn references_to(&self, id: TableId) -> impl Iterator<Item = (TableId, usize, &ForeignKey)> {
        self.table(id).referenced_by.iter().flat_map(move |referencing| {
            let keys = self.table(*referencing).foreign_keys.iter().enumerate();
            keys.filter(move |(_, key)| key.table == id).map(|(number, key)| (*referencing, number, key))
        })
    }

    /// Whether a foreign key or a CHECK in a schema has this name.
    pub(crate) fn has_constraint(&self, schema: &str, name: &str) -> bool {
        let tables = self.names.tables.iter().flatten().filter(|table| *table.schema == *schema);
        tables.into_iter().any(|table| {
            let keys = table.foreign_keys.iter().map(|key| &key.name);
            keys.chain(table.checks.iter().map(|check| &check.name)).any(|other| **other == *name)
        })
    }

    /// Whether a sequence belongs to a column.
    pub(crate) fn owns(&self, id: SequenceId) -> bool {
        self.names.tables.iter().flatten().any(|table| table.sequences.contains(&id))
    }

    /// DROP SEQUENCE.
    pub(crate) fn drop_sequence(&mut self, id: SequenceId) {
        let sequence = self.sequence(id).clone();
        let names = self.write();
        names.schemas.get_mut(&sequence.schema).expect("a sequence's schema exists").remove(&sequence.name);
        names.sequences[id as usize] = None;
    }

    /// DROP SCHEMA, of an empty one: the caller has dropped what stood in it.
    pub(crate) fn drop_schema(&mut self, name: &str) {
        self.write().schemas.remove(name);
    }

    /// The sequences in a schema: those of tables are among them.
    pub(crate) fn sequences_in(&self, schema: &str) -> Vec<SequenceId> {
        let relations = self.names.schemas.get(schema).into_iter().flatten();
        relations
            .filter_map(|(_, relation)| if let Relation::Sequence(id) = relation { Some(*id) } else { None })
            .collect()
    }

    fn next_number(&self) -> u32 {
        u32::try_from(self.names.tables.len()).expect("fewer than 2^32 relations")
    }

    /// Whether `schema.name` is free: an error, or false with `if_not_exists`, where it is not.
    fn check_new(&self, schema: &str, name: &str, if_not_exists: bool) -> Result<bool, Error> {
        let Some(relations) = self.names.schemas.get(schema) else {
            return Err(Error::new("3F000", format!("schema \"{schema}\" does not exist")));
        };
        if relations.contains_key(name) {
            return exists(if_not_exists, "42P07", format!("relation \"{name}\" already exists"));
        }
        Ok(true)
    }
}

fn exists(if_not_exists: bool, sqlstate: &'static str, message: String) -> Result<bool, Error> {
    if if_not_exists { Ok(false) } else { Err(Error::new(sqlstate, message)) }
}

/// The columns of `pg_locks` that are modelled, in the view's order.
pub(crate) fn view_columns(view: crate::plan::View) -> &'static [(&'static str, Scalar)] {
    match view {
        crate::plan::View::Locks => &[
            ("locktype", Scalar::Text),
            ("database", Scalar::Oid),
            ("relation", Scalar::Oid),
            ("virtualxid", Scalar::Text),
            ("transactionid", Scalar::Xid),
            ("virtualtransaction", Scalar::Text),
            ("pid", Scalar::Int4),
            ("mode", Scalar::Text),
            ("granted", Scalar::Bool),
        ],
        crate::plan::View::Databases => &[("oid", Scalar::Oid), ("datname", Scalar::Text)],
        crate::plan::View::Sequences => &[
            ("schemaname", Scalar::Text),
            ("sequencename", Scalar::Text),
            ("start_value", Scalar::Int8),
            ("min_value", Scalar::Int8),
            ("max_value", Scalar::Int8),
            ("increment_by", Scalar::Int8),
            ("cycle", Scalar::Bool),
            ("cache_size", Scalar::Int8),
        ],
        // `log_cnt` hangs on checkpoints.
        crate::plan::View::Sequence(_) => &[("last_value", Scalar::Int8), ("is_called", Scalar::Bool)],
        crate::plan::View::SequenceOptions => &[
            ("seqrelid", Scalar::Oid),
            ("seqstart", Scalar::Int8),
            ("seqincrement", Scalar::Int8),
            ("seqmax", Scalar::Int8),
            ("seqmin", Scalar::Int8),
            ("seqcache", Scalar::Int8),
            ("seqcycle", Scalar::Bool),
        ],
    }
}
