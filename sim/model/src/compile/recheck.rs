//! What a row that was waited for must pass again, where its condition has a subquery.
//!
//! PostgreSQL makes a join of `IN (SELECT ..)` and `EXISTS (SELECT ..)` where they are terms of WHERE. A row of that join is made of one of each side, and what is
//! asked again after a wait is asked of the newest version *and of the other side's row that was found for the old one*: another row there that would
//! fit the newest version is not looked for. Of `NOT EXISTS` there is no other side, and so nothing is asked again. Subqueries that stay subqueries are
//! run again. Source: PostgreSQL, src/backend/optimizer/plan/subselect.c, `convert_ANY_sublink_to_join`, `convert_EXISTS_sublink_to_join`;
//! src/backend/executor/execMain.c, `EvalPlanQual`.
//!
//! Which row was found the plan here does not say. But where the subquery is held against what the two versions have in common, it is found again; where
//! all that is asked is whether something equals it, and it has changed, it is not. Otherwise a subquery that finds nothing at all decides, and
//! one that finds something is refused.

use std::collections::BTreeSet;

use super::Builder;
use super::once::reads_outside;
use super::visit::{expr_children, has_subquery, is_volatile, node_children, slots};
use crate::plan::{CompareOp, Expr, JoinKind, Node, NodeId, SlotId, SubqueryKind};

impl Builder<'_> {
    /// The conditions that read one of `targets`, as a changed row must pass them again.
    pub(super) fn touching(&self, quals: &[Expr], targets: &[SlotId]) -> Vec<Expr> {
        let reads = |qual: &&Expr| slots(qual, &self.nodes).iter().any(|slot| targets.contains(slot));
        quals.iter().filter(reads).filter_map(|qual| self.asked_again(qual)).collect()
    }

    /// None: it is not asked again.
    fn asked_again(&self, qual: &Expr) -> Option<Expr> {
        let Expr::Subquery { kind, root, .. } = qual else { return Some(qual.clone()) };
        let outside = reads_outside(*root, &self.nodes);
        let asked = Some(Box::new(qual.clone()));
        match kind {
            SubqueryKind::AnyAll { op, left, all: false } if outside.is_empty() && !is_volatile(left) => {
                let plain = *op == CompareOp::Eq && !has_subquery(left);
                let columns = if has_subquery(left) { self.columns_read(left) } else { vec![(**left).clone()] };
                let asked = asked.filter(|_| !plain);
                Some(Expr::Rechecked { same: columns, asked, doubtful: true })
            }
            SubqueryKind::Exists { negated } if !outside.is_empty() => {
                let parts = self.parts(*root);
                let is_join = parts.iter().all(|part| self.is_plain(*part, *root)) && !self.is_volatile_below(&parts);
                if *negated && is_join {
                    return None;
                }
                let equal = is_join && parts.iter().all(|part| self.only_equals(*part, &outside));
                let same = self.columns_below(&parts, &outside);
                Some(Expr::Rechecked { same, asked: asked.filter(|_| !equal), doubtful: !negated })
            }
            _ => Some(qual.clone()),
        }
    }

    fn columns_read(&self, expr: &Expr) -> Vec<Expr> {
        let mut found = Vec::new();
        self.find_columns(expr, &mut |_| true, &mut found);
        found
    }

    /// A node and those below it, but not those of subqueries in their expressions.
    fn parts(&self, root: NodeId) -> Vec<NodeId> {
        let mut found = vec![root];
        let mut at = 0;
        while let Some(node) = found.get(at).copied() {
            found.extend(node_children(&self.nodes[usize::from(node)]).1);
            at += 1;
        }
        found
    }

    /// Whether PostgreSQL surely makes a join of a subquery that has this part.
    fn is_plain(&self, part: NodeId, root: NodeId) -> bool {
        match &self.nodes[usize::from(part)] {
            Node::Project { .. } => part == root,
            Node::SeqScan { .. } | Node::IndexScan { .. } | Node::Filter { .. } => true,
            Node::NestLoop { kind, .. } => *kind == JoinKind::Inner,
            _ => false,
        }
    }

    fn is_volatile_below(&self, parts: &[NodeId]) -> bool {
        parts.iter().flat_map(|part| node_children(&self.nodes[usize::from(*part)]).0).any(is_volatile)
    }

    /// Whether all that a part asks of the rows outside is whether something of its own equals one of their columns.
    fn only_equals(&self, part: NodeId, outside: &BTreeSet<SlotId>) -> bool {
        let reads = |expr: &Expr| slots(expr, &self.nodes).intersection(outside).next().is_some();
        let column = |expr: &Expr| matches!(expr, Expr::Column { slot, .. } if outside.contains(slot));
        let equals = |expr: &Expr| match expr {
            Expr::Compare { op: CompareOp::Eq, left, right } => {
                column(left) && !reads(right) || column(right) && !reads(left)
            }
            _ => false,
        };
        let holds = |condition: &Expr| match condition {
            Expr::And(terms) => terms.iter().all(|term| !reads(term) || equals(term)),
            condition => !reads(condition) || equals(condition),
        };
        let node = &self.nodes[usize::from(part)];
        match node {
            Node::IndexScan { keys, filter, .. } => {
                keys.iter().all(|key| !reads(key) || column(key)) && filter.iter().all(holds)
            }
            // What a join gives is not read.
            Node::Project { .. } => true,
            _ => node_children(node).0.into_iter().all(holds),
        }
    }

    /// The columns of rows outside that the parts read.
    fn columns_below(&self, parts: &[NodeId], outside: &BTreeSet<SlotId>) -> Vec<Expr> {
        let mut found = Vec::new();
        for part in parts {
            for expr in node_children(&self.nodes[usize::from(*part)]).0 {
                self.find_columns(expr, &mut |slot| outside.contains(&slot), &mut found);
            }
        }
        found
    }

    fn find_columns(&self, expr: &Expr, wanted: &mut dyn FnMut(SlotId) -> bool, found: &mut Vec<Expr>) {
        if let Expr::Column { slot, .. } = expr
            && wanted(*slot)
            && !found.contains(expr)
        {
            found.push(expr.clone());
        }
        if let Expr::Subquery { root, .. } = expr {
            for part in self.parts(*root) {
                for inner in node_children(&self.nodes[usize::from(part)]).0 {
                    self.find_columns(inner, wanted, found);
                }
            }
        }
        for child in expr_children(expr) {
            self.find_columns(child, wanted, found);
        }
    }
}
