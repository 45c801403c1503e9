//! CREATE TABLE, CREATE INDEX, CREATE SEQUENCE.

use smol_str::SmolStr;

use sqlparser::ast::{self, TableConstraint};

use super::coerce::{Cast, fitted};
use super::names::{index_columns, object_name};
use super::scope::{Scope, Source, ident, qualified};
use super::{Builder, COLUMNS_MAX, refuse_if, visit};
use crate::catalog::{self, IndexDef, SequenceDef, TableDef, TableId};
use crate::error::Error;
use crate::plan::{ColumnId, Expr, OWN_ROW, Utility};

/// A CHECK: its own name, the condition.
type Check<'ast> = (Option<SmolStr>, &'ast ast::Expr);

/// A unique constraint.
pub(super) struct Key {
    pub(super) name: Option<SmolStr>,
    pub(super) columns: Vec<ColumnId>,
    pub(super) include: Vec<ColumnId>,
    pub(super) primary: bool,
}

/// A table while its definition is read.
pub(super) struct Draft<'ast> {
    pub(super) table: TableDef,
    pub(super) sequences: Vec<(ColumnId, SequenceDef)>,
    /// CHECKs in the order in which they are written.
    pub(super) checks: Vec<Check<'ast>>,
    /// Generated columns: they may name columns that come later.
    pub(super) generated: Vec<(ColumnId, &'ast ast::Expr)>,
    /// Unique constraints in the order in which they are written.
    pub(super) keys: Vec<Key>,
    /// REFERENCES: its name and its columns' names.
    pub(super) foreign_keys: Vec<(Option<SmolStr>, Vec<SmolStr>, &'ast ast::ForeignKeyConstraint)>,
    /// Names that are taken, besides those in the catalog.
    pub(super) taken: Vec<SmolStr>,
}

impl Draft<'_> {
    pub(super) fn of(table: TableDef) -> Self {
        let taken = vec![table.name.clone()];
        Self {
            table,
            sequences: Vec::new(),
            checks: Vec::new(),
            generated: Vec::new(),
            keys: Vec::new(),
            foreign_keys: Vec::new(),
            taken,
        }
    }

    /// Whether its columns are nothing but columns.
    pub(super) fn is_plain(&self) -> bool {
        let plain = self.sequences.is_empty() && self.checks.is_empty() && self.generated.is_empty();
        plain && self.keys.is_empty() && self.foreign_keys.is_empty()
    }
}

impl Builder<'_> {
    pub(super) fn create_table(&mut self, create: &ast::CreateTable) -> Result<Utility, Error> {
        plain_create_table(create)?;
        let (schema, name) = qualified(&create.name)?;
        let schema = schema.unwrap_or_else(|| "public".into());
        if create.columns.len() > COLUMNS_MAX {
            return Err(Error::new("54011", format!("tables can have at most {COLUMNS_MAX} columns")));
        }
        let table = TableDef {
            schema,
            name,
            columns: Vec::new(),
            checks: Vec::new(),
            generates: false,
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            referenced_by: Vec::new(),
            sequences: Vec::new(),
        };
        let mut draft = Draft::of(table);
        for column in &create.columns {
            self.create_column(&mut draft, column)?;
        }
        for constraint in &create.constraints {
            table_constraint(&mut draft, constraint)?;
        }
        self.finish_keys(&mut draft)?;
        self.finish_checks(&mut draft)?;
        self.finish_generated(&mut draft)?;
        self.finish_foreign_keys(&mut draft)?;
        Ok(Utility::CreateTable {
            table: Box::new(draft.table),
            sequences: draft.sequences,
            if_not_exists: create.if_not_exists,
        })
    }

    /// A name that nothing in the schema has yet, of a table, columns and a label, which a number makes longer if need be.
    /// Source: PostgreSQL, indexcmds.c, `ChooseRelationName`.
    pub(super) fn free_name(
        &self,
        schema: &str,
        (table, columns, label): (&str, Option<&str>, &str),
        taken: &mut Vec<SmolStr>,
    ) -> SmolStr {
        let mut name = object_name(table, columns, label);
        let mut number = 0;
        while self.catalog.lookup(schema, &name).is_some() || taken.contains(&name) {
            number += 1;
            name = object_name(table, columns, &format!("{label}{number}"));
        }
        taken.push(name.clone());
        name
    }

    /// The indexes of the unique constraints: the primary key's first.
    fn finish_keys(&mut self, draft: &mut Draft<'_>) -> Result<(), Error> {
        let mut keys = std::mem::take(&mut draft.keys);
        if keys.iter().filter(|key| key.primary).count() > 1 {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", draft.table.name);
            return Err(Error::new("42P16", message));
        }
        keys.sort_by_key(|key| !key.primary);
        for Key { name, columns, include, primary } in keys {
            let names = index_columns(columns.iter().map(|column| &*draft.table.columns[usize::from(*column)].name));
            let parts = if primary { (None, "pkey") } else { (Some(&*names), "key") };
            let name = if let Some(name) = name {
                name
            } else {
                let parts = (&*draft.table.name, parts.0, parts.1);
                self.free_name(&draft.table.schema, parts, &mut draft.taken)
            };
            for column in &columns {
                let def = &mut draft.table.columns[usize::from(*column)];
                def.not_null |= primary;
                super::operator::sortable(def.ty)?;
            }
            let keys = columns.into_iter().map(|column| Expr::Column { slot: OWN_ROW, column }).collect();
            refuse_if(draft.table.indexes.len() > COLUMNS_MAX, "so many unique constraints of a table")?;
            draft.table.indexes.push(IndexDef {
                name,
                unique: true,
                primary,
                constraint: true,
                keys,
                include,
                predicate: None,
            });
        }
        Ok(())
    }

    fn finish_checks(&mut self, draft: &mut Draft<'_>) -> Result<(), Error> {
        let mut names: Vec<SmolStr> = Vec::new();
        for (name, condition) in std::mem::take(&mut draft.checks) {
            let condition = self.over_own_row(&draft.table, |builder| {
                builder.clause("check constraints");
                let condition = builder.expr(condition)?;
                builder.boolean(condition, "CHECK")
            })?;
            refuse_if(visit::has_subquery(&condition), "a subquery in a check constraint")?;
            let name = match name {
                Some(name) if names.contains(&name) => {
                    let message = format!("check constraint \"{name}\" already exists");
                    return Err(Error::new("42710", message));
                }
                Some(name) => name,
                None => {
                    let column = only_column(&condition, &draft.table);
                    let parts = (&*draft.table.name, column.as_deref(), "check");
                    self.free_name(&draft.table.schema, parts, &mut names)
                }
            };
            if !names.contains(&name) {
                names.push(name.clone());
            }
            draft.table.checks.push(catalog::Check::new(name, condition));
        }
        draft.table.checks.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(())
    }

    fn finish_generated(&mut self, draft: &mut Draft<'_>) -> Result<(), Error> {
        for (place, expr) in std::mem::take(&mut draft.generated) {
            let expr = self.over_own_row(&draft.table, |builder| {
                builder.clause("column generation expressions");
                builder.expr(expr)
            })?;
            refuse_if(visit::has_subquery(&expr.expr), "a subquery in a generated column")?;
            if visit::is_volatile(&expr.expr) {
                return Err(Error::new("42P17", "generation expression is not immutable"));
            }
            let def = &mut draft.table.columns[usize::from(place)];
            let found = self.try_coerce(expr, def.ty, Cast::Assignment)?;
            let found =
                found.ok_or_else(|| Error::refused("a generated column of another type than its expression"))?;
            def.generated = Some(fitted(found, def.modifier, false));
            draft.table.generates = true;
        }
        // One that reads another would have to be refused by PostgreSQL's words.
        let columns = &draft.table.columns;
        let reads_another = columns.iter().filter_map(|column| column.generated.as_ref()).any(|expr| {
            let mut found = Vec::new();
            visit::collect_columns(expr, &mut found);
            found.iter().any(|column| columns[usize::from(*column)].generated.is_some())
        });
        refuse_if(reads_another, "a generated column that reads a generated column")
    }

    /// Compiles with the columns of a table as the only names, over `OWN_ROW`.
    fn over_own_row<T>(
        &mut self,
        table: &TableDef,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let columns = table.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        self.scopes.push(Scope::default());
        let found = self
            .add_source(Source {
                name: table.name.clone(),
                schema: None,
                slot: OWN_ROW,
                columns,
                table: None,
                partial: false,
            })
            .and_then(|()| inner(self));
        self.scopes.pop();
        found
    }

    pub(super) fn create_index(&mut self, create: &ast::CreateIndex) -> Result<Utility, Error> {
        let ast::CreateIndex {
            name,
            table_name,
            using,
            columns,
            unique,
            concurrently,
            r#async,
            if_not_exists,
            include,
            nulls_distinct,
            with,
            predicate,
            index_options,
            alter_options,
        } = create;
        refuse_if(!matches!(using, None | Some(ast::IndexType::BTree)), "indexes other than btree")?;
        refuse_if(*concurrently || *r#async, "CREATE INDEX CONCURRENTLY")?;
        refuse_if(nulls_distinct.is_some_and(|distinct| !distinct), "NULLS NOT DISTINCT")?;
        refuse_if(!with.is_empty() || !index_options.is_empty() || !alter_options.is_empty(), "index options")?;
        let table = self.table(table_name)?;
        let def = self.catalog.table(table).clone();
        let include = include_columns(&def, include)?;
        let (keys, names, predicate) = self.over_own_row(&def, |builder| {
            builder.clause("index expressions");
            let (mut keys, mut names) = (Vec::new(), Vec::new());
            for column in columns {
                let (key, name) = builder.index_key(&def, column)?;
                keys.push(key);
                names.push(name);
            }
            builder.clause("index predicates");
            let predicate = match predicate {
                Some(condition) => {
                    let condition = builder.expr(condition)?;
                    Some(builder.boolean(condition, "WHERE")?)
                }
                None => None,
            };
            Ok((keys, names, predicate))
        })?;
        if predicate.as_ref().is_some_and(visit::is_volatile) {
            return Err(Error::new("42P17", "functions in index predicate must be marked IMMUTABLE"));
        }
        if keys.iter().any(visit::is_volatile) {
            return Err(Error::new("42P17", "functions in index expression must be marked IMMUTABLE"));
        }
        let name = self.index_name(name.as_ref(), table, &names)?;
        let index =
            Box::new(IndexDef { name, unique: *unique, primary: false, constraint: false, keys, include, predicate });
        Ok(Utility::CreateIndex { table, index, if_not_exists: *if_not_exists })
    }

    fn index_key(&mut self, table: &TableDef, column: &ast::IndexColumn) -> Result<(Expr, SmolStr), Error> {
        let ast::IndexColumn { column, operator_class } = column;
        refuse_if(operator_class.is_some(), "operator classes")?;
        let ast::OrderByExpr { expr, options: ast::OrderByOptions { sort, nulls_first }, with_fill } = column;
        let descends = !matches!(sort, None | Some(ast::OrderBySort::Asc));
        refuse_if(descends || *nulls_first == Some(true) || with_fill.is_some(), "indexes that descend")?;
        // Its grammar wants parentheses around anything else.
        let plain = matches!(expr, ast::Expr::Identifier(_) | ast::Expr::Function(_) | ast::Expr::Nested(_));
        refuse_if(!plain, "an index on an expression without parentheses")?;
        let value = self.expr(expr)?;
        let value = self.settle(value)?;
        super::operator::sortable(value.ty)?;
        refuse_if(visit::has_subquery(&value.expr), "a subquery in an index")?;
        let name = match &value.expr {
            Expr::Column { column, .. } => table.columns[usize::from(*column)].name.clone(),
            _ => match super::name::result_name(expr) {
                name if *name == *"?column?" => "expr".into(),
                name => name,
            },
        };
        Ok((value.expr, name))
    }

    fn index_name(
        &self,
        name: Option<&ast::ObjectName>,
        table: TableId,
        columns: &[SmolStr],
    ) -> Result<SmolStr, Error> {
        let def = self.catalog.table(table);
        let Some(name) = name else {
            let columns = index_columns(columns.iter().map(|column| &**column));
            return Ok(self.free_name(&def.schema, (&def.name, Some(&columns), "idx"), &mut Vec::new()));
        };
        match qualified(name)? {
            (None, name) => Ok(name),
            (Some(_), _) => Err(Error::new("42601", "syntax error at or near \".\"")),
        }
    }
}

/// The only column of a condition, by which PostgreSQL names a CHECK, wherever it stands. Source: heap.c, `AddRelationNewConstraints`.
fn only_column(condition: &Expr, table: &TableDef) -> Option<SmolStr> {
    let mut found = Vec::new();
    visit::collect_columns(condition, &mut found);
    match found.as_slice() {
        [one] => Some(table.columns[usize::from(*one)].name.clone()),
        _ => None,
    }
}

fn table_constraint<'ast>(draft: &mut Draft<'ast>, constraint: &'ast TableConstraint) -> Result<(), Error> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            plain_primary(key)?;
            let columns = key_columns(draft, &key.columns, "primary key")?;
            let include = include_columns(&draft.table, &key.include)?;
            draft.keys.push(Key { name: key.name.as_ref().map(ident), columns, include, primary: true });
        }
        TableConstraint::Unique(key) => {
            plain_unique(key)?;
            let columns = key_columns(draft, &key.columns, "unique")?;
            let include = include_columns(&draft.table, &key.include)?;
            draft.keys.push(Key { name: key.name.as_ref().map(ident), columns, include, primary: false });
        }
        TableConstraint::Check(ast::CheckConstraint { name, expr, no_inherit, enforced }) => {
            refuse_if(*no_inherit || enforced.is_some(), "NO INHERIT, ENFORCED")?;
            draft.checks.push((name.as_ref().map(ident), expr));
        }
        TableConstraint::ForeignKey(key) => {
            let columns = key.columns.iter().map(ident).collect();
            draft.foreign_keys.push((key.name.as_ref().map(ident), columns, key));
        }
        TableConstraint::Exclude(_) => return Err(Error::refused("EXCLUDE")),
        other => return Err(Error::refused(format!("the constraint {other}"))),
    }
    Ok(())
}

fn key_columns(draft: &Draft<'_>, columns: &[ast::IndexColumn], what: &str) -> Result<Vec<ColumnId>, Error> {
    let mut found = Vec::with_capacity(columns.len());
    for ast::IndexColumn { column, operator_class } in columns {
        refuse_if(operator_class.is_some(), "operator classes")?;
        let ast::OrderByExpr { expr, options, with_fill } = column;
        let ast::OrderByOptions { sort, nulls_first } = options;
        refuse_if(sort.is_some() || nulls_first.is_some() || with_fill.is_some(), "an order in a key")?;
        let ast::Expr::Identifier(name) = expr else { return Err(Error::refused("a key of expressions")) };
        let name = ident(name);
        let place = draft.table.column(&name);
        let message = || format!("column \"{name}\" named in key does not exist");
        let place = place.ok_or_else(|| Error::new("42703", message()))?;
        if found.contains(&place) {
            let message = format!("column \"{name}\" appears twice in {what} constraint");
            return Err(Error::new("42701", message));
        }
        found.push(place);
    }
    Ok(found)
}

fn include_columns(table: &TableDef, names: &[ast::Ident]) -> Result<Vec<ColumnId>, Error> {
    let column = |name| {
        let name = ident(name);
        let message = || format!("column \"{name}\" does not exist");
        table.column(&name).ok_or_else(|| Error::new("42703", message()))
    };
    names.iter().map(column).collect()
}

pub(super) fn plain_primary(key: &ast::PrimaryKeyConstraint) -> Result<(), Error> {
    let ast::PrimaryKeyConstraint {
        name: _,
        index_name,
        index_type,
        columns: _,
        include: _,
        index_options,
        characteristics,
    } = key;
    refuse_if(index_name.is_some() || index_type.is_some() || !index_options.is_empty(), "index options")?;
    refuse_if(characteristics.is_some(), "DEFERRABLE")
}

pub(super) fn plain_unique(key: &ast::UniqueConstraint) -> Result<(), Error> {
    let ast::UniqueConstraint {
        name: _,
        index_name,
        index_type_display: _,
        index_type,
        columns: _,
        include: _,
        index_options,
        characteristics,
        nulls_distinct,
    } = key;
    refuse_if(index_name.is_some() || index_type.is_some() || !index_options.is_empty(), "index options")?;
    refuse_if(characteristics.is_some(), "DEFERRABLE")?;
    refuse_if(*nulls_distinct == ast::NullsDistinctOption::NotDistinct, "NULLS NOT DISTINCT")
}

#[rustfmt::skip] // a field a line would be three screens of nothing
fn plain_create_table(create: &ast::CreateTable) -> Result<(), Error> {
    let ast::CreateTable {
        or_replace, temporary, unlogged, external, dynamic, global, if_not_exists: _, transient, volatile, iceberg,
        snapshot, name: _, columns: _, constraints: _, hive_distribution, hive_formats, table_options, file_format,
        location, query, sqlite_table_options: _, like, clone, version, comment, on_commit, on_cluster, primary_key,
        order_by, partition_by, cluster_by, clustered_by, inherits, partition_of, for_values, copy_grants,
        enable_schema_evolution, change_tracking, data_retention_time_in_days, max_data_extension_time_in_days,
        default_ddl_collation, with_aggregation_policy, with_row_access_policy, with_storage_lifecycle_policy,
        with_tags, external_volume, with_connection, base_location, catalog, catalog_sync,
        storage_serialization_policy, target_lag, warehouse, refresh_mode, initialize, require_user, diststyle,
        distkey, sortkey, backup, multiset, fallback, with_data,
    } = create;
    refuse_if(query.is_some() || with_data.is_some(), "CREATE TABLE AS")?;
    refuse_if(like.is_some(), "LIKE in CREATE TABLE")?;
    refuse_if(*temporary || global.is_some() || on_commit.is_some(), "temporary tables")?;
    refuse_if(*unlogged, "UNLOGGED")?;
    refuse_if(inherits.is_some(), "INHERITS")?;
    refuse_if(partition_by.is_some() || partition_of.is_some() || for_values.is_some(), "partitions")?;
    refuse_if(!matches!(table_options, ast::CreateTableOptions::None), "table options")?;
    let elsewhere = *or_replace || *external || *dynamic || *transient || *volatile || *iceberg || *snapshot;
    let elsewhere = elsewhere || *copy_grants || *require_user || hive_formats.is_some() || file_format.is_some();
    let elsewhere = elsewhere || !matches!(hive_distribution, ast::HiveDistributionStyle::NONE) || location.is_some();
    let elsewhere = elsewhere || clone.is_some() || version.is_some() || comment.is_some() || on_cluster.is_some();
    let elsewhere =
        elsewhere || primary_key.is_some() || order_by.is_some() || cluster_by.is_some() || clustered_by.is_some();
    let elsewhere = elsewhere || enable_schema_evolution.is_some() || change_tracking.is_some() || warehouse.is_some();
    let elsewhere = elsewhere || data_retention_time_in_days.is_some() || max_data_extension_time_in_days.is_some();
    let elsewhere =
        elsewhere || default_ddl_collation.is_some() || with_aggregation_policy.is_some() || with_tags.is_some();
    let elsewhere = elsewhere || with_row_access_policy.is_some() || with_storage_lifecycle_policy.is_some();
    let elsewhere = elsewhere || external_volume.is_some() || with_connection.is_some() || base_location.is_some();
    let elsewhere = elsewhere || catalog.is_some() || catalog_sync.is_some() || storage_serialization_policy.is_some();
    let elsewhere =
        elsewhere || target_lag.is_some() || refresh_mode.is_some() || initialize.is_some() || backup.is_some();
    let elsewhere = elsewhere || diststyle.is_some() || distkey.is_some() || sortkey.is_some();
    refuse_if(elsewhere || multiset.is_some() || fallback.is_some(), "what CREATE TABLE has in other databases only")
}
