//! The rows that a statement answers, in one list of values.

use crate::types::Value;

/// The rows of an answer: equally many values each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    width: usize,
    count: usize,
    values: Vec<Value>,
}

impl Rows {
    pub(crate) fn new(width: usize, count: usize, values: Vec<Value>) -> Self {
        debug_assert_eq!(width * count, values.len());
        Self { width, count, values }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[Value]> {
        (0..self.count).map(|row| &self.values[row * self.width..(row + 1) * self.width])
    }

    /// All values, row by row.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}
