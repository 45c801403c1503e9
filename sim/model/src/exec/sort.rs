//! Sort: reads all, orders, and gives back the rows with their slots bound as they were.

use std::cmp::Ordering;

use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::plan::{NodeId, SlotId, SortKey};
use crate::types::{Value, compare as order};

/// What a sort has read: for each row its keys, and what its slots were bound to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    keys: Vec<Value>,
    slots: Vec<Slot>,
    places: Vec<u32>,
}

/// The order of two rows of keys.
pub(super) fn order_keys(keys: &[SortKey], left: &[Value], right: &[Value]) -> Ordering {
    for ((key, left), right) in keys.iter().zip(left).zip(right) {
        let ordering = match (left, right) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) if key.nulls_first => Ordering::Less,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) if key.nulls_first => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            _ if key.descending => order(right, left),
            _ => order(left, right),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

impl Exec<'_> {
    #[inline(never)]
    pub(super) fn poll_sort(
        &mut self,
        node: NodeId,
        input: NodeId,
        slots: &[SlotId],
        keys: &[SortKey],
    ) -> Result<Polled, Interrupt> {
        let place = usize::from(node);
        if self.state(node).stage == Stage::Fresh {
            let sorted = &mut self.act.sorts[place];
            sorted.keys.clear();
            sorted.slots.clear();
            sorted.places.clear();
            self.act.buffers[place].clear();
            self.state(node).stage = Stage::Input;
        }
        while self.state(node).stage != Stage::Return {
            if self.input(node, input)? == Polled::End {
                self.sort(node, keys);
                self.state(node).stage = Stage::Return;
                break;
            }
            self.read_row(node, slots, keys)?;
            self.state(node).stage = Stage::Input;
        }
        let at = self.state(node).at as usize;
        let Some(row) = self.act.sorts[place].places.get(at).copied() else { return Ok(Polled::End) };
        for (number, slot) in slots.iter().enumerate() {
            let bound = self.act.sorts[place].slots[row as usize * slots.len() + number];
            self.bind(*slot, bound);
        }
        self.state(node).at += 1;
        Ok(Polled::Row)
    }

    /// Keeps a row of the input.
    fn read_row(&mut self, node: NodeId, slots: &[SlotId], keys: &[SortKey]) -> Result<(), Interrupt> {
        let place = usize::from(node);
        let before = self.act.sorts[place].keys.len();
        for key in keys {
            match self.eval(&key.expr) {
                Ok(value) => self.act.sorts[place].keys.push(value),
                Err(interrupt) => {
                    self.act.sorts[place].keys.truncate(before);
                    return Err(interrupt);
                }
            }
        }
        self.row_done();
        for slot in slots {
            let bound = self.bound(*slot);
            let kept = match bound {
                // Their place is used again for the next row: the values are copied.
                Slot::Values(_) | Slot::Buffer { .. } => {
                    let mut kept = std::mem::take(&mut self.act.buffers[place]);
                    let start = u32::try_from(kept.len()).expect("fewer than 2^32 values");
                    kept.extend_from_slice(self.row(bound));
                    let width = kept.len() - start as usize;
                    self.act.buffers[place] = kept;
                    Slot::Buffer { buffer: node, width: u16::try_from(width).expect("a row's width fits"), start }
                }
                bound => bound,
            };
            self.act.sorts[place].slots.push(kept);
        }
        let sorted = &mut self.act.sorts[place];
        sorted.places.push(u32::try_from(sorted.places.len()).expect("fewer than 2^32 rows"));
        Ok(())
    }

    fn sort(&mut self, node: NodeId, keys: &[SortKey]) {
        let Sorted { keys: values, places, .. } = &mut self.act.sorts[usize::from(node)];
        let of = |row: &u32| &values[*row as usize * keys.len()..(*row as usize + 1) * keys.len()];
        if places.len() < 2 {
            return;
        }
        places.sort_by(|left, right| order_keys(keys, of(left), of(right)));
    }
}
