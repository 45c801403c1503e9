//! Casts between types.

use super::{Function, unreachable_types};
use crate::error::Error;
use crate::types::{Scalar, Type, Value, numeric, text};

pub(super) fn call(function: Function, arg: &Value) -> Result<Value, Error> {
    let out_of_range = |to: Scalar| Error::new("22003", format!("{} out of range", text::scalar_name(to)));
    match (function, arg) {
        (Function::Input(ty), Value::Text(from)) => text::parse(from, ty),
        // Unlike its output function, boolean's cast to text spells it out.
        (Function::Output(Type::Scalar(Scalar::Bool)), Value::Bool(value)) => {
            Ok(Value::Text(if *value { "true" } else { "false" }.into()))
        }
        (Function::Output(ty), value) => {
            if let Value::Array(items) = value {
                let bytes = |item: &Value| if let Value::Text(text) = item { text.len() } else { 0 };
                super::bounded_text(items.iter().map(bytes).sum())?;
            }
            Ok(text::print(value, ty).map_or(Value::Null, |text| Value::Text(text.into())))
        }
        (Function::RecordField(ty), value) => Ok(Value::Text(text::record_field(value, ty).into())),
        (Function::Narrow(to), Value::Int(value)) if text::fits(*value, to) => Ok(Value::Int(*value)),
        (Function::Narrow(to), Value::Int(_)) => Err(out_of_range(to)),
        (Function::IntToNumeric, Value::Int(value)) => Ok(Value::Numeric(numeric::from_int(*value).into())),
        (Function::NumericToInt(to), Value::Numeric(value)) => {
            let value = numeric::to_int(**value).filter(|value| text::fits(*value, to));
            value.map(Value::Int).ok_or_else(|| out_of_range(to))
        }
        (Function::IntToBool, Value::Int(value)) => Ok(Value::Bool(*value != 0)),
        (Function::BoolToInt, Value::Bool(value)) => Ok(Value::Int(i64::from(*value))),
        (Function::Xid8ToXid, Value::Int(value)) => Ok(Value::Int(value & 0xFFFF_FFFF)),
        (function, value) => unreachable_types(function, std::slice::from_ref(value)),
    }
}
