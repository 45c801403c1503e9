//! Access paths: in which order the items of FROM are joined, where each condition is tested, and which index answers it.
//!
//! All joins are nested loops. A condition is tested at the scan of the last slot that it needs, as PostgreSQL does, so that
//! a row which does not match is never locked. Results do not depend on the order of joins, but which rows are locked
//! first does, and in PostgreSQL nobody can rely on it either.

use std::collections::BTreeSet;

use super::{Builder, visit};
use crate::catalog::{IndexDef, IndexId, TableId};
use crate::error::Error;
use crate::function::{Function, TableFunction};
use crate::plan::{CompareOp, CteId, Expr, JoinKind, Node, NodeId, OWN_ROW, SlotId, View};

/// Where the rows of a slot come from.
#[derive(Debug)]
pub(super) enum Leaf {
    Table(TableId),
    View(View),
    Cte(CteId),
    Function {
        function: TableFunction,
        args: Vec<Expr>,
        ordinality: bool,
    },
    /// A subquery, which writes into the slot.
    Node(NodeId),
}

/// An item of FROM.
#[derive(Debug)]
pub(super) enum From {
    Leaf(SlotId, Leaf),
    Join { left: Box<From>, right: Box<From>, outer: bool, on: Vec<Expr> },
}

/// The terms of an AND.
pub(super) fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::And(terms) => terms.into_iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

fn all_of(mut terms: Vec<Expr>) -> Option<Expr> {
    match terms.len() {
        0 => None,
        1 => terms.pop(),
        _ => Some(Expr::And(terms)),
    }
}

impl From {
    fn slots(&self, into: &mut Vec<SlotId>) {
        match self {
            Self::Leaf(slot, _) => into.push(*slot),
            Self::Join { left, right, .. } => {
                left.slots(into);
                right.slots(into);
            }
        }
    }
}

/// A condition and the slots of this level that it reads.
struct Qual {
    expr: Expr,
    slots: BTreeSet<SlotId>,
}

/// An index that answers equalities, and the values that its first columns must have.
struct Path {
    index: IndexId,
    keys: Vec<Expr>,
    /// The places, in the list of conditions, of those that it answers.
    answered: Vec<usize>,
    /// At most one row.
    single: bool,
}

impl Builder<'_> {
    /// The node that gives the rows of `items` for which all `quals` are true.
    pub(super) fn plan_from(&mut self, items: Vec<From>, quals: Vec<Expr>) -> Result<NodeId, Error> {
        let mut local = Vec::new();
        for item in &items {
            item.slots(&mut local);
        }
        let local: BTreeSet<SlotId> = local.into_iter().collect();
        if items.is_empty() {
            let node = self.node(Node::OneRow)?;
            return self.filtered(node, quals);
        }
        self.plan_units(items, quals, &BTreeSet::new(), &local)
    }

    /// `node`, and above it a test.
    pub(super) fn filtered(&mut self, node: NodeId, quals: Vec<Expr>) -> Result<NodeId, Error> {
        match all_of(quals) {
            Some(condition) => self.node(Node::Filter { input: node, condition }),
            None => Ok(node),
        }
    }

    /// Joins inner joins' items in the order that costs least by a rule of thumb; `bound` are the slots that have rows already.
    fn plan_units(
        &mut self,
        items: Vec<From>,
        quals: Vec<Expr>,
        bound: &BTreeSet<SlotId>,
        local: &BTreeSet<SlotId>,
    ) -> Result<NodeId, Error> {
        let (mut units, mut quals) = (Vec::new(), quals);
        for item in items {
            flatten(item, &mut units, &mut quals);
        }
        let mut quals: Vec<Qual> = quals
            .into_iter()
            .map(|expr| {
                let slots = visit::slots(&expr, &self.nodes).intersection(local).copied().collect();
                Qual { expr, slots }
            })
            .collect();
        // PostgreSQL tests what costs more later; a subquery is all that costs much here.
        quals.sort_by_key(|qual| visit::has_subquery(&qual.expr));
        let mut bound = bound.clone();
        let mut joined: Option<NodeId> = None;
        while !units.is_empty() {
            let best = self.cheapest(&units, &quals, &bound, local);
            let unit = units.remove(best);
            let mut slots = Vec::new();
            unit.slots(&mut slots);
            let before = bound.clone();
            bound.extend(slots.iter().copied());
            let (now, later): (Vec<Qual>, Vec<Qual>) = quals.into_iter().partition(|qual| qual.slots.is_subset(&bound));
            quals = later;
            let node = self.plan_unit(unit, now, &before, local)?;
            joined = Some(match joined {
                None => node,
                Some(outer) => self.node(Node::NestLoop {
                    outer,
                    inner: node,
                    kind: JoinKind::Inner,
                    on: None,
                    inner_slots: slots,
                })?,
            });
        }
        Ok(joined.expect("there was at least one unit"))
    }

    /// The place of the unit to join next.
    fn cheapest(&self, units: &[From], quals: &[Qual], bound: &BTreeSet<SlotId>, local: &BTreeSet<SlotId>) -> usize {
        let cost = |unit: &From| match unit {
            From::Leaf(slot, Leaf::Table(table)) => match self.path(*slot, *table, quals, bound) {
                Some(Path { single: true, .. }) => 0,
                Some(_) => 1,
                None => 4,
            },
            From::Leaf(_, Leaf::Function { args, .. }) => {
                let needs = args.iter().flat_map(|arg| visit::slots(arg, &self.nodes));
                let ready = needs.into_iter().all(|slot| !local.contains(&slot) || bound.contains(&slot));
                if ready { 2 } else { 9 }
            }
            From::Leaf(_, Leaf::Node(_)) => 2,
            From::Leaf(_, Leaf::Cte(_) | Leaf::View(_)) => 3,
            From::Join { .. } => 5,
        };
        let places = units.iter().enumerate().min_by_key(|(_, unit)| cost(unit));
        places.map_or(0, |(place, _)| place)
    }

    fn plan_unit(
        &mut self,
        unit: From,
        quals: Vec<Qual>,
        bound: &BTreeSet<SlotId>,
        local: &BTreeSet<SlotId>,
    ) -> Result<NodeId, Error> {
        match unit {
            From::Leaf(slot, leaf) => self.plan_leaf(slot, leaf, quals, bound),
            From::Join { left, right, outer: _, on } => {
                // Above an outer join a condition on its inner side is tested; on its outer side, below.
                let mut left_slots = Vec::new();
                left.slots(&mut left_slots);
                let mut visible = bound.clone();
                visible.extend(left_slots);
                let (below, above): (Vec<Qual>, Vec<Qual>) =
                    quals.into_iter().partition(|qual| qual.slots.is_subset(&visible));
                let outer =
                    self.plan_units(vec![*left], below.into_iter().map(|qual| qual.expr).collect(), bound, local)?;
                let mut inner_slots = Vec::new();
                right.slots(&mut inner_slots);
                // A row of the outer side for which ON is false has no match: so all of ON can be tested inside.
                let inner = self.plan_units(vec![*right], on, &visible, local)?;
                let node = self.node(Node::NestLoop { outer, inner, kind: JoinKind::Left, on: None, inner_slots })?;
                self.filtered(node, above.into_iter().map(|qual| qual.expr).collect())
            }
        }
    }

    fn plan_leaf(
        &mut self,
        slot: SlotId,
        leaf: Leaf,
        quals: Vec<Qual>,
        bound: &BTreeSet<SlotId>,
    ) -> Result<NodeId, Error> {
        let rest = |quals: Vec<Qual>| all_of(quals.into_iter().map(|qual| qual.expr).collect());
        match leaf {
            Leaf::Table(table) => {
                if let Some(Path { index, keys, answered, .. }) = self.path(slot, table, &quals, bound) {
                    let left = quals.into_iter().enumerate().filter(|(place, _)| !answered.contains(place));
                    let filter = rest(left.map(|(_, qual)| qual).collect());
                    return self.node(Node::IndexScan { slot, table, index, keys, filter });
                }
                let bitmap = self.reads_a_range(slot, table, &quals, bound);
                self.node(Node::SeqScan { slot, table, bitmap, filter: rest(quals) })
            }
            Leaf::View(view) => self.node(Node::ViewScan { slot, view, filter: rest(quals) }),
            Leaf::Cte(cte) => self.node(Node::CteScan { slots: vec![slot], cte, filter: rest(quals) }),
            Leaf::Function { function, args, ordinality } => {
                self.node(Node::FunctionScan { slot, function, args, ordinality, filter: rest(quals) })
            }
            Leaf::Node(node) => self.plan_query(slot, node, quals, bound),
        }
    }

    /// A query in FROM. One that reads a table and nothing more is read through, as PostgreSQL pulls it up: the table's indexes answer what
    /// is asked.
    fn plan_query(
        &mut self,
        slot: SlotId,
        node: NodeId,
        quals: Vec<Qual>,
        bound: &BTreeSet<SlotId>,
    ) -> Result<NodeId, Error> {
        let special = |expr: &Expr| visit::is_volatile(expr) || visit::has_subquery(expr);
        if let Node::Project { input, slot: own, exprs } = &self.nodes[usize::from(node)]
            && let Node::SeqScan { slot: scanned, table, filter, .. } = &self.nodes[usize::from(*input)]
            && *own == slot
            && !quals.is_empty()
            && !exprs.iter().chain(quals.iter().map(|qual| &qual.expr)).chain(filter).any(special)
        {
            let (input, scanned, table) = (*input, *scanned, *table);
            let inner = filter.iter().cloned().flat_map(conjuncts);
            let inner = inner.map(|expr| Qual { expr, slots: BTreeSet::from([scanned]) });
            let through = quals.iter().map(|qual| Qual {
                expr: visit::read_through(&qual.expr, slot, exprs),
                slots: qual.slots.iter().map(|of| if *of == slot { scanned } else { *of }).collect(),
            });
            let all = inner.chain(through).collect();
            let scan = self.plan_leaf(scanned, Leaf::Table(table), all, bound)?;
            self.nodes[usize::from(input)] = std::mem::replace(&mut self.nodes[usize::from(scan)], Node::OneRow);
            return Ok(node);
        }
        self.filtered(node, quals.into_iter().map(|qual| qual.expr).collect())
    }

    /// Whether some of an index's first column is asked for: then PostgreSQL, which does not know yet how small the table is, asks the
    /// index for a bitmap of places.
    fn reads_a_range(&self, slot: SlotId, table: TableId, quals: &[Qual], bound: &BTreeSet<SlotId>) -> bool {
        let def = self.catalog.table(table);
        let firsts =
            def.indexes.iter().filter(|index| index.predicate.is_none()).filter_map(|index| index.keys.first());
        let firsts: Vec<Expr> = firsts.map(|key| visit::rebind(key, OWN_ROW, slot)).collect();
        let known = |expr: &Expr| {
            let slots = visit::slots(expr, &self.nodes);
            !visit::is_volatile(expr) && slots.iter().all(|slot| bound.contains(slot))
        };
        quals.iter().any(|qual| is_range(&qual.expr, &firsts, &known))
    }

    /// The best index for the equalities on `slot` whose other side is known once `bound` has rows.
    fn path(&self, slot: SlotId, table: TableId, quals: &[Qual], bound: &BTreeSet<SlotId>) -> Option<Path> {
        let def = self.catalog.table(table);
        let paths = def.indexes.iter().enumerate().filter_map(|(place, index)| {
            let place = IndexId::try_from(place).expect("the number of indexes is limited");
            self.path_of(slot, place, index, quals, bound)
        });
        // The first of the longest; one that gives a single row before all.
        paths.reduce(|best, path| {
            let better = (path.single, path.keys.len()) > (best.single, best.keys.len());
            if better { path } else { best }
        })
    }

    fn path_of(
        &self,
        slot: SlotId,
        place: IndexId,
        index: &IndexDef,
        quals: &[Qual],
        bound: &BTreeSet<SlotId>,
    ) -> Option<Path> {
        let own = |expr: &Expr| visit::rebind(expr, OWN_ROW, slot);
        if let Some(predicate) = &index.predicate {
            // A partial index serves where its condition is asked for, word for word.
            let implied = conjuncts(own(predicate)).iter().all(|term| quals.iter().any(|qual| qual.expr == *term));
            if !implied {
                return None;
            }
        }
        let mut path = Path { index: place, keys: Vec::new(), answered: Vec::new(), single: false };
        for key in &index.keys {
            let column = own(key);
            let known = |expr: &Expr| {
                let slots = visit::slots(expr, &self.nodes);
                !visit::is_volatile(expr) && !visit::has_subquery(expr) && !slots.contains(&slot)
            };
            let found = quals.iter().enumerate().find_map(|(number, qual)| {
                let others = qual.slots.iter().all(|other| *other == slot || bound.contains(other));
                match &qual.expr {
                    Expr::Compare { op: CompareOp::Eq, left, right } if others && **left == column && known(right) => {
                        Some((number, (**right).clone()))
                    }
                    Expr::Compare { op: CompareOp::Eq, left, right } if others && **right == column && known(left) => {
                        Some((number, (**left).clone()))
                    }
                    _ => None,
                }
            });
            let Some((number, value)) = found else { break };
            path.answered.push(number);
            path.keys.push(value);
        }
        path.single = index.unique && path.keys.len() == index.keys.len();
        (!path.keys.is_empty()).then_some(path)
    }
}

/// Whether a condition says what one of `columns` is, or between what it lies.
fn is_range(condition: &Expr, columns: &[Expr], known: &impl Fn(&Expr) -> bool) -> bool {
    match condition {
        Expr::Compare { op, left, right } if *op != CompareOp::NotEq => {
            columns.contains(left) && known(right) || columns.contains(right) && known(left)
        }
        Expr::AnyAll { op: CompareOp::Eq, left, array, all: false } => columns.contains(left) && known(array),
        Expr::Call { function: Function::Like, args } => columns.contains(&args[0]) && known(&args[1]),
        Expr::Not(inner) => is_range(inner, columns, known),
        Expr::And(parts) => parts.iter().any(|part| is_range(part, columns, known)),
        Expr::Or(parts) => parts.iter().all(|part| is_range(part, columns, known)),
        _ => false,
    }
}

/// Inner joins become items of one list and their conditions conditions of the whole.
fn flatten(item: From, units: &mut Vec<From>, quals: &mut Vec<Expr>) {
    match item {
        From::Join { left, right, outer: false, on } => {
            flatten(*left, units, quals);
            flatten(*right, units, quals);
            quals.extend(on);
        }
        unit => units.push(unit),
    }
}

/// The outer joins, inner ones first: what each asks, and the slots of the side that can be missing.
pub(super) fn outer_joins(item: &From, into: &mut Vec<(Expr, Vec<SlotId>)>) {
    let From::Join { left, right, outer, on } = item else { return };
    outer_joins(left, into);
    outer_joins(right, into);
    if *outer {
        let mut slots = Vec::new();
        right.slots(&mut slots);
        into.push((Expr::And(on.clone()), slots));
    }
}

/// The conditions of inner joins: with those of WHERE, all that a row must pass again after it has changed.
pub(super) fn inner_conditions(item: &From, into: &mut Vec<Expr>) {
    if let From::Join { left, right, outer: false, on } = item {
        inner_conditions(left, into);
        inner_conditions(right, into);
        into.extend(on.iter().cloned());
    }
    if let From::Join { left, outer: true, .. } = item {
        inner_conditions(left, into);
    }
}
