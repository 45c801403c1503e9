//! A value. Cloning one costs at most a reference count: rows are read in place and copied only where a statement keeps them.

use std::sync::Arc;

use smol_str::SmolStr;

/// A value of any modelled type. Which integer type it is was settled when the statement was compiled: all are held as `Int`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`, `integer`, `bigint`, `oid`, `regclass`, `xid`, `xid8`
    Int(i64),
    /// `numeric`
    Numeric(Arc<Numeric>),
    /// `text`, `varchar`, `name`
    Text(SmolStr),
    /// `jsonb`
    Json(Arc<serde_json::Value>),
    /// `timestamptz`: microseconds since the Unix epoch
    Timestamp(i64),
    /// `pg_snapshot`
    Snapshot(Arc<PgSnapshot>),
    /// A one-dimensional array
    Array(Arc<[Value]>),
    /// `void`
    Void,
}

impl Value {
    /// The value as PostgreSQL prints it; NULL has no text.
    pub fn to_text(&self, ty: super::Type) -> Option<String> {
        super::text::print(self, ty)
    }
}

/// A `numeric`: `digits` x 10^-`scale`. Arithmetic whose result does not fit is refused, not rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric {
    /// The digits, with their sign.
    pub digits: i128,
    /// How many of them stand behind the point.
    pub scale: u8,
}

/// The value of `pg_current_snapshot()`: top-level transactions below `xmin` have ended, those from `xmax` on had not
/// begun to end, and those in `xip` (sorted) were running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgSnapshot {
    /// The lowest transaction id that was running.
    pub xmin: u64,
    /// One past the highest transaction id that had *completed*: not the next one to be assigned.
    pub xmax: u64,
    /// The transaction ids that were running between the two, sorted.
    pub xip: Vec<u64>,
}
