//! Values to and from PostgreSQL's binary formats.
//!
//! Sources: PostgreSQL, src/backend/utils/adt/{int,int8,timestamp,jsonb}.c, the `*_send` and `*_recv` functions.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, Json, Kind, ToSql, Type};

use crate::session::Value;
use crate::sqlstate::SqlState;

type Failure = Box<dyn StdError + Send + Sync>;

/// From 1970-01-01 to 2000-01-01, where PostgreSQL counts from, in microseconds.
const EPOCH_OFFSET_US: i64 = 946_684_800_000_000;

/// A value that does not fit its type, or a type that does not cross the port.
#[derive(Clone, Debug)]
pub(super) struct Mismatch {
    pub(super) sqlstate: SqlState,
    message: String,
}

impl Mismatch {
    fn boxed(sqlstate: SqlState, message: String) -> Failure {
        Box::new(Self { sqlstate, message })
    }

    fn types(value: &Value, ty: &Type) -> Failure {
        let message = format!("expected a parameter of type {ty}, found {value:?}: cast the parameter in SQL");
        Self::boxed(SqlState::DATATYPE_MISMATCH, message)
    }

    fn range(number: i64, ty: &Type) -> Failure {
        Self::boxed(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{number} is out of range for type {ty}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Mismatch {}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bool(value) if *ty == Type::BOOL => value.to_sql(ty, out),
            Self::Int(number) => int_to_sql(*number, ty, out).unwrap_or_else(|| Err(Mismatch::types(self, ty))),
            Self::Text(value) if <&str as ToSql>::accepts(ty) => (&**value).to_sql(ty, out),
            Self::Json(value) if *ty == Type::JSONB || *ty == Type::JSON => Json(&**value).to_sql(ty, out),
            Self::Timestamp(micros) if *ty == Type::TIMESTAMPTZ => {
                let since_2000 = micros.checked_sub(EPOCH_OFFSET_US).ok_or_else(|| Mismatch::range(*micros, ty))?;
                since_2000.to_sql(&Type::INT8, out)
            }
            Self::Array(values) if matches!(ty.kind(), Kind::Array(_)) => (&**values).to_sql(ty, out),
            _ => Err(Mismatch::types(self, ty)),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Which value it is, is not known here; `to_sql` refuses.
        true
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        self.to_sql(ty, out)
    }
}

/// None: `ty` is not an integer type.
fn int_to_sql(number: i64, ty: &Type, out: &mut BytesMut) -> Option<Result<IsNull, Failure>> {
    let out_of_range = |_| Mismatch::range(number, ty);
    Some(match *ty {
        Type::INT8 => number.to_sql(ty, out),
        Type::INT4 => i32::try_from(number).map_err(out_of_range).and_then(|it| it.to_sql(ty, out)),
        Type::INT2 => i16::try_from(number).map_err(out_of_range).and_then(|it| it.to_sql(ty, out)),
        _ => return None,
    })
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        match *ty {
            Type::BOOL => bool::from_sql(ty, raw).map(Self::Bool),
            Type::INT8 => i64::from_sql(ty, raw).map(Self::Int),
            Type::INT4 => i32::from_sql(ty, raw).map(|it| Self::Int(it.into())),
            Type::INT2 => i16::from_sql(ty, raw).map(|it| Self::Int(it.into())),
            Type::JSONB | Type::JSON => Json::from_sql(ty, raw).map(|it: Json<_>| Self::Json(Arc::new(it.0))),
            Type::TIMESTAMPTZ => {
                let since_2000 = i64::from_sql(&Type::INT8, raw)?;
                // Saturates at `infinity`, which is i64::MAX.
                Ok(Self::Timestamp(since_2000.saturating_add(EPOCH_OFFSET_US)))
            }
            Type::VOID => Ok(Self::Text("".into())),
            _ if <&str as FromSql>::accepts(ty) => <&str>::from_sql(ty, raw).map(Self::from),
            _ if matches!(ty.kind(), Kind::Array(_)) => {
                Vec::from_sql(ty, raw).map(|it: Vec<Self>| Self::Array(it.into()))
            }
            _ => Err(Mismatch::boxed(
                SqlState::DATATYPE_MISMATCH,
                format!("expected a column of a type that crosses the port, found {ty}: cast it in SQL, as in ::text"),
            )),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
