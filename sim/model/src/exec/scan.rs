//! Nodes that rows come from.

use smallvec::SmallVec;

use crate::catalog::{IndexId, TableId};
use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::footprint::{Access, key_hash};
use crate::function::TableFunction;
use crate::mvcc::TupleId;
use crate::plan::{CteId, Expr, Node, NodeId, SlotId, View};
use crate::types::Value;

impl Exec<'_> {
    /// A row, then none.
    pub(super) fn once(&mut self, node: NodeId) -> Polled {
        let state = self.state(node);
        if state.stage == Stage::Done {
            return Polled::End;
        }
        state.stage = Stage::Done;
        Polled::Row
    }

    #[inline(never)]
    pub(super) fn poll_values(&mut self, node: NodeId, slot: SlotId, rows: &[Vec<Expr>]) -> Result<Polled, Interrupt> {
        let at = self.state(node).at as usize;
        let Some(row) = rows.get(at) else { return Ok(Polled::End) };
        self.evaluate_into(slot, row)?;
        self.state(node).at += 1;
        Ok(Polled::Row)
    }

    /// Evaluates `exprs` into a slot's own values.
    pub(super) fn evaluate_into(&mut self, slot: SlotId, exprs: &[Expr]) -> Result<(), Interrupt> {
        let place = super::place(slot);
        let mut values = std::mem::take(&mut self.act.values[place]);
        values.clear();
        let evaluated = self.evaluate_each(exprs, &mut values);
        self.act.values[place] = values;
        self.bind_values(slot);
        if evaluated.is_ok() {
            self.row_done();
        }
        evaluated
    }

    fn evaluate_each(&mut self, exprs: &[Expr], values: &mut Vec<Value>) -> Result<(), Interrupt> {
        values.reserve(exprs.len());
        let mut at = 0;
        while let Some(expr) = exprs.get(at) {
            match expr {
                Expr::Column { slot, .. } => {
                    // Columns of one row, one after another.
                    let row = self.row(self.bound(*slot));
                    while let Some(Expr::Column { slot: other, column }) = exprs.get(at)
                        && other == slot
                    {
                        // An outer join's missing side has no values.
                        values.push(row.get(usize::from(*column)).unwrap_or(&Value::Null).clone());
                        at += 1;
                    }
                    continue;
                }
                Expr::Param(number) => values.push(self.act.params[usize::from(*number)].clone()),
                Expr::Const(value) => values.push(value.clone()),
                _ => values.push(self.eval(expr)?),
            }
            at += 1;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn poll_seq_scan(
        &mut self,
        node: NodeId,
        slot: SlotId,
        (table, bitmap): (TableId, bool),
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        if self.state(node).stage == Stage::Fresh {
            self.core.note(|| Access::Read { table, key: None });
            let storage = &self.core.tables[table as usize];
            let end = storage.len();
            if bitmap && self.query.order.limited {
                // What LIMIT leaves out is not seen.
                self.act.order.open |= (0..end).any(|tuple| storage.header(tuple).heap_only);
            }
            self.spend(end as usize)?;
            let state = self.state(node);
            state.stage = Stage::Work;
            state.end = end;
        }
        loop {
            let state = *self.state(node);
            let storage = &self.core.tables[table as usize];
            let sees = |tuple: TupleId| self.act.snapshot.sees(storage.header(tuple), &self.core.xacts, self.me);
            let version = |root: TupleId| {
                if !bitmap {
                    return sees(root).then_some((root, root));
                }
                let mut version = (!storage.header(root).heap_only).then_some(root);
                while let Some(tuple) = version
                    && !sees(tuple)
                {
                    version = storage.next_in_chain(tuple);
                }
                version.map(|tuple| (root, tuple))
            };
            let Some((root, tuple)) = (state.at..state.end).find_map(version) else {
                self.state(node).at = state.end;
                return Ok(Polled::End);
            };
            self.state(node).at = root;
            self.bind(slot, Slot::Tuple { table, tuple });
            let passes = self.passes(filter)?;
            self.state(node).at = root + 1;
            if passes {
                self.watch_order(node, &[slot]);
                return Ok(Polled::Row);
            }
        }
    }

    #[inline(never)]
    pub(super) fn poll_index_scan(
        &mut self,
        node: NodeId,
        slot: SlotId,
        (table, index): (TableId, IndexId),
        keys: &[Expr],
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        if self.state(node).stage == Stage::Fresh {
            self.search(place, (table, index), keys)?;
            self.state(node).stage = Stage::Work;
        }
        loop {
            let at = self.state(node).at;
            let Some(root) = self.act.lists[place].get(at as usize).copied() else { return Ok(Polled::End) };
            let storage = &self.core.tables[table as usize];
            let mut version = Some(root);
            while let Some(tuple) = version
                && !self.act.snapshot.sees(storage.header(tuple), &self.core.xacts, self.me)
            {
                version = storage.next_in_chain(tuple);
            }
            if let Some(tuple) = version {
                self.bind(slot, Slot::Tuple { table, tuple });
                let passes = self.passes(filter)?;
                self.state(node).at = at + 1;
                if passes {
                    self.watch_order(node, &[slot]);
                    return Ok(Polled::Row);
                }
            }
            self.state(node).at = at + 1;
        }
    }

    /// Puts what an index has under the values of `keys` into the node's list.
    fn search(&mut self, place: usize, (table, index): (TableId, IndexId), keys: &[Expr]) -> Result<(), Interrupt> {
        let mut list = std::mem::take(&mut self.act.lists[place]);
        list.clear();
        let null = Value::Null;
        let mut few = [&null; 4];
        let at_hand = keys.len() <= few.len()
            && few.iter_mut().zip(keys).all(|(value, expr)| self.look(expr).map(|found| *value = found).is_some());
        let read = if at_hand {
            self.find((table, index), &few[..keys.len()], &mut list)
        } else {
            let mut computed = SmallVec::<[Value; 4]>::new();
            for expr in keys {
                computed.push(self.eval(expr)?);
            }
            self.row_done();
            let key: SmallVec<[&Value; 4]> = computed.iter().collect();
            self.find((table, index), &key, &mut list)
        };
        if let Some(key) = read {
            self.core.note(|| Access::Read { table, key: Some(key) });
        }
        let found = list.len();
        self.act.lists[place] = list;
        self.spend(found)
    }

    /// Puts what an index has under a key into `list`; gives the key's hash, if it is to be noted.
    fn find(&self, (table, index): (TableId, IndexId), key: &[&Value], list: &mut Vec<TupleId>) -> Option<u64> {
        // Nothing equals NULL.
        if key.iter().any(|value| matches!(value, Value::Null)) {
            return None;
        }
        let storage = &self.core.tables[table as usize];
        storage.find(usize::from(index), key, list);
        // One column of several is expected to find so many rows that PostgreSQL reads them as they stand in the table (a bitmap scan).
        if key.len() == 1 && list.len() > 1 && storage.indexes[usize::from(index)].columns.len() > 1 {
            list.sort_unstable();
        }
        self.core.trail.is_some().then(|| key_hash(usize::from(index), key.iter().copied()))
    }

    /// Rows of `width` values that stand in the node's buffer.
    fn poll_buffer(
        &mut self,
        node: NodeId,
        slot: SlotId,
        width: usize,
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        loop {
            let state = *self.state(node);
            if state.at == state.end {
                return Ok(Polled::End);
            }
            let width = u16::try_from(width).expect("a row's width fits");
            self.bind(slot, Slot::Buffer { buffer: node, width, start: state.at * u32::from(width) });
            let passes = self.passes(filter)?;
            self.state(node).at += 1;
            if passes {
                return Ok(Polled::Row);
            }
        }
    }

    #[inline(never)]
    pub(super) fn poll_view(
        &mut self,
        node: NodeId,
        slot: SlotId,
        view: View,
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        let width = crate::catalog::view_columns(view).len();
        if self.state(node).stage == Stage::Fresh {
            let mut buffer = std::mem::take(&mut self.act.buffers[usize::from(node)]);
            buffer.clear();
            self.core.note(|| Access::Everything);
            if let View::Sequence(id) = view {
                self.core.refuse_restarted(self.me, id)?;
            }
            self.core.view_rows(view, &mut buffer);
            self.fill(node, buffer, width)?;
        }
        self.poll_buffer(node, slot, width, filter)
    }

    fn fill(&mut self, node: NodeId, buffer: Vec<Value>, width: usize) -> Result<(), Interrupt> {
        self.spend(buffer.len())?;
        let end = u32::try_from(buffer.len() / width).expect("fewer than 2^32 rows");
        self.act.buffers[usize::from(node)] = buffer;
        let state = self.state(node);
        state.stage = Stage::Work;
        state.end = end;
        Ok(())
    }

    #[inline(never)]
    pub(super) fn poll_function(
        &mut self,
        node: NodeId,
        slot: SlotId,
        (function, ordinality): (TableFunction, bool),
        args: &[Expr],
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        let width = if function == TableFunction::Unnest { args.len() } else { 1 } + usize::from(ordinality);
        if self.state(node).stage == Stage::Fresh {
            let mut values = SmallVec::<[Value; 8]>::new();
            for arg in args {
                values.push(self.eval(arg)?);
            }
            self.row_done();
            let mut buffer = std::mem::take(&mut self.act.buffers[usize::from(node)]);
            buffer.clear();
            // Before it is made: it may be longer than the memory.
            let rows = super::call::table_function_rows(function, &values);
            self.spend(rows.saturating_mul(width.max(1)))?;
            super::call::table_function(function, &values, ordinality, &mut buffer)?;
            self.fill(node, buffer, width)?;
        }
        self.poll_buffer(node, slot, width, filter)
    }

    #[inline(never)]
    pub(super) fn poll_cte_scan(
        &mut self,
        node: NodeId,
        slots: &[SlotId],
        cte: CteId,
        filter: Option<&Expr>,
    ) -> Result<Polled, Interrupt> {
        loop {
            let at = self.state(node).at;
            if at == 0 {
                let rows = self.act.ctes[usize::from(cte)].rows as usize;
                self.spend(rows)?;
            }
            if at == self.act.ctes[usize::from(cte)].rows && !self.pull_cte(cte)? {
                return Ok(Polled::End);
            }
            let first = at as usize * slots.len();
            let bound = &self.act.ctes[usize::from(cte)].bound[first..][..slots.len()];
            for (slot, bound) in slots.iter().zip(bound) {
                self.act.slots[super::place(*slot)] = *bound;
            }
            let passes = self.passes(filter)?;
            self.state(node).at += 1;
            if passes {
                return Ok(Polled::Row);
            }
        }
    }

    /// Makes a WITH query give one more row, which is kept; false at its end.
    pub(super) fn pull_cte(&mut self, cte: CteId) -> Result<bool, Interrupt> {
        let number = usize::from(cte);
        let def = &self.query.ctes[number];
        if self.act.ctes[number].done {
            return Ok(false);
        }
        // It may be read in the middle of an expression: what is remembered for that one stays apart.
        std::mem::swap(&mut self.act.memo, &mut self.act.ctes[number].memo);
        self.act.memo.next = 0;
        self.act.memo.depth = 0;
        let polled = self.poll(def.root);
        std::mem::swap(&mut self.act.memo, &mut self.act.ctes[number].memo);
        if polled? == Polled::End {
            self.act.ctes[number].done = true;
            return Ok(false);
        }
        self.act.ctes[number].rows += 1;
        let buffer = u16::try_from(self.query.nodes.len() + number).expect("a plan's numbers fit");
        for slot in &def.slots {
            let kept = self.keep(*slot, def.root, buffer);
            self.act.ctes[number].bound.push(kept);
            self.spend(1 + self.width(kept))?;
        }
        Ok(true)
    }

    /// What a slot is bound to, for later, when `input` has gone on to other rows. Values whose place is used again for the next row
    /// are put into `buffer`.
    pub(super) fn keep(&mut self, slot: SlotId, input: NodeId, buffer: u16) -> Slot {
        let bound = self.bound(slot);
        let stays = match bound {
            Slot::Unbound | Slot::Nulls | Slot::Tuple { .. } => true,
            Slot::Values(_) => false,
            // WITH queries only add to theirs, and a scan fills its own once, unless a join scans it again.
            Slot::Buffer { buffer, .. } => buffer == input || usize::from(buffer) >= self.query.nodes.len(),
        };
        if stays {
            return bound;
        }
        let mut kept = std::mem::take(&mut self.act.buffers[usize::from(buffer)]);
        let start = kept.len();
        match (bound, &self.query.nodes[usize::from(input)]) {
            // Nobody else reads them, and they are made anew for the next row. The outer row of a join, though, stays.
            (
                Slot::Values(at),
                Node::Project { slot: own, .. } | Node::Aggregate { slot: own, .. } | Node::Values { slot: own, .. },
            ) if *own == slot => kept.append(&mut self.act.values[usize::from(at)]),
            _ => kept.extend_from_slice(self.row(bound)),
        }
        let width = u16::try_from(kept.len() - start).expect("a row's width fits");
        self.act.buffers[usize::from(buffer)] = kept;
        Slot::Buffer { buffer, width, start: u32::try_from(start).expect("fewer than 2^32 values") }
    }
}
