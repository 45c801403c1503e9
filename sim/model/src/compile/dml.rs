//! UPDATE and DELETE, and RETURNING.

use sqlparser::ast::{self, FromTable, SelectItem, TableFactor, TableWithJoins, UpdateTableFromKind};

use super::coerce::{Cast, fitted};
use super::join::{From, Leaf, inner_conditions};
use super::scope::{ident, parts};
use super::{Builder, Columns, Rows, refuse_if};
use crate::catalog::TableId;
use crate::error::Error;
use crate::plan::{ColumnId, Expr, Node, Returning, SlotId, TableLockMode};
use crate::types::text::type_name;

impl Builder<'_> {
    pub(super) fn update(&mut self, update: &ast::Update) -> Result<Rows, Error> {
        let ast::Update {
            update_token: _,
            optimizer_hints,
            table,
            on_cluster,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
            settings,
        } = update;
        refuse_if(!optimizer_hints.is_empty(), "optimizer hints")?;
        refuse_if(on_cluster.is_some() || settings.is_some(), "ON CLUSTER, SETTINGS")?;
        refuse_if(output.is_some() || or.is_some(), "OUTPUT, UPDATE OR")?;
        refuse_if(!order_by.is_empty() || limit.is_some(), "ORDER BY and LIMIT in UPDATE")?;
        let TableWithJoins { relation, joins } = table;
        refuse_if(!joins.is_empty(), "UPDATE of a join")?;
        let (table, target) = self.target(relation)?;
        let from = match from {
            None => &[][..],
            Some(UpdateTableFromKind::AfterSet(items)) => items,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Error::refused("UPDATE .. FROM before SET")),
        };
        let others = self.from(from, &[])?;
        self.clause("UPDATE");
        let set = self.assignments(table, assignments)?;
        let (input, recheck) = self.target_rows(table, target, others, selection.as_ref())?;
        let (returning, rows) = self.returning(target, returning.as_deref())?;
        let root = self.node(Node::Update { input, target, table, set, recheck, returning })?;
        Ok(Rows { root, ..rows })
    }

    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<Rows, Error> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints,
            tables,
            from,
            on_cluster,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
            settings,
        } = delete;
        refuse_if(!optimizer_hints.is_empty(), "optimizer hints")?;
        refuse_if(on_cluster.is_some() || settings.is_some() || output.is_some(), "ON CLUSTER, SETTINGS, OUTPUT")?;
        refuse_if(!tables.is_empty(), "DELETE with a list of tables")?;
        refuse_if(!order_by.is_empty() || limit.is_some(), "ORDER BY and LIMIT in DELETE")?;
        let FromTable::WithFromKeyword(items) = from else {
            return Err(Error::refused("DELETE without FROM"));
        };
        let [TableWithJoins { relation, joins }] = items.as_slice() else {
            return Err(Error::refused("DELETE FROM several tables"));
        };
        refuse_if(!joins.is_empty(), "DELETE FROM a join")?;
        let (table, target) = self.target(relation)?;
        let others = self.from(using.as_deref().unwrap_or(&[]), &[])?;
        let (input, recheck) = self.target_rows(table, target, others, selection.as_ref())?;
        let (returning, rows) = self.returning(target, returning.as_deref())?;
        let root = self.node(Node::Delete { input, target, table, recheck, returning })?;
        Ok(Rows { root, ..rows })
    }

    /// The table that is changed, and its slot.
    fn target(&mut self, factor: &TableFactor) -> Result<(TableId, SlotId), Error> {
        let TableFactor::Table { name, alias, args, .. } = factor else {
            return Err(Error::refused("a change of anything but a table"));
        };
        super::from::plain_table(factor)?;
        refuse_if(args.is_some(), "a change of a function")?;
        let table = self.table(name)?;
        let (slot, _) = self.table_source(table, alias.as_ref())?;
        self.lock(table, TableLockMode::RowExclusive);
        Ok((table, slot))
    }

    /// The rows to change, and the conditions that a row must pass again once it has changed.
    fn target_rows(
        &mut self,
        table: TableId,
        target: SlotId,
        others: Vec<From>,
        selection: Option<&ast::Expr>,
    ) -> Result<(u16, Vec<Expr>), Error> {
        let quals = match selection {
            Some(condition) => self.condition(condition)?,
            None => Vec::new(),
        };
        let mut again = quals.clone();
        for item in &others {
            inner_conditions(item, &mut again);
        }
        let recheck = self.touching(&again, &[target]);
        let mut items = vec![From::Leaf(target, Leaf::Table(table))];
        items.extend(others);
        Ok((self.plan_from(items, quals)?, recheck))
    }

    /// SET: each column once, each value of its column's type.
    pub(super) fn assignments(
        &mut self,
        table: TableId,
        assignments: &[ast::Assignment],
    ) -> Result<Vec<(ColumnId, Expr)>, Error> {
        let mut set: Vec<(ColumnId, Expr)> = Vec::with_capacity(assignments.len());
        for ast::Assignment { target, value } in assignments {
            let pairs: Vec<(&ast::ObjectName, &ast::Expr)> = match (target, value) {
                (ast::AssignmentTarget::ColumnName(name), value) => vec![(name, value)],
                (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                    names.iter().zip(values).collect()
                }
                (ast::AssignmentTarget::Tuple(_), ast::Expr::Tuple(_)) => {
                    return Err(Error::new("42601", "number of columns does not match number of values"));
                }
                (ast::AssignmentTarget::Tuple(_), _) => return Err(Error::refused("SET (..) = a subquery")),
            };
            for (name, value) in pairs {
                let names = parts(name)?;
                let [name] = names.as_slice() else {
                    return Err(Error::refused(format!("SET {name}: a field of a column")));
                };
                let column = self.target_column(table, name)?;
                if set.iter().any(|(other, _)| *other == column) {
                    return Err(Error::new("42601", format!("multiple assignments to same column \"{name}\"")));
                }
                let value = self.column_value(table, column, value)?;
                set.push((column, value));
            }
        }
        Ok(set)
    }

    /// A column that is written to.
    pub(super) fn target_column(&self, table: TableId, name: &str) -> Result<ColumnId, Error> {
        let def = self.catalog.table(table);
        let message = || format!("column \"{name}\" of relation \"{}\" does not exist", def.name);
        def.column(name).ok_or_else(|| Error::new("42703", message()))
    }

    /// A value for a column of a table, DEFAULT among them.
    pub(super) fn column_value(&mut self, table: TableId, column: ColumnId, value: &ast::Expr) -> Result<Expr, Error> {
        let def = self.catalog.table(table).columns[usize::from(column)].clone();
        if is_default(value) {
            return Ok(def.default.unwrap_or(Expr::Const(crate::types::Value::Null)));
        }
        if def.identity_always || def.generated.is_some() {
            let message = format!("column \"{}\" can only be updated to DEFAULT", def.name);
            return Err(Error::new("428C9", message));
        }
        let value = self.expr(value)?;
        self.stored(table, column, value)
    }

    /// A value as the column's type.
    pub(super) fn stored(
        &mut self,
        table: TableId,
        column: ColumnId,
        value: super::scope::Typed,
    ) -> Result<Expr, Error> {
        let def = self.catalog.table(table).columns[usize::from(column)].clone();
        let from = value.ty;
        let found = self.try_coerce(value, def.ty, Cast::Assignment)?;
        let message = || {
            let (to, from) = (type_name(def.ty), type_name(from));
            format!("column \"{}\" is of type {to} but expression is of type {from}", def.name)
        };
        let found = found.ok_or_else(|| Error::new("42804", message()))?;
        Ok(fitted(found, def.modifier, false))
    }

    /// RETURNING, and the rows that the statement gives; `row` is the slot of the changed row.
    pub(super) fn returning(
        &mut self,
        row: SlotId,
        list: Option<&[SelectItem]>,
    ) -> Result<(Option<Returning>, Rows), Error> {
        let slot = self.slot();
        let Some(list) = list else { return Ok((None, Rows { root: 0, slot, columns: Vec::new() })) };
        self.scope().aggregates = None;
        self.clause("RETURNING");
        let results = self.results(list)?;
        let (mut columns, mut exprs) = (Columns::new(), Vec::new());
        for (name, value) in results {
            let value = self.settle(value)?;
            columns.push((name, value.ty));
            exprs.push(value.expr);
        }
        Ok((Some(Returning { row, slot, exprs }), Rows { root: 0, slot, columns }))
    }
}

/// The word DEFAULT, which the parser takes for a column.
pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(name) if name.quote_style.is_none() && *ident(name) == *"default")
}
