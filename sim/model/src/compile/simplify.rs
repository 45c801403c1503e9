//! Rows are not copied from query to query where they can be read in place.
//!
//! Compiling ends each SELECT in a [`Node::Project`], which writes its results into a slot of its own. Where they are nothing but
//! columns, whoever reads them can as well read the slots that they come from: a query in FROM is read through, as PostgreSQL
//! pulls subqueries up (src/backend/optimizer/prep/prepjointree.c); a WITH query keeps what its slots are *bound* to, not
//! values; and a subquery in an expression gives a column of the row that it has found.

use std::collections::BTreeSet;

use super::visit::{expr_children, expr_children_mut, has_subquery, is_volatile, node_children, node_children_mut};
use crate::function::TableFunction;
use crate::plan::{ColumnId, Cte, Expr, JoinKind, Node, NodeId, SlotId, SortKey, SubqueryKind};

/// Larger plans stay as they are: each step looks at the whole plan.
const NODES_MAX: usize = 256;

/// A plan in the making.
pub(super) struct Parts<'a> {
    pub(super) nodes: &'a mut Vec<Node>,
    pub(super) ctes: &'a mut Vec<Cte>,
    /// How many slots there are.
    pub(super) slots: &'a mut SlotId,
    pub(super) output: Option<SlotId>,
}

impl Parts<'_> {
    /// Takes out what can be taken out.
    pub(super) fn simplify(&mut self) {
        if self.nodes.len() > NODES_MAX {
            return;
        }
        self.read_subqueries_in_place();
        self.join_projections();
        self.drop_sorts();
        for cte in 0..self.ctes.len() {
            self.bind_cte(cte);
        }
    }

    /// A subquery that ends in a column gives that column; whether a row exists does not hang on its columns.
    fn read_subqueries_in_place(&mut self) {
        let projections: Vec<Option<(NodeId, SlotId, Vec<Expr>)>> = self
            .nodes
            .iter()
            .map(|node| match node {
                Node::Project { input, slot, exprs } => Some((*input, *slot, exprs.clone())),
                _ => None,
            })
            .collect();
        self.each_expr(&mut |expr| {
            let Expr::Subquery { kind, root, output, column } = expr else { return };
            let Some((input, slot, exprs)) = &projections[usize::from(*root)] else { return };
            match (&*kind, exprs.as_slice()) {
                (SubqueryKind::Exists { .. }, exprs) if !exprs.iter().any(is_volatile) => *root = *input,
                (SubqueryKind::Exists { .. }, _) => {}
                (_, [Expr::Column { slot: from, column: place }]) if slot == output => {
                    *root = *input;
                    *output = *from;
                    *column = *place;
                }
                _ => {}
            }
        });
    }

    /// Calls `change` for every expression, outer ones first.
    fn each_expr(&mut self, change: &mut impl FnMut(&mut Expr)) {
        fn down(expr: &mut Expr, change: &mut impl FnMut(&mut Expr)) {
            change(expr);
            for child in expr_children_mut(expr) {
                down(child, change);
            }
        }
        for node in self.nodes.iter_mut() {
            for expr in node_children_mut(node).0 {
                down(expr, change);
            }
        }
    }

    /// Takes out each projection whose results are only read one by one.
    fn join_projections(&mut self) {
        for id in 0..self.nodes.len() {
            let Node::Project { input, slot, exprs } = &self.nodes[id] else { continue };
            let (input, slot, exprs) = (*input, *slot, exprs.clone());
            let Some(parent) = self.parent(NodeId::try_from(id).expect("few nodes")) else { continue };
            let below_projection = matches!(self.nodes[parent], Node::Project { .. });
            let fits = |(place, expr): (usize, &Expr)| {
                is_plain(expr)
                    || below_projection && !is_volatile(expr) && !has_subquery(expr) && self.uses(slot, place) <= 1
            };
            if !exprs.iter().enumerate().all(fits)
                || self.is_read_whole(slot)
                || self.is_read_by_subquery(slot)
                || self.can_be_missing(slot)
            {
                continue;
            }
            for at in inputs_mut(&mut self.nodes[parent]) {
                if usize::from(*at) == id {
                    *at = input;
                }
            }
            self.nodes[id] = Node::OneRow;
            self.substitute(slot, &exprs);
        }
    }

    /// A function's rows stand in the order of their numbers (WITH ORDINALITY). Source: PostgreSQL, `create_functionscan_path` in
    /// src/backend/optimizer/util/pathnode.c and its caller.
    fn drop_sorts(&mut self) {
        for id in 0..self.nodes.len() {
            let Node::Sort { input, keys, .. } = &self.nodes[id] else { continue };
            let Node::FunctionScan { slot, function, args, ordinality: true, .. } = &self.nodes[usize::from(*input)]
            else {
                continue;
            };
            let number = if *function == TableFunction::Unnest { args.len() } else { 1 };
            let by_number = |key: &SortKey| {
                !key.descending
                    && matches!(&key.expr, Expr::Column { slot: of, column } if of == slot && usize::from(*column) == number)
            };
            let input = *input;
            if keys.first().is_some_and(by_number)
                && let Some(parent) = self.parent(NodeId::try_from(id).expect("few nodes"))
            {
                for at in inputs_mut(&mut self.nodes[parent]) {
                    if usize::from(*at) == id {
                        *at = input;
                    }
                }
                self.nodes[id] = Node::OneRow;
            }
        }
    }

    /// The node that polls `id`; none: it is the root of something.
    fn parent(&self, id: NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node_children(node).1.contains(&id))
    }

    /// How often a column is read.
    fn uses(&self, slot: SlotId, place: usize) -> usize {
        fn count(expr: &Expr, column: &Expr) -> usize {
            usize::from(expr == column)
                + expr_children(expr).into_iter().map(|child| count(child, column)).sum::<usize>()
        }
        let Ok(column) = ColumnId::try_from(place) else { return usize::MAX };
        let column = Expr::Column { slot, column };
        self.nodes.iter().flat_map(|node| node_children(node).0).map(|expr| count(expr, &column)).sum()
    }

    /// Whether a slot is read as a row, not column by column.
    fn is_read_whole(&self, slot: SlotId) -> bool {
        let by_node = |node: &Node| match node {
            Node::Distinct { slot: row, .. } | Node::Insert { source: row, .. } => *row == slot,
            Node::Append { inputs, .. } => inputs.iter().any(|(_, row)| *row == slot),
            Node::SetOperation { inputs, .. } => inputs.iter().any(|(_, row)| *row == slot),
            _ => false,
        };
        self.output == Some(slot)
            || self.ctes.iter().any(|cte| cte.slots.contains(&slot))
            || self.nodes.iter().any(by_node)
    }

    /// Whether a subquery's values stand in a slot.
    fn is_read_by_subquery(&self, slot: SlotId) -> bool {
        fn reads(expr: &Expr, slot: SlotId) -> bool {
            matches!(expr, Expr::Subquery { output, .. } if *output == slot)
                || expr_children(expr).into_iter().any(|child| reads(child, slot))
        }
        self.nodes.iter().any(|node| node_children(node).0.into_iter().any(|expr| reads(expr, slot)))
    }

    /// Whether an outer join can bind a slot to NULLs: then not even a constant of it is constant.
    fn can_be_missing(&self, slot: SlotId) -> bool {
        self.nodes.iter().any(|node| {
            matches!(node, Node::NestLoop { kind: JoinKind::Left, inner_slots, .. } if inner_slots.contains(&slot))
        })
    }

    /// Puts `exprs` in the place of the columns of `slot`.
    fn substitute(&mut self, slot: SlotId, exprs: &[Expr]) {
        self.each_expr(&mut |expr| match expr {
            Expr::Column { slot: from, column } if *from == slot => *expr = exprs[usize::from(*column)].clone(),
            Expr::Subquery { kind, output, column, .. }
                if *output == slot && !matches!(kind, SubqueryKind::Exists { .. }) =>
            {
                let Expr::Column { slot: from, column: place } = &exprs[usize::from(*column)] else {
                    unreachable!("only columns are put in the place of a subquery's value");
                };
                (*output, *column) = (*from, *place);
            }
            _ => {}
        });
        let sources = slots_of(exprs);
        for node in self.nodes.iter_mut() {
            let (Node::Sort { slots, .. } | Node::Window { slots, .. } | Node::NestLoop { inner_slots: slots, .. }) =
                node
            else {
                continue;
            };
            if let Some(at) = slots.iter().position(|other| *other == slot) {
                slots.splice(at..=at, sources.iter().copied());
            }
        }
    }

    /// A WITH query whose results are columns keeps what the slots of these columns are bound to.
    fn bind_cte(&mut self, number: usize) {
        let Cte { root, slots, .. } = &self.ctes[number];
        let [output] = slots.as_slice() else { return };
        let (root, output) = (*root, *output);
        let exprs = match &self.nodes[usize::from(root)] {
            Node::Project { slot, exprs, .. } if *slot == output => exprs.clone(),
            Node::Insert { returning: Some(returning), .. }
            | Node::Update { returning: Some(returning), .. }
            | Node::Delete { returning: Some(returning), .. }
                if returning.slot == output =>
            {
                returning.exprs.clone()
            }
            _ => return,
        };
        if !exprs.iter().all(|expr| matches!(expr, Expr::Column { .. })) {
            return;
        }
        let readers: Vec<usize> = (0..self.nodes.len())
            .filter(|id| matches!(&self.nodes[*id], Node::CteScan { cte, .. } if usize::from(*cte) == number))
            .collect();
        let whole = |id: &usize| match &self.nodes[*id] {
            Node::CteScan { slots, .. } => slots.iter().any(|slot| self.is_read_whole(*slot)),
            _ => false,
        };
        if readers.iter().any(whole) {
            return;
        }
        let sources = slots_of(&exprs);
        for id in readers {
            self.rebind_reader(id, &sources, &exprs);
        }
        let cte = &mut self.ctes[number];
        cte.slots = sources;
        match &mut self.nodes[usize::from(root)] {
            Node::Project { input, .. } => cte.root = *input,
            Node::Insert { returning: Some(returning), .. }
            | Node::Update { returning: Some(returning), .. }
            | Node::Delete { returning: Some(returning), .. } => returning.exprs.clear(),
            _ => unreachable!("looked at above"),
        }
    }

    /// Each reader of a WITH query binds slots of its own.
    fn rebind_reader(&mut self, id: usize, sources: &[SlotId], exprs: &[Expr]) {
        let Node::CteScan { slots, .. } = &mut self.nodes[id] else { unreachable!("a reader") };
        let old = slots[0];
        let first = *self.slots;
        *self.slots += SlotId::try_from(sources.len()).expect("few slots");
        *slots = (first..*self.slots).collect();
        let own = |expr: &Expr| match expr {
            Expr::Column { slot, column } => {
                let place = sources.iter().position(|source| source == slot).expect("one of the sources");
                Expr::Column { slot: first + SlotId::try_from(place).expect("few slots"), column: *column }
            }
            _ => unreachable!("the results are columns"),
        };
        let exprs: Vec<Expr> = exprs.iter().map(own).collect();
        self.substitute(old, &exprs);
    }
}

/// Costs nothing to evaluate, and always comes to the same.
fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Column { .. } | Expr::Const(_) | Expr::Param(_))
}

fn slots_of(exprs: &[Expr]) -> Vec<SlotId> {
    fn collect(expr: &Expr, found: &mut BTreeSet<SlotId>) {
        if let Expr::Column { slot, .. } = expr {
            found.insert(*slot);
        }
        for child in expr_children(expr) {
            collect(child, found);
        }
    }
    let mut found = BTreeSet::new();
    for expr in exprs {
        collect(expr, &mut found);
    }
    found.into_iter().collect()
}

fn inputs_mut(node: &mut Node) -> Vec<&mut NodeId> {
    match node {
        Node::NestLoop { outer, inner, .. } => vec![outer, inner],
        Node::Append { inputs, .. } => inputs.iter_mut().map(|(input, _)| input).collect(),
        Node::SetOperation { inputs, .. } => inputs.iter_mut().map(|(input, _)| input).collect(),
        Node::Filter { input, .. }
        | Node::Project { input, .. }
        | Node::Aggregate { input, .. }
        | Node::Sort { input, .. }
        | Node::Window { input, .. }
        | Node::Distinct { input, .. }
        | Node::Limit { input, .. }
        | Node::LockRows { input, .. }
        | Node::Insert { input, .. }
        | Node::Update { input, .. }
        | Node::Delete { input, .. } => vec![input],
        Node::OneRow
        | Node::Values { .. }
        | Node::SeqScan { .. }
        | Node::IndexScan { .. }
        | Node::ViewScan { .. }
        | Node::FunctionScan { .. }
        | Node::CteScan { .. } => Vec::new(),
    }
}
