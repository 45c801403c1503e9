//! Indexes: tuple ids in the order of their keys, which are read from the table.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::heap::TupleId;
use crate::plan::ColumnId;
use crate::types::{Value, compare};

/// Most keys are integers: they are compared here and now.
#[inline]
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        _ => compare(left, right),
    }
}

/// The part of a sorted list for which `order` says that it is equal.
fn equal(list: &[TupleId], order: impl Fn(TupleId) -> Ordering) -> &[TupleId] {
    // A list that grows at its end is asked most often for what stands there, or would stand behind it. Most often one row matches:
    // looking at the next is cheaper than searching for the end.
    match list.last().map(|highest| order(*highest)) {
        None | Some(Ordering::Less) => &[],
        Some(Ordering::Equal) => {
            let before = &list[..list.len() - 1];
            let start = before.iter().rposition(|tuple| order(*tuple) != Ordering::Equal).map_or(0, |place| place + 1);
            &list[start..]
        }
        Some(Ordering::Greater) => {
            let rest = &list[list.partition_point(|tuple| order(*tuple) == Ordering::Less)..];
            let length = rest.iter().position(|tuple| order(*tuple) != Ordering::Equal).unwrap_or(rest.len());
            &rest[..length]
        }
    }
}

/// An index over columns of a table. What was there at [`super::Table::keep`] and what came since stand in two lists: so
/// taking back what came since is to empty a list.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) unique: bool,
    /// Only rows that satisfy a condition are in it.
    pub(crate) partial: bool,
    /// Key columns; an expression's value is a hidden column of the table.
    pub(crate) columns: SmallVec<[ColumnId; 4]>,
    kept: Vec<TupleId>,
    fresh: Vec<TupleId>,
}

impl Index {
    pub(crate) fn new(unique: bool, partial: bool, columns: SmallVec<[ColumnId; 4]>) -> Self {
        Self { unique, partial, columns, kept: Vec::new(), fresh: Vec::new() }
    }

    pub(crate) fn emptied(&self) -> Self {
        let fresh = Vec::with_capacity(self.kept.len() + self.fresh.len());
        Self { fresh, ..Self::new(self.unique, self.partial, self.columns.clone()) }
    }

    fn compare(&self, values: &[Value], stride: usize, tuple: TupleId, keys: &[&Value]) -> Ordering {
        let row = &values[tuple as usize * stride..][..stride];
        let mut orders = self.columns.iter().zip(keys).map(|(column, key)| order(&row[usize::from(*column)], key));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Compares whole keys of a tuple and of a row that need not be in the table yet.
    fn compare_row(&self, values: &[Value], stride: usize, tuple: TupleId, row: &[Value]) -> Ordering {
        let other = &values[tuple as usize * stride..][..stride];
        let columns = self.columns.iter().map(|column| usize::from(*column));
        let mut orders = columns.map(|column| order(&other[column], &row[column]));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn compare_tuples(&self, values: &[Value], stride: usize, left: TupleId, right: TupleId) -> Ordering {
        self.compare_row(values, stride, left, &values[right as usize * stride..][..stride]).then(left.cmp(&right))
    }

    /// Enters a tuple; equal keys stand in heap order, as in a btree.
    pub(crate) fn enter(&mut self, values: &[Value], stride: usize, tuple: TupleId) {
        let before = |other: &TupleId| self.compare_tuples(values, stride, *other, tuple) == Ordering::Less;
        let place = match self.fresh.last() {
            Some(last) if !before(last) => self.fresh.partition_point(before),
            _ => self.fresh.len(),
        };
        self.fresh.insert(place, tuple);
    }

    /// Enters a tuple if no entry has its key.
    pub(crate) fn enter_new_key(&mut self, values: &[Value], stride: usize, tuple: TupleId) -> bool {
        let row = &values[tuple as usize * stride..][..stride];
        let order = |other: TupleId| self.compare_row(values, stride, other, row);
        if !equal(&self.kept, order).is_empty() {
            return false;
        }
        let place = match self.fresh.last().map(|last| order(*last)) {
            None | Some(Ordering::Less) => self.fresh.len(),
            Some(Ordering::Equal) => return false,
            Some(Ordering::Greater) => {
                let place = self.fresh.partition_point(|other| order(*other) == Ordering::Less);
                if order(self.fresh[place]) == Ordering::Equal {
                    return false;
                }
                place
            }
        };
        self.fresh.insert(place, tuple);
        true
    }

    /// The entries whose first columns equal `keys`; with no keys: all.
    pub(crate) fn find(&self, values: &[Value], stride: usize, keys: &[&Value], into: &mut Vec<TupleId>) {
        into.clear();
        // A lookup by number is the most frequent one.
        let (kept, fresh) = if let ([column], [Value::Int(key)]) = (self.columns.as_slice(), keys) {
            let order = |tuple: TupleId| match &values[tuple as usize * stride + usize::from(*column)] {
                Value::Int(value) => value.cmp(key),
                value => compare(value, &Value::Int(*key)),
            };
            (equal(&self.kept, order), equal(&self.fresh, order))
        } else {
            let order = |tuple: TupleId| self.compare(values, stride, tuple, keys);
            (equal(&self.kept, order), equal(&self.fresh, order))
        };
        if kept.is_empty() || fresh.is_empty() {
            into.extend_from_slice(kept);
            into.extend_from_slice(fresh);
            return;
        }
        let (mut left, mut right) = (kept.iter().peekable(), fresh.iter().peekable());
        while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
            let from_left = self.compare_tuples(values, stride, **first, **second) == Ordering::Less;
            into.extend(if from_left { left.next() } else { right.next() });
        }
        into.extend(left.chain(right));
    }

    /// The entries under the key of `row`, in no order.
    pub(crate) fn twins(&self, values: &[Value], stride: usize, row: &[Value]) -> impl Iterator<Item = TupleId> {
        let kept = equal(&self.kept, |tuple| self.compare_row(values, stride, tuple, row));
        let fresh = equal(&self.fresh, |tuple| self.compare_row(values, stride, tuple, row));
        kept.iter().chain(fresh).copied()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = TupleId> {
        self.kept.iter().chain(&self.fresh).copied()
    }

    /// Makes a base of these entries.
    pub(crate) fn keep(&mut self, values: &[Value], stride: usize, mut entries: Vec<TupleId>) {
        entries.sort_by(|left, right| self.compare_tuples(values, stride, *left, *right));
        self.kept = entries;
        self.fresh.clear();
    }

    /// Back to the base.
    pub(crate) fn reset(&mut self) {
        self.fresh.clear();
    }
}
