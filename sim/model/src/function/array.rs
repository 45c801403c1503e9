//! Functions and operators of arrays. All are of one dimension, counted from 1.

use super::{Function, unreachable_types};
use crate::types::{Value, compare};

fn same(left: &Value, right: &Value) -> bool {
    compare(left, right).is_eq()
}

/// NULL elements are contained in nothing.
fn has(array: &[Value], item: &Value) -> bool {
    !matches!(item, Value::Null) && array.iter().any(|other| same(other, item))
}

pub(super) fn call(function: Function, args: &[Value]) -> Value {
    match (function, args) {
        (Function::ArrayCat, [left, Value::Null]) => left.clone(),
        (Function::ArrayCat, [Value::Null, right]) => right.clone(),
        (Function::ArrayCat, [Value::Array(left), Value::Array(right)]) => {
            Value::Array(left.iter().chain(right.iter()).cloned().collect())
        }
        (Function::ArrayAppend, [Value::Null, item]) | (Function::ArrayPrepend, [item, Value::Null]) => {
            Value::Array([item.clone()].into())
        }
        (Function::ArrayAppend, [Value::Array(array), item]) => {
            Value::Array(array.iter().chain([item]).cloned().collect())
        }
        (Function::ArrayPrepend, [item, Value::Array(array)]) => {
            Value::Array([item].into_iter().chain(array.iter()).cloned().collect())
        }
        (Function::ArrayRemove, [Value::Array(array), item]) => {
            Value::Array(array.iter().filter(|other| !same(other, item)).cloned().collect())
        }
        (Function::ArrayPosition, [Value::Array(array), item]) => {
            array.iter().position(|other| same(other, item)).map_or(Value::Null, |at| number(at + 1))
        }
        (Function::ArrayLength, [Value::Array(array), Value::Int(1)]) if !array.is_empty() => number(array.len()),
        (Function::ArrayRemove | Function::ArrayPosition, [Value::Null, _])
        | (Function::ArrayLength, [Value::Array(_), Value::Int(_)]) => Value::Null,
        (Function::Cardinality, [Value::Array(array)]) => number(array.len()),
        (Function::ArrayContains, [Value::Array(whole), Value::Array(part)])
        | (Function::ArrayContained, [Value::Array(part), Value::Array(whole)]) => {
            Value::Bool(part.iter().all(|item| has(whole, item)))
        }
        (Function::ArrayOverlaps, [Value::Array(left), Value::Array(right)]) => {
            Value::Bool(left.iter().any(|item| has(right, item)))
        }
        (Function::ArrayElement, [Value::Array(array), Value::Int(at)]) => {
            let at = at.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| array.get(at)).cloned().unwrap_or(Value::Null)
        }
        _ => unreachable_types(function, args),
    }
}

fn number(value: usize) -> Value {
    Value::Int(i64::try_from(value).expect("lengths fit"))
}
