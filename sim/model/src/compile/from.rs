//! FROM: each item becomes a source of names and a leaf or a join of the tree that [`super::join`] plans.

use smol_str::SmolStr;
use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};

use super::call::{function_name, plain_arg};
use super::coerce::{Cast, INT4, INT8, NUMERIC, UNKNOWN};
use super::join::{From, Leaf};
use super::scope::{Merged, Source, Typed, ident, qualified};
use super::{Builder, Columns, refuse_if};
use crate::catalog::{Relation, SequenceId, view_columns};
use crate::error::Error;
use crate::function::TableFunction;
use crate::plan::{CompareOp, Expr, RowLockStrength, TableLockMode, View};
use crate::types::{Scalar, Type};

/// A row lock clause of a query level.
#[derive(Clone, Debug)]
pub(super) struct RowLock {
    pub(super) words: &'static str,
    pub(super) strength: RowLockStrength,
    /// The sources that it names; none: all.
    pub(super) of: Vec<SmolStr>,
    pub(super) wait: crate::plan::WaitPolicy,
}

impl Builder<'_> {
    /// The items of FROM, from left to right.
    pub(super) fn from(&mut self, items: &[TableWithJoins], locks: &[RowLock]) -> Result<Vec<From>, Error> {
        items.iter().map(|item| self.nested(|builder| builder.joined(item, locks))).collect()
    }

    fn joined(&mut self, item: &TableWithJoins, locks: &[RowLock]) -> Result<From, Error> {
        let TableWithJoins { relation, joins } = item;
        let first = self.scope().sources.len();
        let mut tree = self.factor(relation, locks)?;
        for join in joins {
            let ast::Join { relation, global, join_operator } = join;
            refuse_if(*global, "GLOBAL JOIN")?;
            let middle = self.scope().sources.len();
            let mut right = self.factor(relation, locks)?;
            let (outer, constraint) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint) => (false, constraint),
                JoinOperator::Left(constraint)
                | JoinOperator::LeftOuter(constraint)
                | JoinOperator::Right(constraint)
                | JoinOperator::RightOuter(constraint) => (true, constraint),
                JoinOperator::FullOuter(_) => return Err(Error::refused("FULL JOIN")),
                _ => return Err(Error::refused("this kind of JOIN")),
            };
            let turned = matches!(join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_));
            let on = match constraint {
                JoinConstraint::Using(names) => {
                    let names = names.iter().map(using_name).collect::<Result<Vec<_>, Error>>()?;
                    self.join_using((first, middle), &names, (outer, turned))?
                }
                JoinConstraint::Natural => {
                    let names = self.common_names(first, middle);
                    self.join_using((first, middle), &names, (outer, turned))?
                }
                constraint => self.join_condition(constraint, first, outer, join_operator)?,
            };
            if turned {
                std::mem::swap(&mut tree, &mut right);
            }
            tree = From::Join { left: Box::new(tree), right: Box::new(right), outer, on };
        }
        Ok(tree)
    }

    fn join_condition(
        &mut self,
        constraint: &JoinConstraint,
        first: usize,
        outer: bool,
        operator: &JoinOperator,
    ) -> Result<Vec<Expr>, Error> {
        match constraint {
            JoinConstraint::On(condition) => {
                let scope = self.scope();
                let (visible, clause) = (scope.visible_from, scope.clause);
                scope.visible_from = first;
                scope.clause = "JOIN conditions";
                let condition = self.expr(condition);
                let scope = self.scope();
                scope.visible_from = visible;
                scope.clause = clause;
                let condition = self.boolean(condition?, "JOIN/ON")?;
                Ok(super::join::conjuncts(condition))
            }
            JoinConstraint::Using(_) | JoinConstraint::UsingAlias(..) | JoinConstraint::Natural => {
                Err(Error::refused("an alias of JOIN .. USING"))
            }
            JoinConstraint::None if outer || !matches!(operator, JoinOperator::CrossJoin(_)) => {
                Err(Error::refused("JOIN without ON"))
            }
            JoinConstraint::None => Ok(Vec::new()),
        }
    }

    /// The columns of both sides of a join, as they can be named without a table.
    fn sides(&mut self, (first, middle): (usize, usize)) -> [Vec<(SmolStr, Typed)>; 2] {
        let scope = self.scope();
        let (mut both, mut right) = (Vec::new(), Vec::new());
        scope.each_column(first, &mut |name, value| both.push((name.clone(), value)));
        scope.each_column(middle, &mut |name, value| right.push((name.clone(), value)));
        both.truncate(both.len() - right.len());
        [both, right]
    }

    /// NATURAL: the names that both sides have.
    fn common_names(&mut self, first: usize, middle: usize) -> Vec<SmolStr> {
        let [left, right] = self.sides((first, middle));
        let is_common = |name: &SmolStr| right.iter().any(|(other, _)| other == name);
        left.into_iter().map(|(name, _)| name).filter(is_common).collect()
    }

    /// USING: the conditions, and from now on each of these columns is one, that of the side that is never missing. Source: PostgreSQL,
    /// `parse_clause.c`, `transformFromClauseItem`.
    fn join_using(
        &mut self,
        (first, middle): (usize, usize),
        names: &[SmolStr],
        (outer, turned): (bool, bool),
    ) -> Result<Vec<Expr>, Error> {
        let mut sides = self.sides((first, middle));
        let (mut on, mut columns) = (Vec::new(), Vec::new());
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                let message = format!("column name \"{name}\" appears more than once in USING clause");
                return Err(Error::new("42701", message));
            }
            let left = take_common(&mut sides[0], name, "left")?;
            let right = take_common(&mut sides[1], name, "right")?;
            let (mut exprs, ty) = self.common_type(vec![left.clone(), right.clone()], "JOIN/USING")?;
            on.push(self.compare(CompareOp::Eq, left.clone(), right.clone())?.expr);
            // Of an inner join, that which needs no cast.
            let takes_right = turned || !outer && left.ty != ty && right.ty == ty;
            let expr = exprs.swap_remove(usize::from(takes_right));
            columns.push((name.clone(), Typed { expr, ty }));
        }
        columns.extend(sides.into_iter().flatten());
        let scope = self.scope();
        let end = scope.sources.len();
        scope.merged.retain(|merged| merged.first < first);
        scope.merged.push(Merged { first, end, columns });
        Ok(on)
    }

    fn factor(&mut self, factor: &TableFactor, locks: &[RowLock]) -> Result<From, Error> {
        match factor {
            TableFactor::Table { args: Some(args), name, alias, with_ordinality, .. } => {
                plain_table(factor)?;
                let ast::TableFunctionArgs { args, settings } = args;
                refuse_if(settings.is_some(), "SETTINGS")?;
                let args = args.iter().map(plain_arg).collect::<Result<Vec<_>, Error>>()?;
                self.table_function(&function_name(name)?, &args, *with_ordinality, alias.as_ref())
            }
            TableFactor::Table { name, alias, .. } => {
                plain_table(factor)?;
                self.named(name, alias.as_ref(), locks)
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                refuse_if(*lateral, "LATERAL subqueries")?;
                refuse_if(sample.is_some(), "TABLESAMPLE")?;
                refuse_if(locks.iter().any(|lock| lock.of.is_empty()), "a row lock on a subquery in FROM")?;
                self.derived(subquery, alias.as_ref())
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                let args = args.iter().map(plain_arg).collect::<Result<Vec<_>, Error>>()?;
                self.table_function(&function_name(name)?, &args, *with_ordinality, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality } => {
                refuse_if(*with_offset || with_offset_alias.is_some(), "UNNEST .. WITH OFFSET")?;
                let args: Vec<&ast::Expr> = array_exprs.iter().collect();
                self.table_function("unnest", &args, *with_ordinality, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                refuse_if(alias.is_some(), "an alias for a join")?;
                self.nested(|builder| builder.joined(table_with_joins, locks))
            }
            _ => Err(Error::refused("this item in FROM")),
        }
    }

    /// A table, a view or a WITH query.
    fn named(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        locks: &[RowLock],
    ) -> Result<From, Error> {
        let (schema, bare) = qualified(name)?;
        if schema.is_none()
            && let Some(cte) = self.cte_name(&bare).cloned()
        {
            if !cte.readable {
                let message = format!("WITH query \"{bare}\" does not have a RETURNING clause");
                return Err(Error::new("0A000", message));
            }
            let slot = self.slot();
            self.add_aliased(
                alias,
                Source { name: bare, schema: None, slot, columns: cte.columns, table: None, partial: false },
            )?;
            return Ok(From::Leaf(slot, Leaf::Cte(cte.id)));
        }
        if let Some(view) = view(schema.as_deref(), &bare) {
            let slot = self.slot();
            let columns = view_columns(view).iter().map(|(name, ty)| ((*name).into(), Type::Scalar(*ty))).collect();
            self.add_aliased(alias, Source { name: bare, schema, slot, columns, table: None, partial: true })?;
            return Ok(From::Leaf(slot, Leaf::View(view)));
        }
        match self.relation(name)? {
            Relation::Sequence(id) => return self.sequence_source(bare, schema, id, alias),
            Relation::View(id) => return self.view_source(id, alias, locks),
            Relation::Table(_) | Relation::Index(_) => {}
        }
        let table = self.table(name)?;
        let (slot, source) = self.table_source(table, alias)?;
        let locked = locks.iter().any(|lock| lock.of.is_empty() || lock.of.contains(&source));
        self.lock(table, if locked { TableLockMode::RowShare } else { TableLockMode::AccessShare });
        Ok(From::Leaf(slot, Leaf::Table(table)))
    }

    /// A sequence: one row.
    fn sequence_source(
        &mut self,
        name: SmolStr,
        schema: Option<SmolStr>,
        id: SequenceId,
        alias: Option<&ast::TableAlias>,
    ) -> Result<From, Error> {
        let (slot, view) = (self.slot(), View::Sequence(id));
        let columns = view_columns(view).iter().map(|(name, ty)| ((*name).into(), Type::Scalar(*ty))).collect();
        self.add_aliased(alias, Source { name, schema, slot, columns, table: None, partial: true })?;
        self.lock(id, TableLockMode::AccessShare);
        Ok(From::Leaf(slot, Leaf::View(view)))
    }

    /// Adds a table to the sources: its slot and its name.
    pub(super) fn table_source(
        &mut self,
        table: crate::catalog::TableId,
        alias: Option<&ast::TableAlias>,
    ) -> Result<(u16, SmolStr), Error> {
        let def = self.catalog.table(table).clone();
        self.saw_varchar(def.has_varchar());
        let slot = self.slot();
        let columns = def.columns.iter().map(|column| (column.name.clone(), column.ty)).collect();
        self.add_aliased(
            alias,
            Source {
                name: def.name.clone(),
                schema: Some(def.schema.clone()),
                slot,
                columns,
                table: Some(table),
                partial: false,
            },
        )?;
        let source = self.scope().sources.last().expect("just added");
        Ok((slot, source.name.clone()))
    }

    pub(super) fn add_aliased(&mut self, alias: Option<&ast::TableAlias>, mut source: Source) -> Result<(), Error> {
        if let Some(ast::TableAlias { explicit: _, name, columns, at }) = alias {
            refuse_if(at.is_some(), "AT in an alias")?;
            source.name = ident(name);
            source.schema = None;
            if columns.len() > source.columns.len() {
                let (has, names) = (source.columns.len(), columns.len());
                let message =
                    format!("table \"{}\" has {has} columns available but {names} columns specified", source.name);
                return Err(Error::new("42P10", message));
            }
            for (column, ast::TableAliasColumnDef { name, data_type }) in source.columns.iter_mut().zip(columns) {
                refuse_if(data_type.is_some(), "a column definition list")?;
                column.0 = ident(name);
            }
        }
        self.add_source(source)
    }

    fn derived(&mut self, query: &ast::Query, alias: Option<&ast::TableAlias>) -> Result<From, Error> {
        let Some(alias) = alias else {
            return Err(Error::new("42601", "subquery in FROM must have an alias"));
        };
        // It does not see the other items of this FROM.
        let outer = std::mem::take(self.scope());
        self.scope().hidden = outer.sources.iter().chain(&outer.hidden).cloned().collect();
        let rows = self.subquery(query);
        *self.scope() = outer;
        let rows = rows?;
        self.add_aliased(
            Some(alias),
            Source {
                name: ident(&alias.name),
                schema: None,
                slot: rows.slot,
                columns: rows.columns,
                table: None,
                partial: false,
            },
        )?;
        Ok(From::Leaf(rows.slot, Leaf::Node(rows.root)))
    }

    fn table_function(
        &mut self,
        name: &str,
        args: &[&ast::Expr],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
    ) -> Result<From, Error> {
        let clause = self.scope().clause;
        self.clause("functions in FROM");
        let (function, args, types) = match name {
            "unnest" => self.unnest(args)?,
            "generate_series" => self.generate_series(args)?,
            "pg_snapshot_xip" => self.snapshot_xip(args)?,
            _ => return Err(Error::refused(format!("the function {name} in FROM"))),
        };
        self.clause(clause);
        // A function of one column names it like its alias. Source: parse_relation.c, addRangeTableEntryForFunction.
        let single = types.len() == 1;
        let column: SmolStr = match alias {
            Some(alias) if single => ident(&alias.name),
            _ => name.into(),
        };
        let mut columns: Columns = types.into_iter().map(|ty| (column.clone(), ty)).collect();
        if ordinality {
            columns.push(("ordinality".into(), INT8));
        }
        let slot = self.slot();
        self.add_aliased(
            alias,
            Source { name: name.into(), schema: None, slot, columns, table: None, partial: false },
        )?;
        Ok(From::Leaf(slot, Leaf::Function { function, args, ordinality }))
    }

    pub(super) fn unnest(&mut self, args: &[&ast::Expr]) -> Result<(TableFunction, Vec<Expr>, Vec<Type>), Error> {
        let (mut exprs, mut types) = (Vec::new(), Vec::new());
        for arg in args {
            let value = self.expr(arg)?;
            let Type::Array(element) = value.ty else {
                let name = crate::types::text::type_name(value.ty);
                let (code, text) =
                    if value.ty == UNKNOWN { ("42725", "is not unique") } else { ("42883", "does not exist") };
                return Err(Error::new(code, format!("function unnest({name}) {text}")));
            };
            exprs.push(value.expr);
            types.push(element.into());
        }
        if exprs.is_empty() {
            return Err(Error::new("42883", "function unnest() does not exist"));
        }
        Ok((TableFunction::Unnest, exprs, types))
    }

    pub(super) fn generate_series(
        &mut self,
        args: &[&ast::Expr],
    ) -> Result<(TableFunction, Vec<Expr>, Vec<Type>), Error> {
        if !(2..=3).contains(&args.len()) {
            return Err(Error::refused(format!("generate_series with {} arguments", args.len())));
        }
        let mut values = Vec::new();
        for arg in args {
            values.push(self.expr(arg)?);
        }
        let wide = values.iter().any(|value| value.ty == INT8);
        refuse_if(values.iter().any(|value| value.ty == NUMERIC), "generate_series of numeric values")?;
        let ty = if wide { INT8 } else { INT4 };
        let mut exprs = Vec::new();
        for value in values {
            let name = crate::types::text::type_name(value.ty);
            let found = self.try_coerce(value, ty, Cast::Implicit)?;
            exprs.push(found.ok_or_else(|| Error::refused(format!("generate_series of {name}")))?);
        }
        Ok((TableFunction::GenerateSeries, exprs, vec![ty]))
    }

    fn snapshot_xip(&mut self, args: &[&ast::Expr]) -> Result<(TableFunction, Vec<Expr>, Vec<Type>), Error> {
        let [arg] = args else { return Err(Error::refused("pg_snapshot_xip without its one argument")) };
        let value = self.expr(arg)?;
        let name = crate::types::text::type_name(value.ty);
        let found = self.try_coerce(value, Scalar::Snapshot.into(), Cast::Implicit)?;
        let error = || Error::new("42883", format!("function pg_snapshot_xip({name}) does not exist"));
        Ok((TableFunction::SnapshotXip, vec![found.ok_or_else(error)?], vec![Scalar::Xid8.into()]))
    }
}

fn using_name(name: &ast::ObjectName) -> Result<SmolStr, Error> {
    match qualified(name)? {
        (None, name) => Ok(name),
        (Some(_), _) => Err(Error::new("42601", "syntax error at or near \".\"")),
    }
}

/// Takes the only column of this name out of a side of a join.
fn take_common(side: &mut Vec<(SmolStr, Typed)>, name: &SmolStr, which: &str) -> Result<Typed, Error> {
    let mut found = side.iter().enumerate().filter(|(_, (other, _))| other == name);
    let first = found.next().map(|(place, _)| place);
    if found.next().is_some() {
        let message = format!("common column name \"{name}\" appears more than once in {which} table");
        return Err(Error::new("42702", message));
    }
    let message = || format!("column \"{name}\" specified in USING clause does not exist in {which} table");
    let place = first.ok_or_else(|| Error::new("42703", message()))?;
    Ok(side.remove(place).1)
}

/// A system view by name: `pg_catalog` is searched before all other schemas.
fn view(schema: Option<&str>, name: &str) -> Option<View> {
    match (schema, name) {
        (None | Some("pg_catalog"), "pg_locks") => Some(View::Locks),
        (None | Some("pg_catalog"), "pg_database") => Some(View::Databases),
        (None | Some("pg_catalog"), "pg_sequences") => Some(View::Sequences),
        (None | Some("pg_catalog"), "pg_sequence") => Some(View::SequenceOptions),
        _ => None,
    }
}

/// Refuses what a table in FROM can have beside a name, an alias and arguments.
pub(super) fn plain_table(factor: &TableFactor) -> Result<(), Error> {
    let TableFactor::Table {
        name: _,
        alias: _,
        args,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_directives,
        inheritance,
    } = factor
    else {
        return Ok(());
    };
    refuse_if(!with_hints.is_empty() || !index_directives.is_empty(), "table hints")?;
    refuse_if(version.is_some(), "FOR SYSTEM_TIME")?;
    refuse_if(*with_ordinality && args.is_none(), "WITH ORDINALITY of a table")?;
    refuse_if(!partitions.is_empty(), "partitions")?;
    refuse_if(json_path.is_some(), "a path in FROM")?;
    refuse_if(sample.is_some(), "TABLESAMPLE")?;
    // Tables have no children here, so that ONLY and * change nothing.
    let _ = inheritance;
    Ok(())
}
