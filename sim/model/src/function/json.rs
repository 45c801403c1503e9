//! Functions and operators of jsonb.

use std::sync::Arc;

use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::{Function, unreachable_types};
use crate::error::Error;
use crate::types::{Scalar, Type, Value, json, numeric, text};

pub(super) fn call(function: Function, args: &[Value]) -> Result<Value, Error> {
    let value = compute(function, args)?;
    if let Function::JsonConcat | Function::ToJsonb(_) | Function::JsonbBuildObject | Function::JsonbBuildArray =
        function
        && let Value::Json(json) = &value
    {
        json::bounded(json)?;
    }
    Ok(value)
}

fn compute(function: Function, args: &[Value]) -> Result<Value, Error> {
    Ok(match (function, args) {
        (Function::JsonField { as_text }, [Value::Json(value), Value::Text(key)]) => {
            found(value.as_object().and_then(|object| object.get(&**key)), as_text)
        }
        (Function::JsonElement { as_text }, [Value::Json(value), Value::Int(index)]) => {
            found(json::element(value, *index), as_text)
        }
        (Function::JsonPath { as_text }, [Value::Json(value), Value::Array(path)]) => {
            let mut at = Some(&**value);
            for key in path.iter() {
                at = match key {
                    Value::Text(key) => at.and_then(|value| json::step(value, key)),
                    _ => None,
                };
            }
            found(at, as_text)
        }
        (Function::JsonContains, [Value::Json(whole), Value::Json(part)])
        | (Function::JsonContained, [Value::Json(part), Value::Json(whole)]) => {
            Value::Bool(json::contains(whole, part))
        }
        (Function::JsonHasKey, [Value::Json(value), Value::Text(key)]) => Value::Bool(has_key(value, key)),
        (Function::JsonHasKeys { all }, [Value::Json(value), Value::Array(keys)]) => {
            let mut keys = keys.iter().filter_map(|key| if let Value::Text(key) = key { Some(key) } else { None });
            Value::Bool(if all { keys.all(|key| has_key(value, key)) } else { keys.any(|key| has_key(value, key)) })
        }
        (Function::JsonConcat, [Value::Json(left), Value::Json(right)]) => concat(left, right),
        (Function::JsonRemove, [Value::Json(value), Value::Text(key)]) => remove(value, key)?,
        (Function::JsonTypeof, [Value::Json(value)]) => Value::Text(kind(value).into()),
        (Function::JsonArrayLength, [Value::Json(value)]) => match &**value {
            Json::Array(items) => Value::Int(i64::try_from(items.len()).expect("lengths fit")),
            Json::Object(_) => return Err(Error::new("22023", "cannot get array length of a non-array")),
            _ => return Err(Error::new("22023", "cannot get array length of a scalar")),
        },
        (Function::ToJsonb(ty), [value]) => Value::Json(Arc::new(to_json(value, ty)?)),
        (Function::JsonbBuildObject, args) => build_object(args)?,
        (Function::JsonbBuildArray, args) => {
            Value::Json(Arc::new(Json::Array(args.iter().map(json_or_null).collect::<Vec<_>>())))
        }
        (Function::FromJsonb(scalar), [Value::Json(value)]) => from_json(value, scalar)?,
        _ => unreachable_types(function, args),
    })
}

/// What a step found, as jsonb or, for the operators that end in `>>`, as text.
fn found(value: Option<&Json>, as_text: bool) -> Value {
    match value {
        None => Value::Null,
        Some(Json::Null) if as_text => Value::Null,
        Some(Json::String(text)) if as_text => Value::Text(text.as_str().into()),
        Some(value) if as_text => Value::Text(json::print(value).into()),
        Some(value) => Value::Json(Arc::new(value.clone())),
    }
}

fn has_key(value: &Json, key: &str) -> bool {
    match value {
        Json::Object(object) => object.contains_key(key),
        Json::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Json::String(text) => text == key,
        _ => false,
    }
}

/// Objects are merged; of anything else an array is made. Source: PostgreSQL, `jsonfuncs.c`, `IteratorConcat`.
fn concat(left: &Json, right: &Json) -> Value {
    let list = |value: &Json| match value {
        Json::Array(items) => items.clone(),
        other => vec![other.clone()],
    };
    Value::Json(Arc::new(match (left, right) {
        (Json::Object(left), Json::Object(right)) => {
            let mut both = left.clone();
            both.extend(right.iter().map(|(key, value)| (key.clone(), value.clone())));
            Json::Object(both)
        }
        (left, right) => Json::Array(list(left).into_iter().chain(list(right)).collect()),
    }))
}

fn remove(value: &Json, key: &str) -> Result<Value, Error> {
    Ok(Value::Json(Arc::new(match value {
        Json::Object(object) => Json::Object(
            object.iter().filter(|(other, _)| *other != key).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        Json::Array(items) => Json::Array(items.iter().filter(|item| item.as_str() != Some(key)).cloned().collect()),
        _ => return Err(Error::new("22023", "cannot delete from scalar")),
    })))
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn json_or_null(value: &Value) -> Json {
    match value {
        Value::Json(value) => (**value).clone(),
        _ => Json::Null,
    }
}

fn build_object(args: &[Value]) -> Result<Value, Error> {
    let mut object = Map::new();
    for (place, pair) in args.chunks_exact(2).enumerate() {
        let Value::Text(key) = &pair[0] else {
            let message = format!("argument {}: key must not be null", place * 2 + 1);
            return Err(Error::new("22023", message));
        };
        object.insert(key.to_string(), json_or_null(&pair[1]));
    }
    Ok(Value::Json(Arc::new(Json::Object(object))))
}

/// `to_jsonb`. Source: PostgreSQL, src/backend/utils/adt/jsonb.c, `datum_to_jsonb`.
fn to_json(value: &Value, ty: Type) -> Result<Json, Error> {
    Ok(match (value, ty) {
        (Value::Null, _) => Json::Null,
        (Value::Bool(value), _) => Json::Bool(*value),
        (Value::Int(value), Type::Scalar(Scalar::Int2 | Scalar::Int4 | Scalar::Int8)) => {
            Json::Number(JsonNumber::from(*value))
        }
        (Value::Numeric(value), _) => json::parse(&numeric::print(**value))?,
        (Value::Json(value), _) => (**value).clone(),
        (Value::Timestamp(_), _) => return Err(Error::refused("to_jsonb of a timestamptz")),
        (Value::Array(items), Type::Array(element) | Type::Scalar(element)) => {
            let items: Result<Vec<Json>, Error> =
                items.iter().map(|item| to_json(item, Type::Scalar(element))).collect();
            Json::Array(items?)
        }
        (value, ty) => Json::String(text::print(value, ty).unwrap_or_default()),
    })
}

fn from_json(value: &Json, scalar: Scalar) -> Result<Value, Error> {
    let name = text::scalar_name(scalar);
    match (value, scalar) {
        (Json::Bool(value), Scalar::Bool) => Ok(Value::Bool(*value)),
        (Json::Number(number), Scalar::Numeric | Scalar::Int2 | Scalar::Int4 | Scalar::Int8) => {
            let Some(value) = numeric::parse(&number.to_string()) else {
                return Err(Error::refused("jsonb numbers of more than 38 digits"));
            };
            if scalar == Scalar::Numeric {
                return Ok(Value::Numeric(value.into()));
            }
            let value = numeric::to_int(value).filter(|value| text::fits(*value, scalar));
            value.map(Value::Int).ok_or_else(|| Error::new("22003", format!("{name} out of range")))
        }
        _ => {
            let kind = if value.is_number() { "numeric" } else { kind(value) };
            Err(Error::new("22023", format!("cannot cast jsonb {kind} to type {name}")))
        }
    }
}
