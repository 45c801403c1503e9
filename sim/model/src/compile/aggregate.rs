//! Aggregates and GROUP BY: what stands above an Aggregate node may read the node's slot only.
//!
//! Expressions are compiled as if there were no grouping, with each aggregate as a column of the node's slot. Once all of a
//! level are known, what equals a key becomes the key's column; a column that is left over is PostgreSQL's error 42803.

use super::scope::Typed;
use super::visit::{expr_children_mut, node_children_mut};
use super::{Builder, visit};
use crate::error::Error;
use crate::plan::{Aggregate, Expr, Node, NodeId, SlotId};
use crate::types::Type;

/// Aggregates are numbered from here on until the number of keys is known.
const PENDING: u16 = 0x8000;

impl Builder<'_> {
    /// Compiles what stands in an aggregate: no other aggregate can.
    pub(super) fn inside_aggregate<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let scope = self.scope();
        let (aggregates, clause) = (scope.aggregates.take(), scope.clause);
        let collects = aggregates.is_some();
        let over = std::mem::take(&mut scope.over);
        if collects {
            scope.clause = "";
        }
        let found = inner(self);
        let scope = self.scope();
        scope.aggregates = aggregates;
        scope.clause = clause;
        scope.over = over;
        // Over a window there can be aggregates, of groups.
        match found {
            Err(error) if over && error.sqlstate == "42803" => {
                Err(Error::refused("an aggregate inside a window function"))
            }
            found => found,
        }
    }

    /// Adds an aggregate to the query level.
    pub(super) fn add_aggregate(&mut self, aggregate: Aggregate, ty: Type, name: &str) -> Result<Typed, Error> {
        let clause = self.scope().clause;
        if self.scope().aggregates.is_none() {
            return Err(match clause {
                "" => Error::new("42803", "aggregate function calls cannot be nested"),
                "GROUP BY" | "WHERE" | "JOIN conditions" | "RETURNING" | "UPDATE" | "VALUES" | "LIMIT" | "OFFSET" => {
                    Error::new("42803", format!("aggregate functions are not allowed in {clause}"))
                }
                clause => Error::refused(format!("the aggregate {name} in {clause}")),
            });
        }
        // PostgreSQL gives an aggregate of outer columns alone to the outer query.
        let mut slots = std::collections::BTreeSet::new();
        for arg in &aggregate.args {
            slots.extend(visit::slots(arg, &self.nodes));
        }
        let sources = &self.scopes.last().expect("every expression stands in a scope").sources;
        if !slots.is_empty() && !sources.iter().any(|source| slots.contains(&source.slot)) {
            return Err(Error::refused("an aggregate of an outer query's columns"));
        }
        if self.scope().over {
            return self.add_window_aggregate(aggregate, ty);
        }
        let slot = self.aggregate_slot();
        let all = self.scope().aggregates.as_mut().expect("looked at above");
        let place = all.iter().position(|other| same(other, &aggregate)).unwrap_or_else(|| {
            all.push(aggregate);
            all.len() - 1
        });
        let column = u16::try_from(place).ok().filter(|place| *place < PENDING);
        let column = PENDING + column.ok_or_else(|| Error::refused("more than 32767 aggregates"))?;
        Ok(Typed { expr: Expr::Column { slot, column }, ty })
    }

    fn aggregate_slot(&mut self) -> SlotId {
        if let Some(slot) = self.scope().aggregate_slot {
            return slot;
        }
        let slot = self.slot();
        self.scope().aggregate_slot = Some(slot);
        slot
    }

    /// Puts an Aggregate node above `input`, and makes `exprs` read it.
    pub(super) fn group(
        &mut self,
        input: NodeId,
        mut keys: Vec<Expr>,
        exprs: &mut [&mut Expr],
    ) -> Result<NodeId, Error> {
        let slot = self.aggregate_slot();
        let aggregates = self.scope().aggregates.take().unwrap_or_default();
        self.add_dependent_columns(&mut keys);
        for expr in exprs.iter_mut() {
            self.read_keys(expr, slot, &keys)?;
        }
        let too_many = |_| Error::too_much("GROUP BY of more than 65535 columns");
        let count = u16::try_from(keys.len()).map_err(too_many)?;
        for expr in exprs.iter_mut() {
            self.number_aggregates(expr, slot, count);
        }
        self.node(Node::Aggregate { input, slot, keys, aggregates })
    }

    /// Whoever groups by a primary key can read all the table's columns. Source: PostgreSQL, `parse_agg.c`, `check_functional_grouping`.
    fn add_dependent_columns(&mut self, keys: &mut Vec<Expr>) {
        let sources = self.scope().sources.clone();
        for source in sources {
            let Some(table) = source.table.map(|table| self.catalog.table(table).clone()) else { continue };
            let Some(primary) = table.indexes.iter().find(|index| index.primary) else { continue };
            let grouped = |key: &Expr| keys.contains(&visit::rebind(key, crate::plan::OWN_ROW, source.slot));
            if !primary.keys.iter().all(grouped) {
                continue;
            }
            for column in 0..u16::try_from(table.columns.len()).expect("the number of columns is limited") {
                let column = Expr::Column { slot: source.slot, column };
                if !keys.contains(&column) {
                    keys.push(column);
                }
            }
        }
    }

    /// What equals a key reads the key.
    fn read_keys(&mut self, expr: &mut Expr, slot: SlotId, keys: &[Expr]) -> Result<(), Error> {
        if let Some(place) = keys.iter().position(|key| key == expr) {
            *expr = Expr::Column { slot, column: u16::try_from(place).expect("the number of columns is limited") };
            return Ok(());
        }
        if let Expr::Column { slot, column } = expr {
            return self.check_grouped(*slot, *column);
        }
        if let Expr::Subquery { root, .. } = expr {
            self.in_nodes(*root, &mut |builder, expr| builder.read_keys(expr, slot, keys))?;
        }
        for child in expr_children_mut(expr) {
            self.read_keys(child, slot, keys)?;
        }
        Ok(())
    }

    /// A column of this level that is neither a key nor in an aggregate.
    fn check_grouped(&mut self, slot: SlotId, column: u16) -> Result<(), Error> {
        let Some(source) = self.scope().sources.iter().find(|source| source.slot == slot) else { return Ok(()) };
        let name = format!("{}.{}", source.name, source.columns[usize::from(column)].0);
        let message =
            format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
        Err(Error::new("42803", message))
    }

    fn number_aggregates(&mut self, expr: &mut Expr, slot: SlotId, keys: u16) {
        if let Expr::Column { slot: other, column } = expr
            && *other == slot
            && *column >= PENDING
        {
            *column = *column - PENDING + keys;
        }
        if let Expr::Subquery { root, .. } = expr {
            let root = *root;
            let numbered = self.in_nodes(root, &mut |builder, expr| {
                builder.number_aggregates(expr, slot, keys);
                Ok(())
            });
            numbered.expect("numbering cannot fail");
        }
        for child in expr_children_mut(expr) {
            self.number_aggregates(child, slot, keys);
        }
    }

    /// Changes every expression of a subquery.
    fn in_nodes(
        &mut self,
        root: NodeId,
        change: &mut dyn FnMut(&mut Self, &mut Expr) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut node = std::mem::replace(&mut self.nodes[usize::from(root)], Node::OneRow);
        let (exprs, inputs) = node_children_mut(&mut node);
        let mut changed = Ok(());
        for expr in exprs {
            changed = changed.and_then(|()| change(self, expr));
        }
        for input in inputs {
            changed = changed.and_then(|()| self.in_nodes(input, change));
        }
        self.nodes[usize::from(root)] = node;
        changed
    }
}

fn same(left: &Aggregate, right: &Aggregate) -> bool {
    left.function == right.function
        && left.args == right.args
        && left.distinct == right.distinct
        && left.filter == right.filter
        && left.order.is_empty()
        && right.order.is_empty()
}
