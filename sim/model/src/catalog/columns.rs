//! Columns of tables.

use smol_str::SmolStr;

use super::{Catalog, TableDef};
use crate::plan::Expr;
use crate::types::{Modifier, Type};

/// A column.
#[derive(Clone, Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: SmolStr,
    pub(crate) ty: Type,
    /// What stands behind the type: `varchar(10)`.
    pub(crate) modifier: Option<Modifier>,
    pub(crate) not_null: bool,
    pub(crate) default: Option<Expr>,
    /// GENERATED ALWAYS AS IDENTITY: an explicit value is an error (428C9).
    pub(crate) identity_always: bool,
    /// GENERATED ALWAYS AS (..) STORED: what it is, over `OWN_ROW`.
    pub(crate) generated: Option<Expr>,
    /// `varchar` is kept as text, which is another word in errors.
    pub(crate) varchar: bool,
}

impl TableDef {
    /// Whether any column's type is called text here and something else in PostgreSQL's errors.
    pub(crate) fn has_varchar(&self) -> bool {
        self.columns.iter().any(|column| column.varchar)
    }
}

impl Catalog {
    /// The defaults of all columns.
    pub(crate) fn defaults(&self) -> impl Iterator<Item = &Expr> {
        let columns = self.names.tables.iter().flatten().flat_map(|table| &table.columns);
        columns.filter_map(|column| column.default.as_ref())
    }
}
