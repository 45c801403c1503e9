//! INSERT.

use sqlparser::ast::{self, SetExpr, TableObject};

use super::dml::is_default;
use super::scope::{Scope, Source, ident, parts, typed_column};
use super::{Builder, Rows, refuse_if};
use crate::catalog::TableId;
use crate::error::Error;
use crate::plan::{ColumnId, Expr, Node, NodeId, SlotId, TableLockMode};
use crate::types::{Type, Value};

impl Builder<'_> {
    pub(super) fn insert(&mut self, insert: &ast::Insert) -> Result<Rows, Error> {
        plain_insert(insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(Error::refused("INSERT into anything but a table"));
        };
        let table = self.table(name)?;
        self.lock(table, TableLockMode::RowExclusive);
        let columns = self.insert_columns(table, &insert.columns)?;
        let overriding = match insert.overriding {
            None => false,
            Some(ast::InsertOverriding::System) => true,
            Some(ast::InsertOverriding::User) => return Err(Error::refused("OVERRIDING USER VALUE")),
        };
        let source = self.slot();
        // The target cannot be named yet, but it is there.
        let name = match &insert.table_alias {
            Some(ast::TableAliasWithoutColumns { explicit: _, alias }) => ident(alias),
            None => self.catalog.table(table).name.clone(),
        };
        let target =
            Source { name, schema: None, slot: source, columns: Vec::new(), table: Some(table), partial: false };
        self.scopes.push(Scope { hidden: vec![target.clone()], ..Scope::default() });
        let input = match &insert.source {
            None => self.insert_defaults(table, source)?,
            Some(query) => match plain_values(query) {
                Some(values) => self.insert_values(table, source, columns.as_deref(), values, overriding)?,
                None => self.insert_select(table, source, columns.as_deref(), query, overriding)?,
            },
        };
        self.scopes.pop();
        // The names of the target, for ON CONFLICT and RETURNING.
        self.scopes.push(Scope::default());
        let (row, _) = self.table_source(table, None)?;
        if insert.table_alias.is_some() {
            let source = self.scope().sources.last_mut().expect("just added");
            source.name = target.name;
            source.schema = None;
        }
        let on_conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(clause)) => Some(self.on_conflict(table, row, clause)?),
            Some(ast::OnInsert::DuplicateKeyUpdate(_)) => return Err(Error::refused("ON DUPLICATE KEY UPDATE")),
            Some(_) => return Err(Error::refused("this ON clause of INSERT")),
        };
        let (returning, rows) = self.returning(row, insert.returning.as_deref())?;
        self.scopes.pop();
        let root = self.node(Node::Insert { input, source, table, on_conflict, returning })?;
        Ok(Rows { root, ..rows })
    }

    /// The columns that are named; none: all, in their order.
    fn insert_columns(&self, table: TableId, names: &[ast::ObjectName]) -> Result<Option<Vec<ColumnId>>, Error> {
        if names.is_empty() {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let names = parts(name)?;
            let [name] = names.as_slice() else { return Err(Error::refused("a field of a column")) };
            let column = self.target_column(table, name)?;
            if columns.contains(&column) {
                return Err(Error::new("42701", format!("column \"{name}\" specified more than once")));
            }
            columns.push(column);
        }
        Ok(Some(columns))
    }

    /// The columns that a row with this many values fills.
    fn filled(&self, table: TableId, columns: Option<&[ColumnId]>, width: usize) -> Result<Vec<ColumnId>, Error> {
        let all = self.catalog.table(table).columns.len();
        let columns = columns.map_or_else(
            || (0..u16::try_from(all.min(width)).expect("the number of columns is limited")).collect::<Vec<_>>(),
            <[ColumnId]>::to_vec,
        );
        let named = columns.len();
        if width > named {
            return Err(Error::new("42601", "INSERT has more expressions than target columns"));
        }
        if width < named {
            return Err(Error::new("42601", "INSERT has more target columns than expressions"));
        }
        Ok(columns)
    }

    /// A row of defaults, to be filled.
    fn defaults(&self, table: TableId) -> Vec<Expr> {
        let columns = &self.catalog.table(table).columns;
        columns.iter().map(|column| column.default.clone().unwrap_or(Expr::Const(Value::Null))).collect()
    }

    fn insert_defaults(&mut self, table: TableId, source: SlotId) -> Result<NodeId, Error> {
        let rows = vec![self.defaults(table)];
        self.node(Node::Values { slot: source, rows })
    }

    fn insert_values(
        &mut self,
        table: TableId,
        source: SlotId,
        columns: Option<&[ColumnId]>,
        values: &ast::Values,
        overriding: bool,
    ) -> Result<NodeId, Error> {
        let ast::Values { explicit_row, value_keyword, rows } = values;
        refuse_if(*explicit_row || *value_keyword, "VALUE, ROW")?;
        self.clause("VALUES");
        let width = rows.first().map_or(0, |row| row.content.len());
        let mut lists = Vec::with_capacity(rows.len());
        for row in rows {
            if row.content.len() != width {
                return Err(Error::new("42601", "VALUES lists must all be the same length"));
            }
            let filled = self.filled(table, columns, width)?;
            let mut list = self.defaults(table);
            for (column, expr) in filled.into_iter().zip(&row.content) {
                if is_default(expr) {
                    continue;
                }
                self.check_identity(table, column, overriding)?;
                let value = self.expr(expr)?;
                list[usize::from(column)] = self.stored(table, column, value)?;
            }
            lists.push(list);
        }
        self.node(Node::Values { slot: source, rows: lists })
    }

    fn check_identity(&self, table: TableId, column: ColumnId, overriding: bool) -> Result<(), Error> {
        let def = &self.catalog.table(table).columns[usize::from(column)];
        if def.generated.is_some() || (def.identity_always && !overriding) {
            let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", def.name);
            return Err(Error::new("428C9", message));
        }
        Ok(())
    }

    fn insert_select(
        &mut self,
        table: TableId,
        source: SlotId,
        columns: Option<&[ColumnId]>,
        query: &ast::Query,
        overriding: bool,
    ) -> Result<NodeId, Error> {
        let def = self.catalog.table(table).clone();
        let expect: Vec<Type> = match columns {
            Some(columns) => columns.iter().map(|column| def.columns[usize::from(*column)].ty).collect(),
            None => def.columns.iter().map(|column| column.ty).collect(),
        };
        self.scopes.push(Scope::default());
        let rows = self.query(query, Some(&expect));
        self.scopes.pop();
        let rows = rows?;
        let filled = self.filled(table, columns, rows.columns.len())?;
        let mut exprs = self.defaults(table);
        for (place, (column, (_, ty))) in filled.into_iter().zip(&rows.columns).enumerate() {
            self.check_identity(table, column, overriding)?;
            let value = typed_column(rows.slot, place, *ty);
            exprs[usize::from(column)] = self.stored(table, column, value)?;
        }
        self.node(Node::Project { input: rows.root, slot: source, exprs })
    }

    /// The source `excluded` of ON CONFLICT.
    pub(super) fn excluded(&mut self, table: TableId) -> Result<(), Error> {
        let def = self.catalog.table(table).clone();
        self.add_source(Source {
            name: "excluded".into(),
            schema: None,
            slot: crate::plan::EXCLUDED,
            columns: def.columns.iter().map(|column| (column.name.clone(), column.ty)).collect(),
            table: None,
            partial: false,
        })
    }
}

/// VALUES without anything around them: their DEFAULTs and untyped literals are the target's.
fn plain_values(query: &ast::Query) -> Option<&ast::Values> {
    match &*query.body {
        SetExpr::Values(values) if query.with.is_none() && super::query::is_bare(query) => Some(values),
        _ => None,
    }
}

fn plain_insert(insert: &ast::Insert) -> Result<(), Error> {
    let ast::Insert {
        insert_token: _,
        optimizer_hints,
        or,
        ignore,
        into,
        table: _,
        table_alias: _,
        columns: _,
        by_name,
        overwrite,
        source: _,
        assignments,
        partitioned,
        after_columns,
        overriding: _,
        has_table_keyword,
        on: _,
        returning: _,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    refuse_if(!optimizer_hints.is_empty(), "optimizer hints")?;
    refuse_if(or.is_some() || *ignore || *replace_into, "INSERT OR, INSERT IGNORE, REPLACE")?;
    refuse_if(!into || *overwrite || *has_table_keyword, "INSERT without INTO, INSERT OVERWRITE, INSERT TABLE")?;
    refuse_if(*by_name || !assignments.is_empty(), "INSERT BY NAME, INSERT SET")?;
    refuse_if(partitioned.is_some() || !after_columns.is_empty(), "PARTITION")?;
    refuse_if(
        output.is_some() || priority.is_some() || insert_alias.is_some(),
        "OUTPUT, a priority or a row alias in INSERT",
    )?;
    refuse_if(settings.is_some() || format_clause.is_some(), "SETTINGS, FORMAT")?;
    let several = multi_table_insert_type.is_some()
        || !multi_table_into_clauses.is_empty()
        || !multi_table_when_clauses.is_empty()
        || multi_table_else_clause.is_some();
    refuse_if(several, "INSERT into several tables")
}
