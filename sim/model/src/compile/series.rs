//! Functions that give rows in a select list: `SELECT generate_series(1, 3)`.
//!
//! Each row of the rest is given once for each row of the function. Source: PostgreSQL, src/backend/executor/nodeProjectSet.c.

use sqlparser::ast;

use super::call::{function_name, plain_arg};
use super::scope::{Typed, typed_column};
use super::{Builder, refuse_if};
use crate::error::Error;
use crate::plan::{JoinKind, Node, NodeId, SlotId};

impl Builder<'_> {
    /// A result that is such a function, or made of one by casts and operators; none: there is none in it.
    pub(super) fn series_result(&mut self, expr: &ast::Expr) -> Result<Option<Typed>, Error> {
        if self.scope().clause != "SELECT" || !has_series(expr) {
            return Ok(None);
        }
        match expr {
            ast::Expr::Function(function) => self.series(function).map(Some),
            ast::Expr::Nested(inner) => self.series_result(inner),
            ast::Expr::BinaryOp { left, op, right } => {
                let (left, right) = (self.result(left)?, self.result(right)?);
                self.binary(left, op, right).map(Some)
            }
            ast::Expr::Cast { expr, data_type, .. } => {
                let value = self.result(expr)?;
                self.cast_to(value, data_type).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn series(&mut self, function: &ast::Function) -> Result<Typed, Error> {
        let name = function_name(&function.name)?;
        let ast::FunctionArguments::List(list) = &function.args else {
            return Err(Error::refused(format_args!("{name} without arguments")));
        };
        let args = list.args.iter().map(plain_arg).collect::<Result<Vec<_>, Error>>()?;
        let (function, args, types) = if name == "unnest" { self.unnest(&args)? } else { self.generate_series(&args)? };
        let [ty] = types.as_slice() else {
            return Err(Error::new("42883", format!("function {name} with several arguments in a select list")));
        };
        if let Some((slot, node)) = self.scope().series {
            // Two that are the same go on side by side.
            let same = matches!(&self.nodes[usize::from(node)],
                Node::FunctionScan { function: other, args: others, .. } if *other == function && *others == args);
            refuse_if(!same, "several functions that give rows in a select list")?;
            return Ok(typed_column(slot, 0, *ty));
        }
        let slot = self.slot();
        let node = self.node(Node::FunctionScan { slot, function, args, ordinality: false, filter: None })?;
        self.scope().series = Some((slot, node));
        Ok(typed_column(slot, 0, *ty))
    }

    /// The rows of `input`, each with the rows of the function.
    pub(super) fn with_series(&mut self, input: NodeId, (slot, node): (SlotId, NodeId)) -> Result<NodeId, Error> {
        self.node(Node::NestLoop { outer: input, inner: node, kind: JoinKind::Each, on: None, inner_slots: vec![slot] })
    }
}

fn has_series(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Function(function) => {
            function_name(&function.name).is_ok_and(|name| matches!(&*name, "generate_series" | "unnest"))
        }
        ast::Expr::Nested(inner) | ast::Expr::Cast { expr: inner, .. } => has_series(inner),
        ast::Expr::BinaryOp { left, right, .. } => has_series(left) || has_series(right),
        _ => false,
    }
}
