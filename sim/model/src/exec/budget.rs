//! What a statement may do at most, so that each ends soon and in bounded memory, whatever was written.
//!
//! A statement has [`UNITS`] to spend. One is about a row that is read or a value that is kept. It is paid where rows come from and where
//! values are kept, a scan or a row at a time, and where a function's time or result grows with its arguments; not for each expression.
//! A message of several statements has no more than one of a single statement.
//! A server has no such limit, only memory and a patient client: to run into it is a refusal.

use crate::error::Error;
use crate::exec::{Activation, Exec, Interrupt};
use crate::function::Function;
use crate::types::Value;

/// The budget.
pub(crate) const UNITS: usize = 1 << 22;

/// How many comparisons cost as much as a row.
const COMPARISONS: usize = 8;

/// What a statement has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(UNITS)
    }
}

impl Exec<'_> {
    /// Pays for work.
    #[inline]
    pub(super) fn spend(&mut self, units: usize) -> Result<(), Interrupt> {
        match self.act.budget.0.checked_sub(units) {
            Some(left) => {
                self.act.budget.0 = left;
                Ok(())
            }
            None => {
                Err(Error::too_much(format_args!("a statement that reads and keeps more than {UNITS} rows and values"))
                    .into())
            }
        }
    }

    /// The same, for comparisons.
    #[inline]
    pub(super) fn spend_comparisons(&mut self, count: usize) -> Result<(), Interrupt> {
        self.spend(count / COMPARISONS)
    }

    /// Calls a function, and pays for it.
    pub(super) fn call(&mut self, function: Function, args: &[Value]) -> Result<Value, Interrupt> {
        self.spend(cost(function, args))?;
        let value = crate::function::call(function, args)?;
        match &value {
            Value::Text(text) if text.len() < 64 => {}
            Value::Text(_) | Value::Array(_) | Value::Json(_) => self.spend(size(&value))?,
            _ => {}
        }
        Ok(value)
    }
}

impl Activation {
    /// What the last statement has spent, and what `returned` takes.
    pub(crate) fn take_spent<'v>(&mut self, returned: impl Iterator<Item = &'v Value>) -> usize {
        let spent = UNITS - std::mem::take(&mut self.budget).0;
        1 + spent + returned.map(|value| 1 + size(value)).sum::<usize>()
    }
}

/// How many values a value is, about.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / 64,
        Value::Array(items) => items.iter().map(|item| 1 + size(item)).sum(),
        Value::Json(json) => crate::types::json::size(json),
        _ => 0,
    }
}

/// What a call costs that its result does not tell.
fn cost(function: Function, args: &[Value]) -> usize {
    match (function, args) {
        (Function::ArrayElement | Function::ArrayLength | Function::Cardinality, _) => 0,
        // Each of the one with each of the other.
        (
            Function::ArrayContains | Function::ArrayContained | Function::ArrayOverlaps,
            [Value::Array(a), Value::Array(b)],
        ) => a.len().saturating_mul(b.len()) / COMPARISONS,
        (Function::Like, [Value::Text(text), Value::Text(pattern)]) => {
            text.len().saturating_mul(pattern.len()) / (COMPARISONS * COMPARISONS)
        }
        (Function::JsonContains | Function::JsonContained, [a, b]) => size(a).saturating_mul(size(b)) / COMPARISONS,
        _ => args
            .iter()
            .map(|arg| if let Value::Text(text) = arg { text.len() / 64 } else { flat(arg) / COMPARISONS })
            .sum(),
    }
}

fn flat(value: &Value) -> usize {
    if let Value::Array(items) = value { items.len() } else { 0 }
}

/// Below this, nobody counts.
const LITTLE: usize = 4096;

/// Whether a call is little work, as far as its arguments tell.
pub(crate) fn is_little(function: Function, args: &[Value]) -> bool {
    cost(function, args) < LITTLE
}

/// Whether a value takes little space.
pub(crate) fn is_small(value: &Value) -> bool {
    size(value) < LITTLE
}
