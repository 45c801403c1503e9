//! UNION, INTERSECT and EXCEPT.

use sqlparser::ast::{SetExpr, SetOperator, SetQuantifier};

use super::coerce::TEXT;
use super::query::{no_locks, row_locks};
use super::scope::{Scope, Typed, typed_column};
use super::select::Around;
use super::{Builder, Rows, operator, refuse_if};
use crate::error::Error;
use crate::plan::{Difference, Expr, Node, NodeId, SlotId};
use crate::types::Type;

impl Builder<'_> {
    /// UNION ALL of any number of queries is one node; all else is made of two.
    pub(super) fn set_operation(&mut self, body: &SetExpr, expect: Option<&[Type]>) -> Result<Rows, Error> {
        let SetExpr::SetOperation { left, op, set_quantifier, right } = body else {
            unreachable!("called for set operations")
        };
        let all = match set_quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            _ => return Err(Error::refused("BY NAME in a set operation")),
        };
        let (name, except) = match op {
            SetOperator::Union => ("UNION", None),
            SetOperator::Intersect => ("INTERSECT", Some(false)),
            SetOperator::Except => ("EXCEPT", Some(true)),
            SetOperator::Minus => return Err(Error::refused("MINUS")),
        };
        let mut parts = vec![&**right, &**left];
        while let (true, None, Some(SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right })) =
            (all, except, parts.last())
            && *set_quantifier == SetQuantifier::All
        {
            parts.pop();
            parts.extend([&**right, &**left]);
        }
        let mut inputs: Vec<Rows> = Vec::with_capacity(parts.len());
        for part in parts.into_iter().rev() {
            // What is untyped becomes what stands in its column above.
            let above: Option<Vec<Type>> = inputs.first().map(|rows| rows.columns.iter().map(|(_, ty)| *ty).collect());
            inputs.push(self.nested(|builder| builder.set_part(part, expect.or(above.as_deref())))?);
        }
        self.match_columns(&mut inputs, name)?;
        let columns = inputs[0].columns.clone();
        let slot = self.slot();
        let inputs: Vec<(NodeId, SlotId)> = inputs.into_iter().map(|rows| (rows.root, rows.slot)).collect();
        let root = match except {
            Some(except) => {
                self.node(Node::SetOperation { inputs: [inputs[0], inputs[1]], slot, how: Difference { except, all } })?
            }
            None => self.node(Node::Append { inputs, slot })?,
        };
        let root = if all || except.is_some() { root } else { self.node(Node::Distinct { input: root, slot })? };
        if !all {
            columns.iter().try_for_each(|(_, ty)| operator::groupable(*ty))?;
        }
        // Its own ORDER BY sees nothing but the results.
        *self.scope() = Scope::default();
        Ok(Rows { root, slot, columns })
    }

    /// Gives the columns of all inputs the same types.
    fn match_columns(&mut self, inputs: &mut [Rows], name: &str) -> Result<(), Error> {
        let width = inputs[0].columns.len();
        if inputs.iter().any(|rows| rows.columns.len() != width) {
            return Err(Error::new("42601", format!("each {name} query must have the same number of columns")));
        }
        let mut lists: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); inputs.len()];
        let mut types = Vec::with_capacity(width);
        for place in 0..width {
            let values: Vec<Typed> =
                inputs.iter().map(|rows| typed_column(rows.slot, place, rows.columns[place].1)).collect();
            // It may have been untyped, and have become a text because nothing stood above it.
            let text = values.iter().any(|value| value.ty == TEXT) && values.iter().any(|value| value.ty != TEXT);
            refuse_if(
                text,
                &format!("{name} of queries of which one has a text in a column and another has not: cast it"),
            )?;
            let (exprs, ty) = self.common_type(values, name)?;
            types.push(ty);
            for (list, expr) in lists.iter_mut().zip(exprs) {
                list.push(expr);
            }
        }
        for (rows, exprs) in inputs.iter_mut().zip(lists) {
            if rows.columns.iter().zip(&types).all(|((_, own), ty)| own == ty) {
                continue;
            }
            let slot = self.slot();
            rows.root = self.node(Node::Project { input: rows.root, slot, exprs })?;
            rows.slot = slot;
        }
        for (column, ty) in inputs[0].columns.iter_mut().zip(types) {
            column.1 = ty;
        }
        Ok(())
    }

    fn set_part(&mut self, part: &SetExpr, expect: Option<&[Type]>) -> Result<Rows, Error> {
        self.scopes.push(Scope::default());
        let around = Around { order: &[], locks: Vec::new(), limit: None, offset: None, expect };
        let rows = match part {
            SetExpr::Select(select) => self.select(select, &around),
            SetExpr::Values(values) => self.values(values, expect),
            SetExpr::Query(query) => {
                row_locks(&query.locks).and_then(|locks| no_locks(&locks)).and_then(|()| self.query(query, expect))
            }
            SetExpr::SetOperation { .. } => self.set_operation(part, expect),
            _ => Err(Error::refused("this part of a set operation")),
        };
        self.scopes.pop();
        rows
    }
}
