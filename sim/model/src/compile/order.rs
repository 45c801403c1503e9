//! Whether the order of a query's rows follows from its text.
//!
//! Where it does not, PostgreSQL's planner chooses it: which side of a join is read in the other's loop, or hashed; how groups are
//! found; whether a subquery is looked into or joined; and whether an index is asked, which names a row by the place of its first version. The model does not plan as it does, so whoever shows rows in their order
//! must not show these ([`crate::exec::Activation::shows_order`]).

use crate::function::AggregateFunction;
use crate::plan::{Aggregate, CompareOp, Cte, Expr, JoinKind, Node, NodeId, RowOrder, SubqueryKind};

/// What is known of the order of the root's rows. Those of one table come as they were written.
pub(super) fn of_rows(nodes: &[Node], ctes: &[Cte], root: NodeId) -> RowOrder {
    let mut order = RowOrder::default();
    Walk { nodes, ctes, order: &mut order }.node(root);
    order
}

struct Walk<'w> {
    nodes: &'w [Node],
    ctes: &'w [Cte],
    order: &'w mut RowOrder,
}

impl Walk<'_> {
    fn open(&mut self, construct: &'static str, always: bool) {
        self.order.left_open_by.get_or_insert(construct);
        self.order.always |= always;
    }

    /// IN (SELECT ..) and EXISTS may become a join that begins with the subquery.
    fn condition(&mut self, condition: Option<&Expr>) {
        match condition {
            Some(Expr::And(parts)) => parts.iter().for_each(|part| self.condition(Some(part))),
            Some(Expr::Subquery {
                kind:
                    SubqueryKind::Exists { negated: false } | SubqueryKind::AnyAll { op: CompareOp::Eq, all: false, .. },
                ..
            }) => self.open("IN (SELECT ..) or EXISTS", true),
            _ => {}
        }
    }

    fn node(&mut self, node: NodeId) {
        match &self.nodes[usize::from(node)] {
            Node::OneRow | Node::Values { .. } => {}
            Node::SeqScan { filter, bitmap: true, .. } | Node::IndexScan { filter, .. } => {
                self.condition(filter.as_ref());
                self.open("an index", false);
            }
            Node::SeqScan { filter, .. } | Node::FunctionScan { filter, .. } => self.condition(filter.as_ref()),
            Node::ViewScan { .. } => self.open("a system view", true),
            Node::CteScan { cte, filter, .. } => {
                self.condition(filter.as_ref());
                // Its ORDER BY is not this query's.
                let known = self.order.sort;
                self.node(self.ctes[usize::from(*cte)].root);
                self.order.sort = known;
            }
            Node::Aggregate { input, keys, aggregates, .. } if keys.is_empty() => {
                let lists = |aggregate: &Aggregate| {
                    matches!(
                        aggregate.function,
                        AggregateFunction::ArrayAgg
                            | AggregateFunction::StringAgg
                            | AggregateFunction::JsonbAgg
                            | AggregateFunction::JsonbObjectAgg
                    )
                };
                if aggregates.iter().any(|aggregate| lists(aggregate) && aggregate.order.is_empty()) {
                    self.order.limited = true;
                    self.node(*input);
                }
            }
            Node::Aggregate { .. } => self.open("GROUP BY", true),
            Node::Distinct { .. } | Node::SetOperation { .. } | Node::Window { .. } => self.node_of_many(node),
            // A function in a select list.
            Node::NestLoop { outer, kind: JoinKind::Each, .. } => self.node(*outer),
            Node::NestLoop { outer, inner, on, .. } => {
                self.condition(on.as_ref());
                if !self.gives_one_row(*outer) && !self.gives_one_row(*inner) {
                    self.open("a join", false);
                }
                let known = self.order.sort;
                self.node(*outer);
                self.node(*inner);
                self.order.sort = known;
            }
            Node::Append { inputs, .. } => inputs.iter().for_each(|(input, _)| self.node(*input)),
            Node::Sort { input, .. } => {
                self.order.sort.get_or_insert(node);
                self.node(*input);
                self.open("equal keys", false);
            }
            Node::Filter { input, condition } => {
                self.condition(Some(condition));
                self.node(*input);
            }
            Node::Limit { input, .. } => {
                self.order.limited = true;
                self.node(*input);
            }
            Node::Project { input, .. }
            | Node::LockRows { input, .. }
            | Node::Insert { input, .. }
            | Node::Update { input, .. }
            | Node::Delete { input, .. } => self.node(*input),
        }
    }

    /// Of nodes that look at all rows: what they give may hang on the order in which these come.
    fn node_of_many(&mut self, node: NodeId) {
        match &self.nodes[usize::from(node)] {
            Node::Distinct { input, .. } if self.is_sorted_for(*input) => {
                self.order.limited = true;
                self.node(*input);
            }
            Node::Window { input, .. } => {
                self.order.limited = true;
                self.open("a window function", false);
                self.node(*input);
            }
            Node::SetOperation { .. } => self.open("INTERSECT or EXCEPT", true),
            Node::Distinct { input, .. } if matches!(self.nodes[usize::from(*input)], Node::Append { .. }) => {
                self.open("UNION", true);
            }
            _ => self.open("DISTINCT", true),
        }
    }

    /// DISTINCT ON: its rows are sorted, and the first of each group is taken.
    fn is_sorted_for(&self, input: NodeId) -> bool {
        let Node::Project { input, .. } = &self.nodes[usize::from(input)] else { return false };
        matches!(self.nodes[usize::from(*input)], Node::Sort { .. })
    }

    fn gives_one_row(&self, node: NodeId) -> bool {
        match &self.nodes[usize::from(node)] {
            Node::OneRow => true,
            Node::Values { rows, .. } => rows.len() < 2,
            Node::Aggregate { keys, .. } => keys.is_empty(),
            Node::Project { input, .. } | Node::Filter { input, .. } => self.gives_one_row(*input),
            _ => false,
        }
    }
}
