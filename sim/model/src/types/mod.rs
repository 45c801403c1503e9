//! Types and values: what a column, a parameter or an expression may hold.

mod compare;
pub(crate) mod json;
mod modifier;
pub(crate) mod numeric;
pub(crate) mod text;
mod timestamp;
mod value;

pub(crate) use compare::{compare, same};
pub(crate) use modifier::Modifier;

pub use value::{Numeric, PgSnapshot, Value};

/// A type, resolved when a statement is compiled. Execution sees values only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A scalar.
    Scalar(Scalar),
    /// A one-dimensional array.
    Array(Scalar),
}

/// The scalar types that are modelled. Any other type name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric`
    Numeric,
    /// `text`, `varchar`, `name`; collation C
    Text,
    /// `character(n)`: kept without the blanks at its end, which it has where it is shown
    Char,
    /// `jsonb`
    Jsonb,
    /// `timestamptz`: microseconds since the Unix epoch
    Timestamptz,
    /// `xid`: the low 32 bits of a transaction id
    Xid,
    /// `xid8`: a transaction id in full
    Xid8,
    /// `oid`
    Oid,
    /// `regclass`: an OID that is printed as a relation's name
    Regclass,
    /// `pg_snapshot`
    Snapshot,
    /// `record`: what ROW makes, as it is printed; it stands in results and nowhere else
    Record,
    /// `void`, what `pg_advisory_lock` returns
    Void,
    /// A literal or parameter whose type nothing has told yet; none is left once a statement is compiled
    Unknown,
}

impl From<Scalar> for Type {
    fn from(scalar: Scalar) -> Self {
        Self::Scalar(scalar)
    }
}
