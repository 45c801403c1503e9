//! Window functions: reads all rows, sorts them, and gives each with what the functions come to.

use crate::exec::aggregate::{Collected, result};
use crate::exec::sort::{Told, order_keys, sort_places};
use crate::exec::{Exec, Interrupt, Polled, Stage};
use crate::plan::{Aggregate, Node, NodeId, SlotId, SortKey, WindowCall};
use crate::types::Value;

/// A [`crate::plan::Node::Window`].
struct WindowNode<'p> {
    node: NodeId,
    input: NodeId,
    slots: &'p [SlotId],
    slot: SlotId,
    /// So many of the keys are those of PARTITION BY.
    parts: usize,
    keys: &'p [SortKey],
    calls: &'p [WindowCall],
}

fn aggregates(calls: &[WindowCall]) -> impl Iterator<Item = &Aggregate> {
    calls.iter().filter_map(|call| if let WindowCall::Aggregate(aggregate) = call { Some(aggregate) } else { None })
}

impl Exec<'_> {
    #[inline(never)]
    pub(super) fn poll_window(&mut self, node: NodeId) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        let query = self.query;
        let Node::Window { input, slots, slot, parts, keys, calls } = &query.nodes[place] else {
            unreachable!("called for a window")
        };
        let window = &WindowNode { node, input: *input, slots, slot: *slot, parts: *parts, keys, calls };
        if self.state(node).stage == Stage::Fresh {
            self.act.sorts[place].clear();
            self.act.buffers[place].clear();
            self.state(node).stage = Stage::Input;
        }
        while self.state(node).stage != Stage::Return {
            if self.input(node, window.input)? == Polled::End {
                self.compute_window(window)?;
                self.state(node).stage = Stage::Return;
                break;
            }
            self.read_window_row(window)?;
            self.state(node).stage = Stage::Input;
        }
        let (at, sorted) = (self.state(node).at as usize, &self.act.sorts[place]);
        let Some(row) = sorted.places.get(at).copied() else { return Ok(Polled::End) };
        let results = sorted.keys[at * window.calls.len()..][..window.calls.len()].to_vec();
        for (number, slot) in window.slots.iter().enumerate() {
            let bound = self.act.sorts[place].slots[row as usize * window.slots.len() + number];
            self.bind(*slot, bound);
        }
        let into = self.bind_values(window.slot);
        self.act.values[into] = results;
        self.state(node).at += 1;
        Ok(Polled::Row)
    }

    /// Keeps a row: its keys, then what each aggregate is given of it, with its FILTER's truth before.
    fn read_window_row(&mut self, window: &WindowNode) -> Result<(), Interrupt> {
        let place = usize::from(window.node);
        let mut kept = Vec::new();
        for key in window.keys {
            kept.push(self.eval(&key.expr)?);
        }
        for aggregate in aggregates(window.calls) {
            let counts = aggregate
                .filter
                .as_ref()
                .map_or(Ok(true), |filter| Ok::<_, Interrupt>(self.test(filter)? == Some(true)))?;
            kept.push(Value::Bool(counts));
            for arg in &aggregate.args {
                kept.push(self.eval(arg)?);
            }
        }
        self.row_done();
        self.spend(1 + kept.len())?;
        self.act.sorts[place].keys.append(&mut kept);
        for slot in window.slots {
            let bound = self.keep(*slot, window.input, window.node);
            self.act.sorts[place].slots.push(bound);
            self.spend(self.width(bound))?;
        }
        let places = &mut self.act.sorts[place].places;
        places.push(u32::try_from(places.len()).expect("fewer than 2^32 rows"));
        Ok(())
    }

    /// Sorts the rows, and puts the functions' results, in that order, in the place of their keys.
    fn compute_window(&mut self, window: &WindowNode) -> Result<(), Interrupt> {
        let place = usize::from(window.node);
        let mut places = std::mem::take(&mut self.act.sorts[place].places);
        let rows = std::mem::take(&mut self.act.sorts[place].keys);
        let width =
            window.keys.len() + aggregates(window.calls).map(|aggregate| 1 + aggregate.args.len()).sum::<usize>();
        let row = |number: u32| &rows[number as usize * width..(number as usize + 1) * width];
        let told = sort_places(&mut places, true, |left, right| order_keys(window.keys, row(*left), row(*right)));
        self.act.order.open |= told == Told::ByChance;
        let numbers = window.calls.iter().any(|call| matches!(call, WindowCall::RowNumber));
        // Which of equal rows is which hangs on the order in which they came.
        self.act.order.doubtful |= numbers && told != Told::ByKeys && (told == Told::ByChance || self.act.order.open);
        let same = |keys: usize, left: u32, right: u32| order_keys(&window.keys[..keys], row(left), row(right)).is_eq();
        let mut results = Vec::with_capacity(places.len() * window.calls.len());
        let (mut start, mut at, mut dense) = (0, 0, 0);
        while at < places.len() {
            if at > 0 && !same(window.parts, places[at - 1], places[at]) {
                (start, dense) = (at, 0);
            }
            let peers = places[at..].iter().take_while(|other| same(window.keys.len(), places[at], **other)).count();
            dense += 1;
            self.spend((at + peers - start) * window.calls.len())?;
            let mut given = window.keys.len();
            let mut values = Vec::with_capacity(window.calls.len());
            for call in window.calls {
                values.push(match call {
                    WindowCall::RowNumber => Value::Null,
                    WindowCall::Rank => count(at - start + 1),
                    WindowCall::DenseRank => count(dense),
                    WindowCall::Aggregate(aggregate) => {
                        let mut collected = Collected::default();
                        for number in &places[start..at + peers] {
                            let given = &row(*number)[given..=given + aggregate.args.len()];
                            if given[0] == Value::Bool(true) {
                                collected.add(aggregate, given[1..].iter().cloned().collect());
                            }
                        }
                        given += 1 + aggregate.args.len();
                        result(aggregate, collected)?
                    }
                });
            }
            for number in at..at + peers {
                for (call, value) in window.calls.iter().zip(&values) {
                    let is_number = matches!(call, WindowCall::RowNumber);
                    results.push(if is_number { count(number - start + 1) } else { value.clone() });
                }
            }
            at += peers;
        }
        self.act.sorts[place].places = places;
        self.act.sorts[place].keys = results;
        Ok(())
    }
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).expect("fewer than 2^63 rows"))
}
