//! Arithmetic, with PostgreSQL's errors for each width of integer.

use std::sync::Arc;

use super::{Function, unreachable_types};
use crate::error::Error;
use crate::types::{Scalar, Value, numeric};

/// A type that can be calculated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Number {
    Int2,
    Int4,
    Int8,
    Numeric,
}

impl Number {
    /// The number type that a scalar is.
    pub(crate) fn of(scalar: Scalar) -> Option<Self> {
        match scalar {
            Scalar::Int2 => Some(Self::Int2),
            Scalar::Int4 => Some(Self::Int4),
            Scalar::Int8 => Some(Self::Int8),
            Scalar::Numeric => Some(Self::Numeric),
            _ => None,
        }
    }

    /// The other way round.
    pub(crate) fn scalar(self) -> Scalar {
        match self {
            Self::Int2 => Scalar::Int2,
            Self::Int4 => Scalar::Int4,
            Self::Int8 => Scalar::Int8,
            Self::Numeric => Scalar::Numeric,
        }
    }

    fn check(self, value: Option<i64>) -> Result<Value, Error> {
        let value = value.filter(|value| crate::types::text::fits(*value, self.scalar()));
        let name = crate::types::text::scalar_name(self.scalar());
        value.map(Value::Int).ok_or_else(|| Error::new("22003", format!("{name} out of range")))
    }
}

pub(super) fn call(function: Function, args: &[Value]) -> Result<Value, Error> {
    match args {
        [Value::Int(left), Value::Int(right)] => integers(function, *left, *right),
        [Value::Numeric(left), Value::Numeric(right)] => Ok(Value::Numeric(Arc::new(match function {
            Function::Add(_) => numeric::add(**left, **right)?,
            Function::Subtract(_) => numeric::add(**left, numeric::negate(**right))?,
            Function::Multiply(_) => numeric::multiply(**left, **right)?,
            Function::Divide(_) => numeric::divide(**left, **right)?,
            Function::Modulo(_) => numeric::remainder(**left, **right)?,
            _ => unreachable_types(function, args),
        }))),
        [Value::Numeric(value), Value::Int(places)] => {
            Ok(Value::Numeric(Arc::new(numeric::round(**value, (*places).clamp(-2000, 2000))?)))
        }
        [Value::Int(value)] => match function {
            Function::Negate(number) => number.check(value.checked_neg()),
            Function::Abs(number) => number.check(value.checked_abs()),
            _ => unreachable_types(function, args),
        },
        [Value::Numeric(value)] => match function {
            Function::Negate(_) => Ok(Value::Numeric(Arc::new(numeric::negate(**value)))),
            Function::Abs(_) if value.digits < 0 => Ok(Value::Numeric(Arc::new(numeric::negate(**value)))),
            Function::Abs(_) => Ok(Value::Numeric(value.clone())),
            _ => unreachable_types(function, args),
        },
        _ => unreachable_types(function, args),
    }
}

pub(super) fn integers(function: Function, left: i64, right: i64) -> Result<Value, Error> {
    let by_zero = || Error::new("22012", "division by zero");
    match function {
        Function::Add(number) => number.check(left.checked_add(right)),
        Function::Subtract(number) => number.check(left.checked_sub(right)),
        Function::Multiply(number) => number.check(left.checked_mul(right)),
        Function::Divide(_) | Function::Modulo(_) if right == 0 => Err(by_zero()),
        Function::Divide(number) => number.check(left.checked_div(right)),
        // The remainder by -1 is 0, also where the quotient would not fit.
        Function::Modulo(_) => Ok(Value::Int(left.checked_rem(right).unwrap_or(0))),
        _ => unreachable_types(function, &[Value::Int(left), Value::Int(right)]),
    }
}
