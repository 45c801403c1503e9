//! What comes to the same for every row of a statement, parameters and what pure functions make of them, and subqueries that read
//! nothing of the query around them, is evaluated once. In PostgreSQL these are `InitPlan`s and constants folded when planning. A subquery
//! is that also where it locks rows or calls `nextval`: it is not run again. Where one stands behind IN, its rows are kept instead: in PostgreSQL it is hashed,
//! sorted or materialized.

use std::collections::{BTreeMap, BTreeSet};

use super::visit::{collect_node, expr_children, expr_children_mut, node_children, node_children_mut};
use crate::function::ServerFunction;
use crate::plan::{Expr, Node, NodeId, SlotId, SubqueryKind};

/// Wraps them, and says how many there are.
pub(super) fn mark(nodes: &mut [Node]) -> u16 {
    let constant = constant_subqueries(nodes);
    let with_effects = constant.iter().copied().filter(|root| has_effects(*root, nodes)).collect();
    let mut marks = Marks { constant, with_effects, subqueries: BTreeMap::new(), next: 0 };
    for node in nodes {
        for expr in node_children_mut(node).0 {
            marks.visit(expr);
        }
    }
    marks.next
}

/// The roots of subqueries that give the same rows each time.
fn constant_subqueries(nodes: &[Node]) -> BTreeSet<NodeId> {
    let mut found = BTreeSet::new();
    for node in nodes {
        for expr in node_children(node).0 {
            find(expr, nodes, &mut found);
        }
    }
    found
}

fn find(expr: &Expr, nodes: &[Node], found: &mut BTreeSet<NodeId>) {
    if let Expr::Subquery { root, .. } = expr {
        let (mut reads, mut binds) = (BTreeSet::new(), BTreeSet::new());
        collect_node(*root, nodes, &mut reads);
        outputs(expr, nodes, &mut reads);
        collect_bound(*root, nodes, &mut binds);
        if reads.is_subset(&binds) {
            found.insert(*root);
        }
    }
    for child in expr_children(expr) {
        find(child, nodes, found);
    }
}

/// The slots that give subqueries their values: not always their own, since they are read in place where they can be.
fn outputs(expr: &Expr, nodes: &[Node], found: &mut BTreeSet<SlotId>) {
    if let Expr::Subquery { kind, root, output, .. } = expr {
        if !matches!(kind, SubqueryKind::Exists { .. }) {
            found.insert(*output);
        }
        outputs_below(*root, nodes, found);
    }
    for child in expr_children(expr) {
        outputs(child, nodes, found);
    }
}

fn outputs_below(id: NodeId, nodes: &[Node], found: &mut BTreeSet<SlotId>) {
    let (exprs, inputs) = node_children(&nodes[usize::from(id)]);
    for expr in exprs {
        outputs(expr, nodes, found);
    }
    for input in inputs {
        outputs_below(input, nodes, found);
    }
}

/// The slots that are read below a node and are bound elsewhere: those of the queries around it.
pub(super) fn reads_outside(root: NodeId, nodes: &[Node]) -> BTreeSet<SlotId> {
    let (mut reads, mut binds) = (BTreeSet::new(), BTreeSet::new());
    collect_node(root, nodes, &mut reads);
    collect_bound(root, nodes, &mut binds);
    reads.difference(&binds).copied().collect()
}

/// The slots that are bound below a node.
fn collect_bound(id: NodeId, nodes: &[Node], binds: &mut BTreeSet<SlotId>) {
    let node = &nodes[usize::from(id)];
    match node {
        Node::Values { slot, .. }
        | Node::SeqScan { slot, .. }
        | Node::IndexScan { slot, .. }
        | Node::ViewScan { slot, .. }
        | Node::FunctionScan { slot, .. }
        | Node::Project { slot, .. }
        | Node::Aggregate { slot, .. }
        | Node::Window { slot, .. }
        | Node::SetOperation { slot, .. }
        | Node::Append { slot, .. } => {
            binds.insert(*slot);
        }
        Node::CteScan { slots, .. } => binds.extend(slots),
        Node::OneRow
        | Node::NestLoop { .. }
        | Node::Filter { .. }
        | Node::Sort { .. }
        | Node::Distinct { .. }
        | Node::Limit { .. }
        | Node::LockRows { .. }
        | Node::Insert { .. }
        | Node::Update { .. }
        | Node::Delete { .. } => {}
    }
    let (exprs, inputs) = node_children(node);
    for expr in exprs {
        collect_bound_in(expr, nodes, binds);
    }
    for input in inputs {
        collect_bound(input, nodes, binds);
    }
}

fn collect_bound_in(expr: &Expr, nodes: &[Node], binds: &mut BTreeSet<SlotId>) {
    if let Expr::Subquery { root, .. } = expr {
        collect_bound(*root, nodes, binds);
    }
    for child in expr_children(expr) {
        collect_bound_in(child, nodes, binds);
    }
}

/// Whether running a subquery again may lock other rows, or gives what may differ from one time to the next.
fn has_effects(id: NodeId, nodes: &[Node]) -> bool {
    let node = &nodes[usize::from(id)];
    let (exprs, inputs) = node_children(node);
    matches!(node, Node::LockRows { .. })
        || exprs.into_iter().any(|expr| has_effect(expr, nodes))
        || inputs.into_iter().any(|input| has_effects(input, nodes))
}

fn has_effect(expr: &Expr, nodes: &[Node]) -> bool {
    let itself = match expr {
        Expr::ServerCall { function, .. } => !is_stable(*function),
        Expr::NextVal(_) => true,
        Expr::Subquery { root, .. } => has_effects(*root, nodes),
        _ => false,
    };
    itself || expr_children(expr).into_iter().any(|child| has_effect(child, nodes))
}

/// Whether a function gives the same throughout a statement.
fn is_stable(function: ServerFunction) -> bool {
    matches!(
        function,
        ServerFunction::CurrentSnapshot
            | ServerFunction::Now
            | ServerFunction::BackendPid
            | ServerFunction::IsInRecovery
            | ServerFunction::CurrentDatabase
    )
}

struct Marks {
    constant: BTreeSet<NodeId>,
    /// Those of them that are not to be run again.
    with_effects: BTreeSet<NodeId>,
    /// A condition that is asked again after a wait is a copy: its subquery keeps its result.
    subqueries: BTreeMap<NodeId, u16>,
    next: u16,
}

impl Marks {
    fn visit(&mut self, expr: &mut Expr) {
        let plain = matches!(expr, Expr::Const(_) | Expr::Param(_) | Expr::Column { .. });
        if !plain && self.is_constant(expr) && self.next < u16::MAX {
            let number = self.number(expr);
            let inner = std::mem::replace(expr, Expr::Param(0));
            *expr = Expr::Once { number, expr: Box::new(inner) };
            return;
        }
        self.keep_rows(expr);
        for child in expr_children_mut(expr) {
            self.visit(child);
        }
    }

    /// The rows that something is held against for each row outside are one array.
    fn keep_rows(&mut self, expr: &mut Expr) {
        if let Expr::Subquery { kind: SubqueryKind::AnyAll { op, left, all }, root, output, column } = expr
            && self.with_effects.contains(root)
        {
            let rows = Expr::Subquery { kind: SubqueryKind::Array, root: *root, output: *output, column: *column };
            let left = std::mem::replace(&mut **left, Expr::Param(0));
            *expr = Expr::AnyAll { op: *op, left: Box::new(left), array: Box::new(rows), all: *all };
        }
    }

    fn number(&mut self, expr: &Expr) -> u16 {
        let number = self.next;
        let number = match expr {
            Expr::Subquery { root, .. } => *self.subqueries.entry(*root).or_insert(number),
            _ => number,
        };
        self.next += u16::from(number == self.next);
        number
    }

    fn is_constant(&self, expr: &Expr) -> bool {
        let itself = match expr {
            Expr::Column { .. }
            | Expr::NextVal(_)
            | Expr::Rechecked { .. }
            | Expr::Subquery { kind: SubqueryKind::AnyAll { .. }, .. } => false,
            Expr::ServerCall { function, .. } => is_stable(*function),
            Expr::Subquery { root, .. } => self.constant.contains(root),
            _ => true,
        };
        itself && expr_children(expr).into_iter().all(|child| self.is_constant(child))
    }
}
