//! Sort: reads all, orders, and gives back the rows with their slots bound as they were.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::exec::{Exec, Interrupt, Polled, Slot, Stage};
use crate::plan::{Expr, NodeId, SlotId, SortKey};
use crate::types::{Value, compare as order};

/// What a sort has read: for each row its keys, and what its slots were bound to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    pub(super) keys: Vec<Value>,
    pub(super) slots: Vec<Slot>,
    pub(super) places: Vec<u32>,
}

impl Sorted {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.slots.clear();
        self.places.clear();
    }
}

/// The order of two values of a key.
fn order_key(key: &SortKey, left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) if key.nulls_first => Ordering::Less,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) if key.nulls_first => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        _ if key.descending => order(right, left),
        _ => order(left, right),
    }
}

/// The order of two rows of keys.
pub(super) fn order_keys(keys: &[SortKey], left: &[Value], right: &[Value]) -> Ordering {
    let mut orders = keys.iter().zip(left).zip(right).map(|((key, left), right)| order_key(key, left, right));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// What has been seen of the order of a statement's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order {
    /// Done otherwise, its joins and scans would give them in another one.
    pub(super) open: bool,
    /// ORDER BY tells them all apart.
    pub(super) told: bool,
    /// The rows themselves hang on it.
    pub(super) doubtful: bool,
}

/// What tells the order of sorted rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    ByKeys,
    /// Rows with equal keys stay as they came, or nobody asks.
    AsTheyCame,
    /// PostgreSQL's sort leaves rows with equal keys as they came only where there are few, or they are in order already. Source:
    /// `sort_template.h`.
    ByChance,
}

/// How many rows are sorted by insertion.
const FEW: usize = 7;

pub(super) fn sort_places(places: &mut [u32], watched: bool, order: impl Fn(&u32, &u32) -> Ordering) -> Told {
    if !watched {
        places.sort_by(order);
        return Told::AsTheyCame;
    }
    let in_order = places.is_sorted_by(|left, right| order(left, right).is_le());
    places.sort_by(&order);
    let ties = places.windows(2).any(|pair| order(&pair[0], &pair[1]).is_eq());
    match ties {
        false => Told::ByKeys,
        true if in_order || places.len() < FEW => Told::AsTheyCame,
        true => Told::ByChance,
    }
}

/// Whether all keys are columns: they need not be evaluated, but can be read where they stand.
fn are_columns(keys: &[SortKey]) -> bool {
    keys.iter().all(|key| matches!(key.expr, Expr::Column { .. }))
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
            self.act.sorts[place].clear();
            self.act.buffers[place].clear();
            self.state(node).stage = Stage::Input;
        }
        while self.state(node).stage != Stage::Return {
            if self.input(node, input)? == Polled::End {
                self.sort(node, slots, keys);
                self.state(node).stage = Stage::Return;
                break;
            }
            self.read_row(node, input, slots, keys)?;
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
    fn read_row(&mut self, node: NodeId, input: NodeId, slots: &[SlotId], keys: &[SortKey]) -> Result<(), Interrupt> {
        let place = usize::from(node);
        if !are_columns(keys) {
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
        }
        for slot in slots {
            let kept = self.keep(*slot, input, node);
            self.act.sorts[place].slots.push(kept);
            self.spend(self.width(kept))?;
        }
        let sorted = &mut self.act.sorts[place];
        sorted.places.push(u32::try_from(sorted.places.len()).expect("fewer than 2^32 rows"));
        Ok(())
    }

    fn sort(&mut self, node: NodeId, slots: &[SlotId], keys: &[SortKey]) {
        let place = usize::from(node);
        if self.act.sorts[place].places.len() < 2 {
            return;
        }
        let mut places = std::mem::take(&mut self.act.sorts[place].places);
        let watched = self.query.order.sort == Some(node) && self.core.session(self.me).message.is_some();
        let sorted = &self.act.sorts[place];
        let told = if are_columns(keys) {
            // A column of no slot of these rows is one of the query around: the same for all.
            let columns: SmallVec<[(&SortKey, usize, usize); 4]> = keys
                .iter()
                .filter_map(|key| match key.expr {
                    Expr::Column { slot, column } => {
                        let number = slots.iter().position(|other| *other == slot)?;
                        Some((key, number, usize::from(column)))
                    }
                    _ => None,
                })
                .collect();
            let value = |row: u32, number: usize, column: usize| {
                self.slot_value(sorted.slots[row as usize * slots.len() + number], column)
            };
            let order = |left: &u32, right: &u32| {
                let mut orders = columns.iter().map(|(key, number, column)| {
                    order_key(key, value(*left, *number, *column), value(*right, *number, *column))
                });
                orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            };
            sort_places(&mut places, watched, order)
        } else {
            let of = |row: &u32| &sorted.keys[*row as usize * keys.len()..(*row as usize + 1) * keys.len()];
            sort_places(&mut places, watched, |left, right| order_keys(keys, of(left), of(right)))
        };
        self.act.order.told |= told == Told::ByKeys;
        self.act.order.open |= told == Told::ByChance;
        self.act.sorts[place].places = places;
    }
}
