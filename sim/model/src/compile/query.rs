//! Queries: WITH, VALUES, UNION ALL, and what stands around a SELECT.

use std::collections::BTreeSet;

use sqlparser::ast::{self, SetExpr, Statement};

use super::from::RowLock;
use super::scope::{CteName, Scope, ident, typed_column};
use super::select::Around;
use super::{Builder, Columns, Rows, limit_targets, refuse_if, visit};
use crate::error::Error;
use crate::parse;
use crate::plan::{Cte, CteId, Expr, Node, SortKey, WaitPolicy};
use crate::types::Type;

impl Builder<'_> {
    /// A statement that is a query, or a data-modifying statement behind WITH.
    pub(super) fn top_query(&mut self, query: &ast::Query) -> Result<Rows, Error> {
        let names = self.cte_names.len();
        self.with(query.with.as_ref(), true)?;
        let rows = match &*query.body {
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                refuse_if(!is_bare(query), "clauses of a query behind INSERT, UPDATE and DELETE")?;
                self.modification(statement)
            }
            _ => self.body(query, None),
        };
        self.cte_names.truncate(names);
        rows
    }

    /// A query that is part of another.
    pub(super) fn query(&mut self, query: &ast::Query, expect: Option<&[Type]>) -> Result<Rows, Error> {
        let names = self.cte_names.len();
        self.with(query.with.as_ref(), false)?;
        let rows = self.body(query, expect);
        self.cte_names.truncate(names);
        rows
    }

    fn modification(&mut self, statement: &Statement) -> Result<Rows, Error> {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            other => Err(Error::refused(format!("{other}"))),
        }
    }

    fn with(&mut self, with: Option<&ast::With>, top: bool) -> Result<(), Error> {
        let Some(ast::With { with_token: _, recursive, cte_tables }) = with else { return Ok(()) };
        refuse_if(*recursive, "WITH RECURSIVE")?;
        let first = self.cte_names.len();
        for cte in cte_tables {
            self.nested(|builder| builder.with_query(cte, top, first))?;
        }
        Ok(())
    }

    fn with_query(&mut self, cte: &ast::Cte, top: bool, first: usize) -> Result<(), Error> {
        // Materialised or not: under one snapshot both give the same rows, so all are computed once.
        let ast::Cte { alias, query, from, materialized: _, closing_paren_token: _ } = cte;
        refuse_if(from.is_some(), "FROM in WITH")?;
        let ast::TableAlias { explicit: _, name, columns: aliases, at } = alias;
        refuse_if(at.is_some(), "AT in an alias")?;
        let name = ident(name);
        if self.cte_names.iter().skip(first).any(|other| other.name == name) {
            return Err(Error::new("42712", format!("WITH query name \"{name}\" specified more than once")));
        }
        let slots = self.slots;
        let modifies = matches!(&*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_));
        if modifies && !top {
            let message = "WITH clause containing a data-modifying statement must be at the top level";
            return Err(Error::new("0A000", message));
        }
        self.scopes.push(Scope::default());
        let rows = if modifies { self.top_query(query) } else { self.query(query, None) };
        self.scopes.pop();
        let mut rows = rows?;
        let mut read = BTreeSet::new();
        visit::collect_node(rows.root, &self.nodes, &mut read);
        refuse_if(read.iter().any(|slot| *slot < slots), "a WITH query that reads the query around it")?;
        if aliases.len() > rows.columns.len() {
            let (has, names) = (rows.columns.len(), aliases.len());
            let message = format!("WITH query \"{name}\" has {has} columns available but {names} columns specified");
            return Err(Error::new("42P10", message));
        }
        for (column, ast::TableAliasColumnDef { name, data_type }) in rows.columns.iter_mut().zip(aliases) {
            refuse_if(data_type.is_some(), "a column definition list")?;
            column.0 = ident(name);
        }
        let id = CteId::try_from(self.ctes.len()).map_err(|_| Error::refused("more than 65535 WITH queries"))?;
        let readable = !rows.columns.is_empty() || !modifies;
        self.ctes.push(Cte { root: rows.root, slots: readable.then_some(rows.slot).into_iter().collect(), modifies });
        self.cte_names.push(CteName { name, id, columns: rows.columns, readable });
        Ok(())
    }

    fn body(&mut self, query: &ast::Query, expect: Option<&[Type]>) -> Result<Rows, Error> {
        let ast::Query {
            with: _,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        refuse_if(for_clause.is_some(), "FOR XML, FOR JSON, FOR BROWSE")?;
        refuse_if(settings.is_some(), "SETTINGS")?;
        refuse_if(format_clause.is_some(), "FORMAT")?;
        refuse_if(!pipe_operators.is_empty(), "pipe operators")?;
        let order = order_of(order_by.as_ref())?;
        let (mut limit, offset) = limit_of(limit_clause.as_ref())?;
        if let Some(ast::Fetch { with_ties, percent, quantity }) = fetch {
            refuse_if(*with_ties || *percent || quantity.is_none(), "FETCH .. WITH TIES, PERCENT or without a count")?;
            limit = quantity.as_ref();
        }
        let locks = row_locks(locks)?;
        match &**body {
            SetExpr::Select(select) => self.select(select, &Around { order, locks, limit, offset, expect }),
            // `(SELECT ..)` alone; what stands around the parentheses works on its rows.
            SetExpr::Query(inner) => {
                let rows = self.nested(|builder| builder.query(inner, expect))?;
                refuse_if(!locks.is_empty(), "a row lock on a query in parentheses")?;
                self.around_rows(rows, order, limit, offset)
            }
            SetExpr::Values(values) => {
                refuse_if(!locks.is_empty(), "a row lock on VALUES")?;
                let rows = self.values(values, expect)?;
                self.around_rows(rows, order, limit, offset)
            }
            SetExpr::SetOperation { .. } => {
                no_locks(&locks)?;
                // PostgreSQL finds it wrong once it has found what it names.
                let plain = |key: &ast::OrderByExpr| matches!(key.expr, ast::Expr::Identifier(_) | ast::Expr::Value(_));
                refuse_if(!order.iter().all(plain), "an expression in ORDER BY behind UNION")?;
                let rows = self.set_operation(body, expect)?;
                self.around_rows(rows, order, limit, offset)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) => {
                Err(Error::refused("a data-modifying statement in a subquery"))
            }
            SetExpr::Merge(_) => Err(Error::refused("MERGE")),
            SetExpr::Table(_) => Err(Error::refused("TABLE as a query")),
        }
    }

    /// ORDER BY, LIMIT and OFFSET of rows that have their slot already: keys are results, by name or place.
    fn around_rows(
        &mut self,
        mut rows: Rows,
        order: &[ast::OrderByExpr],
        limit: Option<&ast::Expr>,
        offset: Option<&ast::Expr>,
    ) -> Result<Rows, Error> {
        let items: Vec<_> = rows
            .columns
            .iter()
            .enumerate()
            .map(|(place, (name, ty))| (name.clone(), typed_column(rows.slot, place, *ty)))
            .collect();
        self.clause("ORDER BY");
        let keys: Result<Vec<SortKey>, Error> = order.iter().map(|key| self.sort_key(key, Some(&items))).collect();
        let keys = keys?;
        if !keys.is_empty() {
            rows.root = self.node(Node::Sort { input: rows.root, slots: vec![rows.slot], keys })?;
        }
        rows.root = self.limited(rows.root, limit, offset)?;
        Ok(rows)
    }

    pub(super) fn values(&mut self, values: &ast::Values, expect: Option<&[Type]>) -> Result<Rows, Error> {
        let ast::Values { explicit_row, value_keyword, rows } = values;
        refuse_if(*explicit_row || *value_keyword, "VALUE, ROW")?;
        self.clause("VALUES");
        let width = rows.first().map_or(0, |row| row.content.len());
        limit_targets(width)?;
        let mut columns = vec![Vec::new(); width];
        for row in rows {
            if row.content.len() != width {
                return Err(Error::new("42601", "VALUES lists must all be the same length"));
            }
            for (column, expr) in columns.iter_mut().zip(&row.content) {
                column.push(self.expr(expr)?);
            }
        }
        let mut lists: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); rows.len()];
        let mut types: Columns = Vec::with_capacity(width);
        for (place, mut column) in columns.into_iter().enumerate() {
            if Self::all_unknown(&column) {
                for value in &mut column {
                    *value = self.settle_result(value.clone(), place, expect)?;
                }
            }
            let (exprs, ty) = self.common_type(column, "VALUES")?;
            for (list, expr) in lists.iter_mut().zip(exprs) {
                list.push(expr);
            }
            types.push((format!("column{}", place + 1).into(), ty));
        }
        let slot = self.slot();
        let root = self.node(Node::Values { slot, rows: lists })?;
        Ok(Rows { root, slot, columns: types })
    }
}

/// Whether nothing stands around a query's body; WITH is looked at elsewhere.
pub(super) fn is_bare(query: &ast::Query) -> bool {
    let ast::Query {
        with: _,
        body: _,
        order_by,
        limit_clause,
        fetch,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    order_by.is_none()
        && limit_clause.is_none()
        && fetch.is_none()
        && locks.is_empty()
        && for_clause.is_none()
        && settings.is_none()
        && format_clause.is_none()
        && pipe_operators.is_empty()
}

fn order_of(order: Option<&ast::OrderBy>) -> Result<&[ast::OrderByExpr], Error> {
    let Some(ast::OrderBy { kind, interpolate }) = order else { return Ok(&[]) };
    refuse_if(interpolate.is_some(), "INTERPOLATE")?;
    match kind {
        ast::OrderByKind::Expressions(keys) => Ok(keys),
        ast::OrderByKind::All(_) => Err(Error::refused("ORDER BY ALL")),
    }
}

type LimitOffset<'a> = (Option<&'a ast::Expr>, Option<&'a ast::Expr>);

fn limit_of(clause: Option<&ast::LimitClause>) -> Result<LimitOffset<'_>, Error> {
    match clause {
        None => Ok((None, None)),
        Some(ast::LimitClause::LimitOffset { limit, offset, limit_by }) => {
            refuse_if(!limit_by.is_empty(), "LIMIT BY")?;
            Ok((limit.as_ref(), offset.as_ref().map(|ast::Offset { value, rows: _ }| value)))
        }
        Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
            Err(Error::new("42601", "LIMIT #,# syntax is not supported"))
        }
    }
}

/// Rows of a set operation are no table's, nor are those of its parts.
pub(super) fn no_locks(locks: &[RowLock]) -> Result<(), Error> {
    let Some(lock) = locks.first() else { return Ok(()) };
    let message = format!("{} is not allowed with UNION/INTERSECT/EXCEPT", lock.words);
    Err(Error::new("0A000", message))
}

pub(super) fn row_locks(clauses: &[ast::LockClause]) -> Result<Vec<RowLock>, Error> {
    let mut locks = Vec::with_capacity(clauses.len());
    for ast::LockClause { lock_type: _, of, nonblock } in clauses {
        let marker = of.as_ref().and_then(parse::marker);
        let (words, strength, of) = marker.ok_or_else(|| Error::refused("this row lock clause"))?;
        let wait = match nonblock {
            None => WaitPolicy::Block,
            Some(ast::NonBlock::Nowait) => WaitPolicy::NoWait,
            Some(ast::NonBlock::SkipLocked) => WaitPolicy::SkipLocked,
        };
        locks.push(RowLock { words, strength, of: of.into_iter().map(ident).collect(), wait });
    }
    Ok(locks)
}
