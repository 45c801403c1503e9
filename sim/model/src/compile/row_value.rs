//! Row values that are compared: `(a, b) < (1, 2)`, `(a, b) IN ((1, 2), (3, 4))`. They are written out, column by column.
//!
//! Source: PostgreSQL, `src/backend/parser/parse_expr.c`, `make_row_comparison_op`.

use sqlparser::ast;

use super::coerce::{BOOL, is_stable};
use super::scope::Typed;
use super::{Builder, refuse_if, visit};
use crate::error::Error;
use crate::plan::{CompareOp, Expr};

/// The values of a row.
pub(super) fn row_of(mut expr: &ast::Expr) -> Option<&[ast::Expr]> {
    while let ast::Expr::Nested(inner) = expr {
        expr = inner;
    }
    if let ast::Expr::Tuple(values) = expr { Some(values) } else { None }
}

impl Builder<'_> {
    pub(super) fn compare_rows(
        &mut self,
        op: CompareOp,
        left: &[ast::Expr],
        right: &[ast::Expr],
    ) -> Result<Typed, Error> {
        if left.len() != right.len() {
            return Err(Error::new("42601", "unequal number of entries in row expressions"));
        }
        let mut pairs = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            let (left, right) = (self.expr(left)?, self.expr(right)?);
            pairs.push(self.comparable(op, left, right)?);
        }
        let expr = match op {
            CompareOp::Eq => Expr::And(pairs.into_iter().map(|pair| compare(op, pair)).collect()),
            CompareOp::NotEq => Expr::Or(pairs.into_iter().map(|pair| compare(op, pair)).collect()),
            _ => {
                let twice = |expr: &Expr| !is_stable(expr) || visit::has_subquery(expr);
                refuse_if(
                    pairs.iter().any(|(left, right)| twice(left) || twice(right)),
                    "an order of rows of volatile values",
                )?;
                in_order(op, pairs)
            }
        };
        Ok(Typed { expr, ty: BOOL })
    }

    pub(super) fn row_in_list(
        &mut self,
        left: &[ast::Expr],
        list: &[ast::Expr],
        negated: bool,
    ) -> Result<Typed, Error> {
        let op = if negated { CompareOp::NotEq } else { CompareOp::Eq };
        let mut parts = Vec::with_capacity(list.len());
        for item in list {
            let right = row_of(item).ok_or_else(|| Error::refused("a row value beside what is none"))?;
            parts.push(self.compare_rows(op, left, right)?.expr);
        }
        Ok(Typed { expr: if negated { Expr::And(parts) } else { Expr::Or(parts) }, ty: BOOL })
    }
}

fn compare(op: CompareOp, (left, right): (Expr, Expr)) -> Expr {
    Expr::Compare { op, left: Box::new(left), right: Box::new(right) }
}

/// The first pair that is not equal decides, the last one by the operator itself.
fn in_order(op: CompareOp, pairs: Vec<(Expr, Expr)>) -> Expr {
    let strict = match op {
        CompareOp::LtEq => CompareOp::Lt,
        CompareOp::GtEq => CompareOp::Gt,
        op => op,
    };
    let mut pairs = pairs.into_iter().rev();
    let last = compare(op, pairs.next().expect("a row has values"));
    pairs.fold(last, |rest, pair| {
        let equal = compare(CompareOp::Eq, pair.clone());
        Expr::Or(vec![compare(strict, pair), Expr::And(vec![equal, rest])])
    })
}
