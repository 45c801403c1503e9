//! Nodes that combine, choose and compute rows.

use crate::error::Error;
use crate::exec::{Exec, Interrupt, NodeState, Polled, Slot, Stage};
use crate::plan::{Difference, Expr, JoinKind, Node, NodeId, SlotId};
use crate::types::Value;

impl Exec<'_> {
    /// Makes a node, and those below it, start again.
    pub(super) fn rescan(&mut self, node: NodeId) {
        *self.state(node) = NodeState::default();
        match &self.query.nodes[usize::from(node)] {
            Node::OneRow
            | Node::Values { .. }
            | Node::SeqScan { .. }
            | Node::IndexScan { .. }
            | Node::ViewScan { .. }
            | Node::FunctionScan { .. }
            | Node::CteScan { .. } => {}
            Node::NestLoop { outer, inner, .. } => {
                self.rescan(*outer);
                self.rescan(*inner);
            }
            Node::Append { inputs, .. } => {
                for (input, _) in inputs {
                    self.rescan(*input);
                }
            }
            Node::SetOperation { inputs, .. } => {
                for (input, _) in inputs {
                    self.rescan(*input);
                }
            }
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
            | Node::Delete { input, .. } => self.rescan(*input),
        }
    }

    #[inline(never)]
    pub(super) fn poll_nest_loop(
        &mut self,
        node: NodeId,
        (outer, inner): (NodeId, NodeId),
        kind: JoinKind,
        on: Option<&Expr>,
        inner_slots: &[SlotId],
    ) -> Result<Polled, Interrupt> {
        loop {
            match self.state(node).stage {
                Stage::Fresh => {
                    if self.poll(outer)? == Polled::End {
                        return Ok(Polled::End);
                    }
                    self.rescan(inner);
                    // `flag`: this outer row has had a match.
                    let state = self.state(node);
                    (state.stage, state.flag) = (Stage::Input, false);
                }
                Stage::Input => {
                    if self.poll(inner)? == Polled::Row {
                        self.state(node).stage = Stage::Work;
                        continue;
                    }
                    let matched = self.state(node).flag;
                    self.state(node).stage = Stage::Fresh;
                    if kind == JoinKind::Left && !matched {
                        for slot in inner_slots {
                            self.bind(*slot, Slot::Nulls);
                        }
                        self.watch_order(node, inner_slots);
                        return Ok(Polled::Row);
                    }
                }
                _ => {
                    self.spend(1)?;
                    let matches = self.passes(on)?;
                    self.state(node).stage = Stage::Input;
                    if matches {
                        self.state(node).flag = true;
                        if kind != JoinKind::Each {
                            self.watch_order(node, inner_slots);
                        }
                        return Ok(Polled::Row);
                    }
                }
            }
        }
    }

    /// A join's rows come in the same order whichever side is read in the other's loop, as long as they rise on both sides; those without
    /// a match would come last. A scan's rows come in the same order whether an index is asked or not, as long as they rise.
    #[inline]
    pub(super) fn watch_order(&mut self, node: NodeId, slots: &[SlotId]) {
        if self.query.order.left_open_by.is_none() {
            return;
        }
        let place = |slot: &SlotId| match self.bound(*slot) {
            Slot::Tuple { tuple, .. } => Some(tuple),
            Slot::Buffer { start, .. } => Some(start),
            Slot::Nulls => Some(u32::MAX),
            Slot::Unbound | Slot::Values(_) => None,
        };
        let place = slots.iter().map(place).next().flatten();
        let last = self.state(node).last;
        match place.filter(|place| *place >= last) {
            Some(place) => self.state(node).last = place,
            None => self.act.order.open = true,
        }
    }

    /// Polls the input unless its last row is still being worked on.
    pub(super) fn input(&mut self, node: NodeId, input: NodeId) -> Result<Polled, Interrupt> {
        if self.state(node).stage == Stage::Work {
            return Ok(Polled::Row);
        }
        let polled = self.poll(input)?;
        if polled == Polled::Row {
            self.state(node).stage = Stage::Work;
        }
        Ok(polled)
    }

    #[inline(never)]
    pub(super) fn poll_filter(&mut self, node: NodeId, input: NodeId, condition: &Expr) -> Result<Polled, Interrupt> {
        while self.input(node, input)? == Polled::Row {
            let passes = self.passes(Some(condition))?;
            self.state(node).stage = Stage::Input;
            if passes {
                return Ok(Polled::Row);
            }
        }
        Ok(Polled::End)
    }

    #[inline(never)]
    pub(super) fn poll_project(
        &mut self,
        node: NodeId,
        input: NodeId,
        slot: SlotId,
        exprs: &[Expr],
    ) -> Result<Polled, Interrupt> {
        if self.input(node, input)? == Polled::End {
            return Ok(Polled::End);
        }
        self.evaluate_into(slot, exprs)?;
        self.state(node).stage = Stage::Input;
        Ok(Polled::Row)
    }

    #[inline(never)]
    pub(super) fn poll_limit(
        &mut self,
        node: NodeId,
        input: NodeId,
        limit: Option<&Expr>,
        offset: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        // `at` counts down what is to be skipped, `end` what may still be given.
        if self.state(node).stage == Stage::Fresh {
            let skip = self.row_count(offset, "2201X", "OFFSET")?.unwrap_or(0);
            let give = self.row_count(limit, "2201W", "LIMIT")?.unwrap_or(u32::MAX);
            self.row_done();
            *self.state(node) = NodeState { stage: Stage::Input, at: skip, end: give, ..NodeState::default() };
        }
        while self.state(node).at > 0 && self.state(node).end > 0 {
            if self.poll(input)? == Polled::End {
                return Ok(Polled::End);
            }
            self.state(node).at -= 1;
        }
        if self.state(node).end == 0 || self.poll(input)? == Polled::End {
            return Ok(Polled::End);
        }
        let state = self.state(node);
        if state.end < u32::MAX {
            state.end -= 1;
        }
        Ok(Polled::Row)
    }

    fn row_count(&mut self, expr: Option<&Expr>, sqlstate: &'static str, name: &str) -> Result<Option<u32>, Interrupt> {
        let Some(expr) = expr else { return Ok(None) };
        match self.eval(expr)? {
            Value::Int(rows) if rows < 0 => Err(Error::new(sqlstate, format!("{name} must not be negative")).into()),
            Value::Int(rows) => Ok(Some(u32::try_from(rows).unwrap_or(u32::MAX))),
            _ => Ok(None),
        }
    }

    #[inline(never)]
    pub(super) fn poll_append(
        &mut self,
        node: NodeId,
        inputs: &[(NodeId, SlotId)],
        slot: SlotId,
    ) -> Result<Polled, Interrupt> {
        loop {
            let at = self.state(node).at as usize;
            let Some((input, from)) = inputs.get(at) else { return Ok(Polled::End) };
            if self.poll(*input)? == Polled::Row {
                let from = self.bound(*from);
                self.bind(slot, from);
                return Ok(Polled::Row);
            }
            self.state(node).at += 1;
        }
    }

    #[inline(never)]
    pub(super) fn poll_set_operation(
        &mut self,
        node: NodeId,
        [left, right]: [(NodeId, SlotId); 2],
        slot: SlotId,
        Difference { except, all }: Difference,
    ) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        if self.state(node).stage == Stage::Fresh {
            self.act.buffers[place].clear();
            self.state(node).stage = Stage::Input;
        }
        // What `left` has is kept, each row once; behind it stand how often it came, and how often it came from `right`.
        while self.state(node).stage != Stage::Return {
            let from_right = self.state(node).stage == Stage::Work;
            let (input, from) = if from_right { right } else { left };
            if self.poll(input)? == Polled::End {
                self.state(node).stage = if from_right { Stage::Return } else { Stage::Work };
                continue;
            }
            self.count_same(node, from, from_right)?;
        }
        let width = self.state(node).end as usize;
        loop {
            let start = self.state(node).at as usize;
            let Some([Value::Int(left), Value::Int(right)]) =
                self.act.buffers[place].get(start + width..start + width + 2)
            else {
                return Ok(Polled::End);
            };
            let times = match (except, all) {
                (true, true) => left - right,
                (true, false) => i64::from(*right == 0),
                (false, true) => *left.min(right),
                (false, false) => (*right).min(1),
            };
            // `last` rows like this one were given.
            if i64::from(self.state(node).last) < times {
                self.state(node).last += 1;
                let start = u32::try_from(start).expect("fewer than 2^32 values");
                let width = u16::try_from(width).expect("a row's width fits");
                self.bind(slot, Slot::Buffer { buffer: node, width, start });
                return Ok(Polled::Row);
            }
            let state = self.state(node);
            state.last = 0;
            state.at += u32::try_from(width + 2).expect("a row's width fits");
        }
    }

    fn count_same(&mut self, node: NodeId, from: SlotId, from_right: bool) -> Result<(), Interrupt> {
        let from = self.bound(from);
        let width = self.width(from);
        self.state(node).end = u32::try_from(width).expect("a row's width fits");
        let mut rows = std::mem::take(&mut self.act.buffers[usize::from(node)]);
        self.spend_comparisons(rows.len() / (width + 2))?;
        let same = |row: &&mut [Value]| {
            (0..width).all(|column| crate::types::same(&row[column], self.slot_value(from, column)))
        };
        match rows.chunks_exact_mut(width + 2).find(same) {
            Some(row) => {
                if let Value::Int(count) = &mut row[width + usize::from(from_right)] {
                    *count += 1;
                }
            }
            None if from_right => {}
            None => {
                rows.extend_from_slice(self.row(from));
                rows.extend([Value::Int(1), Value::Int(0)]);
            }
        }
        self.act.buffers[usize::from(node)] = rows;
        self.spend(width + 2)
    }

    #[inline(never)]
    pub(super) fn poll_distinct(&mut self, node: NodeId, input: NodeId, slot: SlotId) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        if self.state(node).stage == Stage::Fresh {
            self.act.buffers[place].clear();
            self.state(node).stage = Stage::Input;
        }
        while self.poll(input)? == Polled::Row {
            let seen = self.state(node).at as usize;
            self.spend_comparisons(seen)?;
            let from = self.bound(slot);
            let width = self.width(from);
            let same = |start: usize| {
                let seen = &self.act.buffers[place][start * width..];
                (0..width).all(|column| crate::types::same(&seen[column], self.slot_value(from, column)))
            };
            let rows = self.act.nodes[place].at as usize;
            if (0..rows).any(same) {
                continue;
            }
            self.spend(width)?;
            let mut seen = std::mem::take(&mut self.act.buffers[place]);
            seen.extend_from_slice(self.row(from));
            self.act.buffers[place] = seen;
            self.state(node).at += 1;
            return Ok(Polled::Row);
        }
        Ok(Polled::End)
    }
}
