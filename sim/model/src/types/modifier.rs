//! What stands in parentheses behind a type, `varchar(10)`, `numeric(8, 2)`: values that are cast to it, or stored as it, are made to fit.
//!
//! Source: PostgreSQL, `varchar` in src/backend/utils/adt/varchar.c, `apply_typmod` in numeric.c.

use super::{Numeric, Value, numeric};
use crate::error::Error;

/// See above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modifier {
    /// So many characters at most.
    Length(u32),
    /// So many characters: blanks at the end do not count, and are shown.
    Blanks(u32),
    /// So many digits, of which so many stand behind the point; a negative scale rounds before it.
    Digits { precision: i64, scale: i64 },
}

/// Source: `MaxAttrSize`.
const LENGTH_MAX: u64 = 10_485_760;

impl Modifier {
    pub(crate) fn length(length: u64) -> Result<Self, Error> {
        checked(length, "varchar").map(Self::Length)
    }

    pub(crate) fn blanks(length: u64) -> Result<Self, Error> {
        checked(length, "char").map(Self::Blanks)
    }

    pub(crate) fn digits(precision: u64, scale: i64) -> Result<Self, Error> {
        let Some(precision) = i64::try_from(precision).ok().filter(|precision| (1..=1000).contains(precision)) else {
            return Err(Error::new("22023", format!("NUMERIC precision {precision} must be between 1 and 1000")));
        };
        if !(-1000..=1000).contains(&scale) {
            return Err(Error::new("22023", format!("NUMERIC scale {scale} must be between -1000 and 1000")));
        }
        Ok(Self::Digits { precision, scale })
    }

    /// As arguments of a function.
    pub(crate) fn numbers(self) -> Vec<Value> {
        match self {
            Self::Length(length) => vec![Value::Int(length.into())],
            Self::Blanks(length) => vec![Value::Int(length.into()), Value::Bool(true)],
            Self::Digits { precision, scale } => vec![Value::Int(precision), Value::Int(scale)],
        }
    }

    /// Takes [`Modifier::numbers`] back.
    pub(crate) fn of_numbers(numbers: &[Value]) -> Self {
        match numbers {
            [Value::Int(length)] => Self::Length(u32::try_from(*length).expect("it was made of one")),
            [Value::Int(length), Value::Bool(_)] => Self::Blanks(u32::try_from(*length).expect("it was made of one")),
            [Value::Int(precision), Value::Int(scale)] => Self::Digits { precision: *precision, scale: *scale },
            numbers => unreachable!("no modifier has these numbers: {numbers:?}"),
        }
    }

    /// `value` as it fits; `explicit`: by a cast, which cuts off what is too long.
    pub(crate) fn fit(self, value: &Value, explicit: bool) -> Result<Value, Error> {
        match (self, value) {
            (Self::Length(length), Value::Text(text)) => {
                let Some((end, _)) = text.char_indices().nth(length as usize) else { return Ok(value.clone()) };
                if explicit || text[end..].bytes().all(|byte| byte == b' ') {
                    return Ok(Value::Text(text[..end].into()));
                }
                Err(Error::new("22001", format!("value too long for type character varying({length})")))
            }
            (Self::Blanks(length), Value::Text(text)) => {
                let text = text.trim_end_matches(' ');
                let Some((end, _)) = text.char_indices().nth(length as usize) else {
                    return Ok(Value::Text(text.into()));
                };
                if explicit {
                    return Ok(Value::Text(text[..end].trim_end_matches(' ').into()));
                }
                Err(Error::new("22001", format!("value too long for type character({length})")))
            }
            (Self::Digits { precision, scale }, Value::Numeric(value)) => {
                Ok(Value::Numeric(round(**value, precision, scale)?.into()))
            }
            (_, value) => Ok(value.clone()),
        }
    }
}

fn checked(length: u64, name: &str) -> Result<u32, Error> {
    match u32::try_from(length) {
        Ok(0) => Err(Error::new("22023", format!("length for type {name} must be at least 1"))),
        Ok(checked) if length <= LENGTH_MAX => Ok(checked),
        _ => Err(Error::new("22023", format!("length for type {name} cannot exceed {LENGTH_MAX}"))),
    }
}

fn round(value: Numeric, precision: i64, scale: i64) -> Result<Numeric, Error> {
    let rounded = numeric::round(value, scale)?;
    // What is shown before the point is limited: 10^(precision - scale) does not fit.
    let whole = u32::try_from(precision - scale + i64::from(rounded.scale)).ok();
    let fits = rounded.digits == 0
        || whole.is_some_and(|whole| 10_i128.checked_pow(whole).is_none_or(|limit| rounded.digits.abs() < limit));
    if fits { Ok(rounded) } else { Err(Error::new("22003", "numeric field overflow")) }
}
