//! One SELECT: its clauses in the order in which they work.

use smol_str::SmolStr;

use sqlparser::ast::{self, GroupByExpr, SelectItem, SelectItemQualifiedWildcardKind};

use super::coerce::{Cast, UNKNOWN};
use super::from::RowLock;
use super::join::{conjuncts, inner_conditions, outer_joins};
use super::name::result_name;
use super::scope::{Typed, ident, parts, typed_column};
use super::{Builder, Columns, Rows, limit_targets, operator, refuse_if, visit};
use crate::error::Error;
use crate::plan::{Expr, LockedAgain, Node, NodeId, RowLockTarget, SlotId, SortKey};
use crate::types::{Type, Value};

/// The clauses around a SELECT that belong to its query.
pub(super) struct Around<'a> {
    pub(super) order: &'a [ast::OrderByExpr],
    pub(super) locks: Vec<RowLock>,
    pub(super) limit: Option<&'a ast::Expr>,
    pub(super) offset: Option<&'a ast::Expr>,
    /// What untyped results become, by place; none: text.
    pub(super) expect: Option<&'a [Type]>,
}

/// The row locks of a SELECT.
struct Locks {
    targets: Vec<RowLockTarget>,
    /// What a row must pass again after it has changed.
    again: Vec<Expr>,
    /// See [`LockedAgain`].
    missing: Vec<(Expr, Vec<SlotId>)>,
}

/// A result with its name.
pub(super) type Item = (SmolStr, Typed);

impl Builder<'_> {
    pub(super) fn select(&mut self, select: &ast::Select, around: &Around<'_>) -> Result<Rows, Error> {
        let clauses = plain_select(select)?;
        refuse_locks(select, around)?;
        let items = self.from(&select.from, &around.locks)?;
        // The order in which errors are found. Source: PostgreSQL, analyze.c, `transformSelectStmt`.
        self.scope().aggregates = Some(Vec::new());
        self.clause("SELECT");
        let mut results = self.results(&select.projection)?;
        for (place, (_, value)) in results.iter_mut().enumerate() {
            *value = self.settle_result(value.clone(), place, around.expect)?;
        }
        let aggregates = self.scope().aggregates.take();
        let mut quals = Vec::new();
        if let Some(condition) = &select.selection {
            quals = self.condition(condition)?;
        }
        self.scope().aggregates = aggregates;
        let mut again = quals.clone();
        for item in &items {
            inner_conditions(item, &mut again);
        }

        let mut order = self.order(around.order, &results)?;
        let mut having = None;
        if let Some(condition) = &select.having {
            self.clause("HAVING");
            let condition = self.expr(condition)?;
            having = Some(self.boolean(condition, "HAVING")?);
        }
        let keys = self.group_keys(clauses.group, &results)?;
        let mut distinct_on = self.distinct_on(clauses.distinct_on, &results, &mut order)?;
        let grouped = !keys.is_empty() || having.is_some() || self.scope().aggregate_slot.is_some();
        let mut missing = Vec::new();
        for item in &items {
            outer_joins(item, &mut missing);
        }

        let mut input = self.plan_from(items, quals)?;
        if grouped {
            if let Some(lock) = around.locks.first() {
                let message = format!("{} is not allowed with aggregate functions", lock.words);
                return Err(Error::new("0A000", message));
            }
            let mut exprs: Vec<&mut Expr> = results.iter_mut().map(|(_, value)| &mut value.expr).collect();
            exprs.extend(order.iter_mut().map(|key| &mut key.expr));
            exprs.extend(having.as_mut());
            exprs.extend(&mut distinct_on);
            refuse_if(self.scope().window.is_some(), "a window function beside GROUP BY and aggregates")?;
            refuse_if(self.scope().series.is_some(), "a function that gives rows beside GROUP BY and aggregates")?;
            input = self.group(input, keys, &mut exprs)?;
            input = self.filtered(input, having.into_iter().collect())?;
        }
        if let (Some(lock), true) = (around.locks.first(), self.scope().window.is_some()) {
            return Err(Error::new("0A000", format!("{} is not allowed with window functions", lock.words)));
        }
        let slots = self.slots_of_rows();
        input = self.with_window(input, slots)?;
        let targets = self.lock_targets(&around.locks)?;
        self.check_nullable(&targets, &missing, &again, &around.locks)?;
        let locks = Locks { targets, again, missing };
        self.above(input, results, order, (clauses.distinct, distinct_on), locks, around)
    }

    /// A WHERE condition's terms.
    pub(super) fn condition(&mut self, condition: &ast::Expr) -> Result<Vec<Expr>, Error> {
        self.clause("WHERE");
        let condition = self.expr(condition)?;
        let condition = self.boolean(condition, "WHERE")?;
        Ok(match condition {
            Expr::Const(Value::Bool(true)) => Vec::new(),
            condition => conjuncts(condition),
        })
    }

    /// Sort, row locks, results, DISTINCT and LIMIT, above the rows of FROM.
    fn above(
        &mut self,
        mut input: NodeId,
        results: Vec<Item>,
        mut order: Vec<SortKey>,
        (distinct, distinct_on): (bool, Vec<Expr>),
        locks: Locks,
        around: &Around<'_>,
    ) -> Result<Rows, Error> {
        let mut slots = self.slots_of_rows();
        slots.extend(self.scope().window.as_ref().map(|window| window.slot));
        let slot = self.slot();
        let columns: Columns = results.iter().map(|(name, value)| (name.clone(), value.ty)).collect();
        let types: Vec<Type> = results.iter().map(|(_, value)| value.ty).collect();
        let exprs: Vec<Expr> = results.into_iter().map(|(_, value)| value.expr).collect();
        // What must not be evaluated twice is evaluated before it is sorted by.
        let series = self.scope().series.take();
        refuse_if(series.is_some() && !locks.targets.is_empty(), "a row lock beside a function that gives rows")?;
        let reads_series =
            |key: &SortKey| series.is_some_and(|(slot, _)| visit::slots(&key.expr, &self.nodes).contains(&slot));
        let sorts_series = order.iter().any(reads_series);
        let early = distinct
            || !distinct_on.is_empty()
            || order.iter().any(|key| visit::is_volatile(&key.expr) || visit::has_subquery(&key.expr));
        if let Some(series) = series.filter(|_| early || sorts_series) {
            input = self.with_series(input, series)?;
            slots.push(series.0);
        }
        if early {
            refuse_if(!locks.targets.is_empty(), "a row lock with ORDER BY of a subquery or of a volatile function")?;
            for key in &mut order {
                if let Some(place) = exprs.iter().position(|expr| *expr == key.expr) {
                    key.expr = typed_column(slot, place, types[place]).expr;
                } else if distinct {
                    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return Err(Error::new("42P10", message));
                }
            }
            input = self.node(Node::Project { input, slot, exprs: exprs.clone() })?;
            slots = if distinct { vec![slot] } else { slots.into_iter().chain([slot]).collect() };
        }
        if distinct {
            types.iter().try_for_each(|ty| operator::groupable(*ty))?;
            input = self.node(Node::Distinct { input, slot })?;
        }
        if !order.is_empty() {
            input = self.node(Node::Sort { input, slots, keys: order })?;
        }
        if !distinct_on.is_empty() {
            let on = self.slot();
            input = self.node(Node::Project { input, slot: on, exprs: distinct_on })?;
            input = self.node(Node::Distinct { input, slot: on })?;
        }
        if let Some(series) = series.filter(|_| !early && !sorts_series) {
            input = self.with_series(input, series)?;
        }
        if !locks.targets.is_empty() {
            // PostgreSQL evaluates it below the lock, and so before a wait; this plan evaluates it above.
            if exprs.iter().any(visit::is_volatile) {
                return Err(Error::refused("a function of the server in the select list of a query that locks rows"));
            }
            input = self.lock_rows(input, locks)?;
        }
        input = self.limited(input, around.limit, around.offset)?;
        if !early {
            input = self.node(Node::Project { input, slot, exprs })?;
        }
        Ok(Rows { root: input, slot, columns })
    }

    /// The slots that the rows of this level stand in.
    fn slots_of_rows(&mut self) -> Vec<SlotId> {
        let scope = self.scope();
        match scope.aggregate_slot {
            Some(slot) => vec![slot],
            None => scope.sources.iter().map(|source| source.slot).collect(),
        }
    }

    fn lock_rows(&mut self, input: NodeId, locks: Locks) -> Result<NodeId, Error> {
        let Locks { targets, again, missing } = locks;
        let mut slots: Vec<SlotId> = targets.iter().map(|target| target.slot).collect();
        slots.extend(missing.iter().flat_map(|(_, slots)| slots));
        let recheck = self.touching(&again, &slots);
        self.node(Node::LockRows { input, targets, again: LockedAgain { recheck, missing } })
    }

    /// Rows of the side of an outer join that can be missing cannot be locked; but PostgreSQL makes an inner join of one where a
    /// condition asks for them. Source: initsplan.c, `make_outerjoininfo`; prepjointree.c, `reduce_outer_joins`.
    fn check_nullable(
        &self,
        targets: &[RowLockTarget],
        missing: &[(Expr, Vec<SlotId>)],
        again: &[Expr],
        locks: &[RowLock],
    ) -> Result<(), Error> {
        for (_, nullable) in missing {
            let Some(target) = targets.iter().find(|target| nullable.contains(&target.slot)) else { continue };
            let asks = |condition| visit::slots(condition, &self.nodes).iter().any(|slot| nullable.contains(slot));
            refuse_if(again.iter().any(asks), "a row lock with LEFT JOIN, where a condition asks for the locked side")?;
            let lock = locks.iter().find(|lock| lock.strength == target.strength);
            let words = lock.map_or("FOR UPDATE", |lock| lock.words);
            let message = format!("{words} cannot be applied to the nullable side of an outer join");
            return Err(Error::new("0A000", message));
        }
        Ok(())
    }

    /// LIMIT and OFFSET.
    pub(super) fn limited(
        &mut self,
        input: NodeId,
        limit: Option<&ast::Expr>,
        offset: Option<&ast::Expr>,
    ) -> Result<NodeId, Error> {
        let is_all = |expr: &&ast::Expr| !matches!(expr, ast::Expr::Value(value) if value.value == ast::Value::Null);
        let limit = self.count(limit.filter(is_all), "LIMIT")?;
        let offset = self.count(offset, "OFFSET")?;
        if limit.is_none() && offset.is_none() {
            return Ok(input);
        }
        self.node(Node::Limit { input, limit, offset })
    }

    fn count(&mut self, expr: Option<&ast::Expr>, clause: &'static str) -> Result<Option<Expr>, Error> {
        let Some(expr) = expr else { return Ok(None) };
        self.scope().aggregates = None;
        self.clause(clause);
        let value = self.expr(expr)?;
        let count = self.row_count(value, clause)?;
        let own: Vec<SlotId> = self.scope().sources.iter().map(|source| source.slot).collect();
        if visit::slots(&count, &self.nodes).iter().any(|slot| own.contains(slot)) {
            return Err(Error::new("42P10", format!("argument of {clause} must not contain variables")));
        }
        Ok(Some(count))
    }

    /// An untyped result becomes what is expected of it.
    pub(super) fn settle_result(
        &mut self,
        value: Typed,
        place: usize,
        expect: Option<&[Type]>,
    ) -> Result<Typed, Error> {
        match expect.and_then(|expect| expect.get(place)) {
            Some(ty) if value.ty == UNKNOWN => {
                let expr = self.try_coerce(value, *ty, Cast::Assignment)?;
                Ok(Typed { expr: expr.expect("an untyped value can become anything"), ty: *ty })
            }
            _ => self.settle(value),
        }
    }

    /// A list of results: names and values, `*` written out.
    pub(super) fn results(&mut self, list: &[SelectItem]) -> Result<Vec<Item>, Error> {
        let mut results = Vec::new();
        for item in list {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let value = self.result(expr)?;
                    results.push((result_name(expr), value));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let value = self.result(expr)?;
                    results.push((ident(alias), value));
                }
                SelectItem::ExprWithAliases { .. } => return Err(Error::refused("several aliases of one expression")),
                SelectItem::Wildcard(options) => {
                    plain_wildcard(options)?;
                    let scope = self.scope();
                    if scope.sources.is_empty() {
                        return Err(Error::new("42601", "SELECT * with no tables specified is not valid"));
                    }
                    refuse_if(scope.sources.iter().any(|source| source.partial), "* of a system view")?;
                    scope.each_column(0, &mut |name, value| results.push((name.clone(), value)));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    plain_wildcard(options)?;
                    let names = parts(name)?;
                    let source = match names.as_slice() {
                        [name] => self.source(None, name)?,
                        [schema, name] => self.source(Some(schema), name)?,
                        _ => return Err(Error::refused(format!("the name {name}"))),
                    };
                    refuse_if(source.partial, "* of a system view")?;
                    results.extend(all_columns(source.slot, &source.columns));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => {
                    return Err(Error::refused("* of an expression"));
                }
            }
        }
        limit_targets(results.len())?;
        Ok(results)
    }

    /// ORDER BY: a name is a result's first, an input column's next; a number is a result's place.
    fn order(&mut self, order: &[ast::OrderByExpr], results: &[Item]) -> Result<Vec<SortKey>, Error> {
        self.clause("ORDER BY");
        order.iter().map(|key| self.sort_key(key, Some(results))).collect()
    }

    pub(super) fn sort_key(&mut self, key: &ast::OrderByExpr, results: Option<&[Item]>) -> Result<SortKey, Error> {
        let ast::OrderByExpr { expr, options: ast::OrderByOptions { sort, nulls_first }, with_fill } = key;
        refuse_if(with_fill.is_some(), "WITH FILL")?;
        let descending = match sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return Err(Error::refused("ORDER BY .. USING")),
        };
        let named = results.map(|results| named_result(expr, results, "ORDER BY")).transpose()?.flatten();
        let value = self.named_or(named, expr)?;
        operator::sortable(value.ty)?;
        Ok(SortKey { expr: value.expr, descending, nulls_first: nulls_first.unwrap_or(descending) })
    }

    /// The result that is named, or else an expression of its own.
    fn named_or(&mut self, named: Option<Typed>, expr: &ast::Expr) -> Result<Typed, Error> {
        if let Some(named) = named {
            return Ok(named);
        }
        let value = self.expr(expr)?;
        self.settle(value)
    }

    fn group_keys(&mut self, group: &[ast::Expr], results: &[Item]) -> Result<Vec<Expr>, Error> {
        self.clause("GROUP BY");
        let aggregates = self.scope().aggregates.take();
        let mut keys = Vec::new();
        for expr in group {
            // Here an input column goes before a result of the same name.
            let column = match expr {
                ast::Expr::Identifier(name) => self.column(&ident(name)).ok(),
                _ => None,
            };
            let named = if column.is_some() { column } else { named_result(expr, results, "GROUP BY")? };
            let value = self.named_or(named, expr)?;
            operator::groupable(value.ty)?;
            if self.scope().aggregate_slot.is_some_and(|slot| visit::slots(&value.expr, &self.nodes).contains(&slot)) {
                return Err(Error::new("42803", "aggregate functions are not allowed in GROUP BY"));
            }
            if !keys.contains(&value.expr) {
                keys.push(value.expr);
            }
        }
        self.scope().aggregates = aggregates;
        Ok(keys)
    }

    /// DISTINCT ON: rows are sorted by these, too. Source: PostgreSQL, `parse_clause.c`, `transformDistinctOnClause`.
    fn distinct_on(
        &mut self,
        exprs: &[ast::Expr],
        results: &[Item],
        order: &mut Vec<SortKey>,
    ) -> Result<Vec<Expr>, Error> {
        self.clause("DISTINCT ON");
        let mut on: Vec<Expr> = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let named = named_result(expr, results, "DISTINCT ON")?;
            let value = self.named_or(named, expr)?;
            operator::sortable(value.ty)?;
            refuse_if(
                visit::has_subquery(&value.expr) || visit::is_volatile(&value.expr),
                "DISTINCT ON of a subquery or of a volatile function",
            )?;
            if !on.contains(&value.expr) {
                on.push(value.expr);
            }
        }
        let first = order.iter().take_while(|key| on.contains(&key.expr)).count();
        let missing: Vec<&Expr> = on.iter().filter(|expr| !order.iter().any(|key| key.expr == **expr)).collect();
        let skips = first < order.len();
        if !on.is_empty() && skips && (!missing.is_empty() || order[first..].iter().any(|key| on.contains(&key.expr))) {
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            return Err(Error::new("42P10", message));
        }
        let keys: Vec<SortKey> = missing
            .into_iter()
            .map(|expr| SortKey { expr: expr.clone(), descending: false, nulls_first: false })
            .collect();
        order.extend(keys);
        Ok(on)
    }

    /// The sources that row lock clauses lock. The stronger of two that name one source counts.
    fn lock_targets(&mut self, locks: &[RowLock]) -> Result<Vec<RowLockTarget>, Error> {
        let mut targets: Vec<RowLockTarget> = Vec::new();
        for lock in locks {
            for name in &lock.of {
                let found = self.scope().sources.iter().find(|source| source.name == *name);
                let Some(source) = found else {
                    let message = format!("relation \"{name}\" in {} clause not found in FROM clause", lock.words);
                    return Err(Error::new("42P01", message));
                };
                refuse_if(source.table.is_none(), &format!("{} of a subquery, function or WITH query", lock.words))?;
            }
            for source in self.scope().sources.clone() {
                let named = lock.of.is_empty() || lock.of.contains(&source.name);
                let Some(table) = source.table.filter(|_| named) else { continue };
                match targets.iter_mut().find(|target| target.slot == source.slot) {
                    Some(target) => {
                        target.strength = target.strength.max(lock.strength);
                        refuse_if(target.wait != lock.wait, "two row lock clauses of one table that wait differently")?;
                    }
                    None => targets.push(RowLockTarget {
                        slot: source.slot,
                        table,
                        strength: lock.strength,
                        wait: lock.wait,
                    }),
                }
            }
        }
        Ok(targets)
    }
}

fn all_columns(slot: SlotId, columns: &Columns) -> Vec<Item> {
    columns.iter().enumerate().map(|(place, (name, ty))| (name.clone(), typed_column(slot, place, *ty))).collect()
}

/// The result that an ORDER BY or GROUP BY item names by its alias or its place.
fn named_result(expr: &ast::Expr, results: &[Item], clause: &str) -> Result<Option<Typed>, Error> {
    // Parentheses leave no trace, and a negative number is a number. Source: gram.y, `doNegate`.
    if let Some(digits) = super::expr::signed_number(expr, false) {
        if digits.trim_start_matches('-').parse::<i32>().is_err() {
            return Err(Error::new("42601", format!("non-integer constant in {clause}")));
        }
        let place = digits.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
        let found = place.and_then(|place| results.get(place)).map(|(_, value)| value.clone());
        let message = || format!("{clause} position {digits} is not in select list");
        return found.map(Some).ok_or_else(|| Error::new("42P10", message()));
    }
    match unnested(expr) {
        ast::Expr::Identifier(name) => {
            let name = ident(name);
            let mut found = results.iter().filter(|(other, _)| *other == name);
            let first = found.next();
            if first.is_some_and(|(_, first)| found.any(|(_, other)| other.expr != first.expr)) {
                return Err(Error::new("42702", format!("{clause} \"{name}\" is ambiguous")));
            }
            Ok(first.map(|(_, value)| value.clone()))
        }
        ast::Expr::Value(_) => Err(Error::new("42601", format!("non-integer constant in {clause}"))),
        _ => Ok(None),
    }
}

fn unnested(mut expr: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// What is left of a SELECT once its unsupported clauses are refused.
struct Clauses<'a> {
    distinct: bool,
    distinct_on: &'a [ast::Expr],
    group: &'a [ast::Expr],
}

fn plain_select(select: &ast::Select) -> Result<Clauses<'_>, Error> {
    let ast::Select {
        select_token: _,
        optimizer_hints,
        distinct,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from: _,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    refuse_if(!optimizer_hints.is_empty(), "optimizer hints")?;
    refuse_if(select_modifiers.is_some(), "SELECT modifiers")?;
    refuse_if(top.is_some(), "TOP")?;
    refuse_if(exclude.is_some(), "EXCLUDE")?;
    refuse_if(into.is_some(), "SELECT INTO")?;
    refuse_if(!lateral_views.is_empty(), "LATERAL VIEW")?;
    refuse_if(prewhere.is_some(), "PREWHERE")?;
    refuse_if(!connect_by.is_empty(), "CONNECT BY")?;
    refuse_if(
        !cluster_by.is_empty() || !distribute_by.is_empty() || !sort_by.is_empty(),
        "CLUSTER BY, DISTRIBUTE BY, SORT BY",
    )?;
    refuse_if(!named_window.is_empty(), "WINDOW")?;
    refuse_if(qualify.is_some(), "QUALIFY")?;
    refuse_if(value_table_mode.is_some(), "SELECT AS VALUE, SELECT AS STRUCT")?;
    refuse_if(*flavor != ast::SelectFlavor::Standard, "FROM before SELECT")?;
    let (distinct, distinct_on) = match distinct {
        None | Some(ast::Distinct::All) => (false, &[][..]),
        Some(ast::Distinct::Distinct) => (true, &[][..]),
        Some(ast::Distinct::On(exprs)) => (false, exprs.as_slice()),
    };
    let GroupByExpr::Expressions(group, modifiers) = group_by else { return Err(Error::refused("GROUP BY ALL")) };
    refuse_if(!modifiers.is_empty(), "ROLLUP, CUBE, GROUPING SETS")?;
    Ok(Clauses { distinct, distinct_on, group })
}

/// Row locks need rows that are those of tables. PostgreSQL refuses these too, with the same code.
fn refuse_locks(select: &ast::Select, around: &Around<'_>) -> Result<(), Error> {
    let Some(lock) = around.locks.first() else { return Ok(()) };
    let not_allowed = |clause: &str| Error::new("0A000", format!("{} is not allowed with {clause}", lock.words));
    if matches!(select.distinct, Some(ast::Distinct::Distinct | ast::Distinct::On(_))) {
        return Err(not_allowed("DISTINCT clause"));
    }
    if matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if !keys.is_empty()) {
        return Err(not_allowed("GROUP BY clause"));
    }
    if select.having.is_some() {
        return Err(not_allowed("HAVING clause"));
    }
    Ok(())
}

fn plain_wildcard(options: &ast::WildcardAdditionalOptions) -> Result<(), Error> {
    let ast::WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    let any = opt_ilike.is_some()
        || opt_exclude.is_some()
        || opt_except.is_some()
        || opt_replace.is_some()
        || opt_rename.is_some()
        || opt_alias.is_some();
    refuse_if(any, "options of *")
}
