//! Order and equality, as PostgreSQL's btree operator classes have them; text in collation C.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::numeric;
use super::value::Value;

/// Orders two values of one type. NULL is above everything and equal to NULL: so it is inside an array and in a sort, and
/// an operator that is NULL for a NULL never asks.
///
/// `pg_snapshot` has no order in PostgreSQL; a statement that wants one is refused when compiled. Here it has one all the same,
/// so that the order is total.
pub(crate) fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Numeric(left), Value::Numeric(right)) => numeric::compare(**left, **right),
        (Value::Json(left), Value::Json(right)) => compare_json(left, right),
        (Value::Array(left), Value::Array(right)) => {
            let unequal = left.iter().zip(right.iter()).map(|(left, right)| compare(left, right)).find(|o| o.is_ne());
            unequal.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Snapshot(left), Value::Snapshot(right)) => {
            (left.xmin, left.xmax, &left.xip).cmp(&(right.xmin, right.xmax, &right.xip))
        }
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

/// Whether two values of one type are equal. Texts of different lengths need not be looked at.
#[inline]
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        _ => compare(left, right).is_eq(),
    }
}

/// Keeps the order total; values of two types meet only where one is NULL.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Void => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => 2,
        Value::Numeric(_) => 3,
        Value::Text(_) => 4,
        Value::Json(_) => 5,
        Value::Timestamp(_) => 6,
        Value::Snapshot(_) => 7,
        Value::Array(_) => 8,
        Value::Null => 9,
    }
}

/// Source: PostgreSQL, `src/backend/utils/adt/jsonb_util.c`, compareJsonbContainers.
fn compare_json(left: &Json, right: &Json) -> Ordering {
    let is_scalar = |value: &Json| !value.is_array() && !value.is_object();
    match (left, right) {
        // Historically an empty array at the top is below every scalar.
        (Json::Array(items), scalar) if items.is_empty() && is_scalar(scalar) => Ordering::Less,
        (scalar, Json::Array(items)) if items.is_empty() && is_scalar(scalar) => Ordering::Greater,
        _ => compare_nested(left, right),
    }
}

fn compare_nested(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => left.len().cmp(&right.len()).then_with(|| {
            left.iter()
                .zip(right)
                .map(|(left, right)| compare_nested(left, right))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        (Json::Object(left), Json::Object(right)) => left.len().cmp(&right.len()).then_with(|| {
            let (left, right) = (super::json::pairs(left), super::json::pairs(right));
            let pairs = left.iter().zip(&right);
            let unequal = |((left_key, left), (right_key, right)): ((&&String, &&Json), (&&String, &&Json))| {
                let keys = left_key.as_bytes().cmp(right_key.as_bytes());
                Some(keys.then_with(|| compare_nested(left, right))).filter(|ordering| ordering.is_ne())
            };
            pairs.map(|((a, b), (c, d))| ((a, b), (c, d))).find_map(unequal).unwrap_or(Ordering::Equal)
        }),
        (Json::String(left), Json::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        (Json::Number(left), Json::Number(right)) => compare_json_numbers(left, right),
        (left, right) => json_rank(left).cmp(&json_rank(right)),
    }
}

fn compare_json_numbers(left: &serde_json::Number, right: &serde_json::Number) -> Ordering {
    match (numeric::parse(&left.to_string()), numeric::parse(&right.to_string())) {
        (Some(left), Some(right)) => numeric::compare(left, right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal),
    }
}

fn json_rank(value: &Json) -> u8 {
    match value {
        Json::Null => 0,
        Json::String(_) => 1,
        Json::Number(_) => 2,
        Json::Bool(_) => 3,
        Json::Array(_) => 4,
        Json::Object(_) => 5,
    }
}
