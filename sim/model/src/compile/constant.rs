//! Constants are folded before anything is executed, as PostgreSQL's planner does it.
//!
//! It shows where an expression errs: `1 / 0` is an error though no row is ever read, unless it stands where planning already knows that
//! nobody goes: behind a condition that is constant, or beside a NULL that makes a strict function NULL.
//! Source: PostgreSQL, src/backend/optimizer/util/clauses.c, `eval_const_expressions`.

use super::visit::{expr_children, expr_children_mut, node_children_mut};
use crate::error::Error;
use crate::function::{self, Function};
use crate::plan::{Cte, Expr, Node, NodeId};
use crate::types::Value;

/// Folds what a query evaluates; returns the first error that planning finds.
pub(super) fn fold(nodes: &mut [Node], ctes: &[Cte], root: NodeId) -> Option<Error> {
    let mut folding = Folding { nodes, error: None };
    for cte in ctes {
        folding.node(cte.root);
    }
    folding.node(root);
    folding.error
}

struct Folding<'n> {
    nodes: &'n mut [Node],
    error: Option<Error>,
}

impl Folding<'_> {
    /// From the root down, for a subquery in an arm that is never taken is not planned at all.
    fn node(&mut self, id: NodeId) {
        let mut node = std::mem::replace(&mut self.nodes[usize::from(id)], Node::OneRow);
        let (exprs, inputs) = node_children_mut(&mut node);
        for expr in exprs {
            self.expr(expr);
            self.subqueries(expr);
        }
        if let Node::Filter { condition, .. }
        | Node::SeqScan { filter: Some(condition), .. }
        | Node::IndexScan { filter: Some(condition), .. }
        | Node::CteScan { filter: Some(condition), .. }
        | Node::ViewScan { filter: Some(condition), .. }
        | Node::FunctionScan { filter: Some(condition), .. } = &mut node
        {
            not_true(condition);
        }
        for input in inputs {
            self.node(input);
        }
        self.nodes[usize::from(id)] = node;
    }

    /// Those that are left once the expression around them is folded.
    fn subqueries(&mut self, expr: &Expr) {
        if let Expr::Subquery { root, .. } = expr {
            self.node(*root);
        }
        for child in expr_children(expr) {
            self.subqueries(child);
        }
    }

    fn expr(&mut self, expr: &mut Expr) {
        match expr {
            Expr::And(parts) => *expr = self.connect(std::mem::take(parts), false),
            Expr::Or(parts) => *expr = self.connect(std::mem::take(parts), true),
            Expr::Coalesce(parts) => *expr = self.coalesce(std::mem::take(parts)),
            Expr::Case { arms, otherwise } => *expr = self.case(std::mem::take(arms), otherwise.take()),
            Expr::Const(_) | Expr::Param(_) | Expr::Column { .. } => {}
            _ => {
                for child in children_in_order(expr) {
                    self.expr(child);
                }
                if let Some(value) = self.constant(expr) {
                    *expr = Expr::Const(value);
                }
            }
        }
    }

    /// AND (`decisive` is false) and OR (true): what stands behind a constant that decides is not looked at.
    fn connect(&mut self, parts: Vec<Expr>, decisive: bool) -> Expr {
        let mut left = Vec::with_capacity(parts.len());
        let mut null = false;
        for mut part in parts {
            self.expr(&mut part);
            match part {
                Expr::Const(Value::Null) => null = true,
                Expr::Const(Value::Bool(truth)) if truth == decisive => return Expr::Const(Value::Bool(decisive)),
                Expr::Const(Value::Bool(_)) => {}
                part => left.push(part),
            }
        }
        // One NULL is as good as many.
        left.extend(null.then_some(Expr::Const(Value::Null)));
        match left.len() {
            0 => Expr::Const(Value::Bool(!decisive)),
            1 => left.remove(0),
            _ if decisive => Expr::Or(left),
            _ => Expr::And(left),
        }
    }

    fn coalesce(&mut self, parts: Vec<Expr>) -> Expr {
        let mut left = Vec::with_capacity(parts.len());
        for mut part in parts {
            self.expr(&mut part);
            match part {
                Expr::Const(Value::Null) => {}
                Expr::Const(_) => {
                    left.push(part);
                    break;
                }
                part => left.push(part),
            }
        }
        match left.len() {
            0 => Expr::Const(Value::Null),
            1 => left.remove(0),
            _ => Expr::Coalesce(left),
        }
    }

    fn case(&mut self, arms: Vec<(Expr, Expr)>, otherwise: Option<Box<Expr>>) -> Expr {
        let mut left = Vec::with_capacity(arms.len());
        for (mut condition, mut result) in arms {
            self.expr(&mut condition);
            match condition {
                Expr::Const(Value::Bool(true)) => return self.case_of(left, Some(Box::new(result))),
                Expr::Const(_) => {}
                condition => {
                    self.expr(&mut result);
                    left.push((condition, result));
                }
            }
        }
        self.case_of(left, otherwise)
    }

    fn case_of(&mut self, arms: Vec<(Expr, Expr)>, otherwise: Option<Box<Expr>>) -> Expr {
        let otherwise = otherwise.map(|mut otherwise| {
            self.expr(&mut otherwise);
            otherwise
        });
        if arms.is_empty() {
            return otherwise.map_or(Expr::Const(Value::Null), |otherwise| *otherwise);
        }
        Expr::Case { arms, otherwise }
    }

    /// The value of an expression whose parts are folded, if it is constant.
    fn constant(&mut self, expr: &Expr) -> Option<Value> {
        let is_null = |expr: &Expr| matches!(expr, Expr::Const(Value::Null));
        match expr {
            Expr::Call { function, args } => {
                if function.is_strict() && *function != Function::ArrayElement && args.iter().any(is_null) {
                    return Some(Value::Null);
                }
                if *function == Function::NullIf && is_null(&args[0]) {
                    return Some(Value::Null);
                }
                let values: Vec<Value> = args.iter().map(value_of).collect::<Option<_>>()?;
                // What is much work is left for the execution, which has a budget.
                if !function.is_immutable() || !crate::exec::is_little(*function, &values) {
                    return None;
                }
                match function::call(*function, &values) {
                    Ok(value) => crate::exec::is_small(&value).then_some(value),
                    Err(error) => {
                        self.error.get_or_insert(error);
                        None
                    }
                }
            }
            Expr::Array(items) => {
                let items: Vec<Value> = items.iter().map(value_of).collect::<Option<_>>()?;
                Some(Value::Array(items.into()))
            }
            Expr::Not(inner) => match value_of(inner)? {
                Value::Bool(truth) => Some(Value::Bool(!truth)),
                null => Some(null),
            },
            Expr::IsNull { expr, negated } => Some(Value::Bool(matches!(value_of(expr)?, Value::Null) != *negated)),
            Expr::IsBool { expr, value, negated } => {
                Some(Value::Bool((value_of(expr)? == Value::Bool(*value)) != *negated))
            }
            Expr::Compare { left, right, .. } if is_null(left) || is_null(right) => Some(Value::Null),
            Expr::Compare { op, left, right } => {
                let (left, right) = (value_of(left)?, value_of(right)?);
                Some(Value::Bool(op.holds(crate::types::compare(&left, &right))))
            }
            Expr::AnyAll { op, left, array, all } => {
                let truth = crate::exec::any_all(*op, &value_of(left)?, &value_of(array)?, *all);
                Some(truth.map_or(Value::Null, Value::Bool))
            }
            Expr::IsDistinct { left, right, negated } => {
                let (left, right) = (value_of(left)?, value_of(right)?);
                Some(Value::Bool(crate::types::compare(&left, &right).is_ne() != *negated))
            }
            _ => None,
        }
    }
}

/// In a condition NULL is as good as false: beside it nothing needs to be evaluated. Source: PostgreSQL, src/backend/optimizer/prep/prepqual.c,
/// `find_duplicate_ors`.
fn not_true(condition: &mut Expr) {
    let is_out = |part: &Expr| matches!(part, Expr::Const(Value::Null | Value::Bool(false)));
    match condition {
        Expr::And(parts) => {
            parts.iter_mut().for_each(not_true);
            if parts.iter().any(is_out) {
                *condition = Expr::Const(Value::Bool(false));
            }
        }
        Expr::Or(parts) => {
            parts.iter_mut().for_each(not_true);
            parts.retain(|part| !is_out(part));
            if parts.is_empty() {
                *condition = Expr::Const(Value::Bool(false));
            }
        }
        _ => {}
    }
}

/// The parts of an expression in the order in which planning comes to them: an array's subscript before the array.
fn children_in_order(expr: &mut Expr) -> Vec<&mut Expr> {
    let reversed = matches!(expr, Expr::Call { function: Function::ArrayElement, .. });
    let mut children = expr_children_mut(expr);
    if reversed {
        children.reverse();
    }
    children
}

fn value_of(expr: &Expr) -> Option<Value> {
    if let Expr::Const(value) = expr { Some(value.clone()) } else { None }
}
