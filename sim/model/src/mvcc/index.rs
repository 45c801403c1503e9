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
        Self::new(self.unique, self.partial, self.columns.clone())
    }

    fn compare(&self, values: &[Value], stride: usize, tuple: TupleId, keys: &[&Value]) -> Ordering {
        let start = tuple as usize * stride;
        for (column, key) in self.columns.iter().zip(keys) {
            let ordering = order(&values[start + usize::from(*column)], key);
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        Ordering::Equal
    }

    fn compare_tuples(&self, values: &[Value], stride: usize, left: TupleId, right: TupleId) -> Ordering {
        let (first, second) = (left as usize * stride, right as usize * stride);
        for column in &self.columns {
            let column = usize::from(*column);
            let ordering = order(&values[first + column], &values[second + column]);
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        left.cmp(&right)
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

    /// The entries whose first columns equal `keys`; with no keys: all.
    pub(crate) fn find(&self, values: &[Value], stride: usize, keys: &[&Value], into: &mut Vec<TupleId>) {
        into.clear();
        let kept = self.equal(&self.kept, values, stride, keys);
        let fresh = self.equal(&self.fresh, values, stride, keys);
        if fresh.is_empty() {
            into.extend_from_slice(kept);
            return;
        }
        let (mut left, mut right) = (kept.iter().peekable(), fresh.iter().peekable());
        while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
            let from_left = self.compare_tuples(values, stride, **first, **second) == Ordering::Less;
            into.extend(if from_left { left.next() } else { right.next() });
        }
        into.extend(left.chain(right));
    }

    fn equal<'a>(&self, list: &'a [TupleId], values: &[Value], stride: usize, keys: &[&Value]) -> &'a [TupleId] {
        if list.is_empty() {
            return list;
        }
        let start = list.partition_point(|tuple| self.compare(values, stride, *tuple, keys) == Ordering::Less);
        let rest = &list[start..];
        // Most often one row matches: looking at the next is cheaper than searching for the end.
        let unequal = |tuple: &TupleId| self.compare(values, stride, *tuple, keys) != Ordering::Equal;
        let length = rest.iter().position(unequal).unwrap_or(rest.len());
        &rest[..length]
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
