//! The catalog: tables, indexes and sequences by name. Written by DDL, read when a statement is compiled.

use std::sync::Arc;

use crate::plan::Expr;
use crate::types::{Scalar, Type};

/// A table, by number. Numbers are never reused.
pub(crate) type TableId = u32;
/// An index, by its place in [`TableDef::indexes`].
pub(crate) type IndexId = u16;
/// A sequence, by number.
pub(crate) type SequenceId = u32;

/// A table as DDL describes it.
#[derive(Clone, Debug)]
pub(crate) struct TableDef {
    pub(crate) schema: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) columns: Vec<ColumnDef>,
    /// CHECK constraints: name, and a condition over `OWN_ROW`.
    pub(crate) checks: Vec<(Arc<str>, Expr)>,
    /// Unique ones first; the primary key before all.
    pub(crate) indexes: Vec<IndexDef>,
}

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: Arc<str>,
    pub(crate) ty: Type,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Expr>,
    /// GENERATED ALWAYS AS IDENTITY: an explicit value is an error (428C9).
    pub(crate) identity_always: bool,
}

/// An index. One that is neither unique nor useful to a condition is kept all the same: it has a name.
#[derive(Clone, Debug)]
pub(crate) struct IndexDef {
    pub(crate) name: Arc<str>,
    pub(crate) unique: bool,
    pub(crate) primary: bool,
    /// Columns or expressions over `OWN_ROW`.
    pub(crate) keys: Vec<Expr>,
    /// Of a partial index: the condition, over `OWN_ROW`.
    pub(crate) predicate: Option<Expr>,
}

/// A sequence.
#[derive(Clone, Debug)]
pub(crate) struct SequenceDef {
    pub(crate) schema: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) start: i64,
    pub(crate) increment: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) cycle: bool,
}

/// The columns of `pg_locks` that are modelled, in the view's order.
pub(crate) fn view_columns(view: crate::plan::View) -> &'static [(&'static str, Scalar)] {
    match view {
        crate::plan::View::Locks => &[
            ("locktype", Scalar::Text),
            ("database", Scalar::Oid),
            ("relation", Scalar::Oid),
            ("virtualxid", Scalar::Text),
            ("transactionid", Scalar::Xid),
            ("virtualtransaction", Scalar::Text),
            ("pid", Scalar::Int4),
            ("mode", Scalar::Text),
            ("granted", Scalar::Bool),
        ],
    }
}
