//! Walks over expressions and nodes: what an expression reads, and exchanging one for another.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, SequenceId, TableId};
use crate::plan::{ColumnId, ConflictAction, Expr, Node, NodeId, SlotId, SubqueryKind, WindowCall};
use crate::types::Value;

/// The parts of an expression, and of a node the expressions and the inputs. Written once for reading and once for writing.
macro_rules! children {
    ($expr_name:ident, $node_name:ident, $writer_name:ident, $iter:ident, $as_deref:ident $(, $mutable:tt)?) => {
        pub(crate) fn $expr_name<'a>(expr: &'a $($mutable)? Expr) -> Vec<&'a $($mutable)? Expr> {
            match expr {
                Expr::Const(_) | Expr::Param(_) | Expr::Column { .. } | Expr::NextVal(_) => Vec::new(),
                Expr::Subquery { kind: SubqueryKind::AnyAll { left, .. }, .. } => vec![left],
                Expr::Subquery { .. } => Vec::new(),
                Expr::And(items) | Expr::Or(items) | Expr::Coalesce(items) | Expr::Array(items) => items.$iter().collect(),
                Expr::Not(expr) | Expr::IsNull { expr, .. } | Expr::IsBool { expr, .. } | Expr::Once { expr, .. } => vec![expr],
                Expr::IsDistinct { left, right, .. } | Expr::Compare { left, right, .. } => vec![left, right],
                Expr::AnyAll { left, array, .. } => vec![left, array],
                Expr::Rechecked { same, asked, .. } => same.$iter().chain(asked.$as_deref()).collect(),
                Expr::Case { arms, otherwise } => {
                    let mut all: Vec<&'a $($mutable)? Expr> = Vec::new();
                    for (condition, result) in arms.$iter() {
                        all.extend([condition, result]);
                    }
                    all.extend(otherwise.$as_deref());
                    all
                }
                Expr::Call { args, .. } | Expr::ServerCall { args, .. } => args.$iter().collect(),
            }
        }

        pub(crate) fn $node_name<'a>(node: &'a $($mutable)? Node) -> (Vec<&'a $($mutable)? Expr>, Vec<NodeId>) {
            let mut exprs: Vec<&'a $($mutable)? Expr> = Vec::new();
            let mut inputs = Vec::new();
            match node {
                Node::OneRow => {}
                Node::Values { rows, .. } => exprs.extend(rows.$iter().flat_map(|row| row.$iter())),
                Node::SeqScan { filter, .. } | Node::ViewScan { filter, .. } | Node::CteScan { filter, .. } => exprs.extend(filter),
                Node::IndexScan { keys, filter, .. } | Node::FunctionScan { args: keys, filter, .. } => {
                    exprs.extend(keys.$iter());
                    exprs.extend(filter);
                }
                Node::NestLoop { outer, inner, on, .. } => {
                    inputs.extend([*outer, *inner]);
                    exprs.extend(on);
                }
                Node::Filter { input, condition } => {
                    inputs.push(*input);
                    exprs.push(condition);
                }
                Node::Project { input, exprs: all, .. } => {
                    inputs.push(*input);
                    exprs.extend(all.$iter());
                }
                Node::Aggregate { input, keys, aggregates, .. } => {
                    inputs.push(*input);
                    exprs.extend(keys.$iter());
                    for aggregate in aggregates.$iter() {
                        exprs.extend(aggregate.args.$iter());
                        exprs.extend(& $($mutable)? aggregate.filter);
                        exprs.extend(aggregate.order.$iter().map(|key| & $($mutable)? key.expr));
                    }
                }
                Node::Sort { input, keys, .. } => {
                    inputs.push(*input);
                    exprs.extend(keys.$iter().map(|key| & $($mutable)? key.expr));
                }
                Node::Window { input, keys, calls, .. } => {
                    inputs.push(*input);
                    exprs.extend(keys.$iter().map(|key| & $($mutable)? key.expr));
                    for call in calls.$iter() {
                        if let WindowCall::Aggregate(aggregate) = call {
                            exprs.extend(aggregate.args.$iter().chain(& $($mutable)? aggregate.filter));
                        }
                    }
                }
                Node::Distinct { input, .. } => inputs.push(*input),
                Node::Limit { input, limit, offset } => {
                    inputs.push(*input);
                    exprs.extend(limit);
                    exprs.extend(offset);
                }
                Node::SetOperation { inputs: both, .. } => inputs.extend(both.iter().map(|(input, _)| *input)),
                Node::Append { inputs: all, .. } => inputs.extend(all.iter().map(|(input, _)| *input)),
                Node::LockRows { input, again, .. } => {
                    inputs.push(*input);
                    exprs.extend(again.recheck.$iter().chain(again.missing.$iter().map(|(on, _)| on)));
                }
                Node::Insert { .. } | Node::Update { .. } | Node::Delete { .. } => $writer_name(node, &mut exprs, &mut inputs),
            }
            (exprs, inputs)
        }

        /// The same, of nodes that change rows.
        fn $writer_name<'a>(node: &'a $($mutable)? Node, exprs: &mut Vec<&'a $($mutable)? Expr>, inputs: &mut Vec<NodeId>) {
            match node {
                Node::Insert { input, on_conflict, returning, .. } => {
                    inputs.push(*input);
                    if let Some(on_conflict) = on_conflict
                        && let ConflictAction::Update { set, condition, .. } = & $($mutable)? on_conflict.action
                    {
                        exprs.extend(set.$iter().map(|(_, expr)| expr));
                        exprs.extend(condition);
                    }
                    exprs.extend(returning.$iter().flat_map(|returning| returning.exprs.$iter()));
                }
                Node::Update { input, set, recheck, returning, .. } => {
                    inputs.push(*input);
                    exprs.extend(set.$iter().map(|(_, expr)| expr));
                    exprs.extend(recheck.$iter());
                    exprs.extend(returning.$iter().flat_map(|returning| returning.exprs.$iter()));
                }
                Node::Delete { input, recheck, returning, .. } => {
                    inputs.push(*input);
                    exprs.extend(recheck.$iter());
                    exprs.extend(returning.$iter().flat_map(|returning| returning.exprs.$iter()));
                }
                _ => {}
            }
        }
    };
}

children!(expr_children, node_children, writer_children, iter, as_deref);
children!(expr_children_mut, node_children_mut, writer_children_mut, iter_mut, as_deref_mut, mut);

/// The slots that an expression reads, those of its subqueries among them.
pub(super) fn slots(expr: &Expr, nodes: &[Node]) -> BTreeSet<SlotId> {
    let mut found = BTreeSet::new();
    collect(expr, nodes, &mut found);
    found
}

fn collect(expr: &Expr, nodes: &[Node], found: &mut BTreeSet<SlotId>) {
    if let Expr::Column { slot, .. } = expr {
        found.insert(*slot);
    }
    if let Expr::Subquery { root, .. } = expr {
        collect_node(*root, nodes, found);
    }
    for child in expr_children(expr) {
        collect(child, nodes, found);
    }
}

/// The slots that a node and what is below it read.
pub(super) fn collect_node(node: NodeId, nodes: &[Node], found: &mut BTreeSet<SlotId>) {
    let (exprs, inputs) = node_children(&nodes[usize::from(node)]);
    for expr in exprs {
        collect(expr, nodes, found);
    }
    for input in inputs {
        collect_node(input, nodes, found);
    }
}

/// Whether two evaluations can differ: a call to the server's state, or a subquery, which costs too much to be evaluated twice.
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    matches!(expr, Expr::ServerCall { .. } | Expr::NextVal(_)) || expr_children(expr).into_iter().any(is_volatile)
}

/// Whether it has a subquery.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery { .. }) || expr_children(expr).into_iter().any(has_subquery)
}

/// Whether it takes the next value of a sequence that it names.
pub(super) fn counts_with(expr: &Expr, sequence: SequenceId) -> bool {
    let oid = Value::Int(Catalog::oid(sequence));
    let this = match expr {
        Expr::NextVal(id) => *id == sequence,
        Expr::ServerCall { args, .. } => args.contains(&Expr::Const(oid)),
        _ => false,
    };
    this || expr_children(expr).into_iter().any(|child| counts_with(child, sequence))
}

/// Exchanges the slot of every column: `OWN_ROW` for a scan's.
pub(super) fn rebind(expr: &Expr, from: SlotId, to: SlotId) -> Expr {
    let mut expr = expr.clone();
    rebind_in_place(&mut expr, from, to);
    expr
}

fn rebind_in_place(expr: &mut Expr, from: SlotId, to: SlotId) {
    if let Expr::Column { slot, .. } = expr
        && *slot == from
    {
        *slot = to;
    }
    for child in expr_children_mut(expr) {
        rebind_in_place(child, from, to);
    }
}

/// Puts `exprs` in the place of the columns of `slot`.
pub(super) fn read_through(expr: &Expr, slot: SlotId, exprs: &[Expr]) -> Expr {
    fn put(expr: &mut Expr, slot: SlotId, exprs: &[Expr]) {
        match expr {
            Expr::Column { slot: from, column } if *from == slot => *expr = exprs[usize::from(*column)].clone(),
            _ => expr_children_mut(expr).into_iter().for_each(|child| put(child, slot, exprs)),
        }
    }
    let mut expr = expr.clone();
    put(&mut expr, slot, exprs);
    expr
}

/// The tables that a query's nodes read, and those that they write to or lock rows of.
pub(crate) fn reads_and_writes(nodes: &[Node]) -> (Vec<TableId>, Vec<TableId>) {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for node in nodes {
        match node {
            Node::SeqScan { table, .. } | Node::IndexScan { table, .. } => reads.push(*table),
            Node::Insert { table, .. } | Node::Update { table, .. } | Node::Delete { table, .. } => writes.push(*table),
            Node::LockRows { targets, .. } => writes.extend(targets.iter().map(|target| target.table)),
            _ => {}
        }
    }
    (reads, writes)
}

/// Whether any node looks at, or changes, more than tables.
pub(crate) fn has_volatile(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| matches!(node, Node::ViewScan { .. }) || node_children(node).0.into_iter().any(is_volatile))
}

/// The columns that an expression reads.
pub(crate) fn collect_columns(expr: &Expr, found: &mut Vec<ColumnId>) {
    if let Expr::Column { column, .. } = expr
        && !found.contains(column)
    {
        found.push(*column);
    }
    for child in expr_children(expr) {
        collect_columns(child, found);
    }
}
