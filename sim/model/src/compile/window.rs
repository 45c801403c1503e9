//! Window functions, over the rows from a partition's first to the last that is equal to the present one, which is what OVER means without a frame.
//!
//! All of a select list share one window. Source: PostgreSQL, src/backend/executor/nodeWindowAgg.c.

use sqlparser::ast;

use super::coerce::{INT8, is_stable};
use super::scope::{Typed, typed_column};
use super::{Builder, refuse_if, visit};
use crate::error::Error;
use crate::plan::{Aggregate, Expr, Node, NodeId, SlotId, SortKey, WindowCall};

/// The window of a query level, and what is called over it.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) slot: SlotId,
    partition: Vec<Expr>,
    order: Vec<SortKey>,
    calls: Vec<WindowCall>,
}

impl Builder<'_> {
    /// `name(..) OVER (..)`; `call` compiles what stands before OVER.
    pub(super) fn over(
        &mut self,
        name: &str,
        over: &ast::WindowType,
        call: impl FnOnce(&mut Self) -> Result<Typed, Error>,
    ) -> Result<Typed, Error> {
        let ast::WindowType::WindowSpec(spec) = over else { return Err(Error::refused("WINDOW")) };
        let ast::WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        refuse_if(window_name.is_some() || window_frame.is_some(), "a named window and a window's frame")?;
        let clause = self.scope().clause;
        if !matches!(clause, "SELECT" | "ORDER BY") {
            return Err(match clause {
                "WHERE" | "GROUP BY" | "HAVING" | "JOIN conditions" | "RETURNING" | "UPDATE" | "VALUES" | "LIMIT"
                | "OFFSET" => Error::new("42P20", format!("window functions are not allowed in {clause}")),
                _ => Error::refused(format_args!("a window function in {clause}")),
            });
        }
        refuse_if(self.scope().over, "a window function inside another")?;
        self.scope().over = true;
        let compiled = self.over_window(name, (partition_by, order_by), call);
        self.scope().over = false;
        compiled
    }

    fn over_window(
        &mut self,
        name: &str,
        (partition, order): (&[ast::Expr], &[ast::OrderByExpr]),
        call: impl FnOnce(&mut Self) -> Result<Typed, Error>,
    ) -> Result<Typed, Error> {
        let mut keys = Vec::with_capacity(partition.len());
        for expr in partition {
            let value = self.expr(expr)?;
            let value = self.settle(value)?;
            super::operator::sortable(value.ty)?;
            keys.push(value.expr);
        }
        let order = order.iter().map(|key| self.sort_key(key, None)).collect::<Result<Vec<SortKey>, Error>>()?;
        let twice = |expr: &Expr| !is_stable(expr) || visit::has_subquery(expr);
        refuse_if(keys.iter().chain(order.iter().map(|key| &key.expr)).any(twice), "a window of volatile values")?;
        match &self.scope().window {
            None => {
                let slot = self.slot();
                self.scope().window = Some(Window { slot, partition: keys, order, calls: Vec::new() });
            }
            Some(window) => refuse_if(window.partition != keys || window.order != order, "several windows in a query")?,
        }
        match name {
            "row_number" => Ok(self.add_window_call(WindowCall::RowNumber, INT8)),
            "rank" => Ok(self.add_window_call(WindowCall::Rank, INT8)),
            "dense_rank" => Ok(self.add_window_call(WindowCall::DenseRank, INT8)),
            _ => call(self),
        }
    }

    /// An aggregate that is called over the window.
    pub(super) fn add_window_aggregate(
        &mut self,
        aggregate: Aggregate,
        ty: crate::types::Type,
    ) -> Result<Typed, Error> {
        if aggregate.distinct {
            return Err(Error::new("0A000", "DISTINCT is not implemented for window functions"));
        }
        if !aggregate.order.is_empty() {
            return Err(Error::new("0A000", "aggregate ORDER BY is not implemented for window functions"));
        }
        let twice = |expr: &Expr| !is_stable(expr) || visit::has_subquery(expr);
        refuse_if(aggregate.args.iter().chain(&aggregate.filter).any(twice), "a window function of volatile values")?;
        Ok(self.add_window_call(WindowCall::Aggregate(aggregate), ty))
    }

    fn add_window_call(&mut self, call: WindowCall, ty: crate::types::Type) -> Typed {
        let window = self.scope().window.as_mut().expect("it was made before its calls");
        window.calls.push(call);
        typed_column(window.slot, window.calls.len() - 1, ty)
    }

    /// The rows of `input` with what the window functions come to; `slots` are bound to them.
    pub(super) fn with_window(&mut self, input: NodeId, slots: Vec<SlotId>) -> Result<NodeId, Error> {
        let Some(window) = &mut self.scope().window else { return Ok(input) };
        let (slot, partition) = (window.slot, std::mem::take(&mut window.partition));
        let (mut keys, calls) = (Vec::with_capacity(partition.len()), std::mem::take(&mut window.calls));
        let order = std::mem::take(&mut window.order);
        let parts = partition.len();
        keys.extend(partition.into_iter().map(|expr| SortKey { expr, descending: false, nulls_first: false }));
        keys.extend(order);
        self.node(Node::Window { input, slots, slot, parts, keys, calls })
    }
}
