//! Identifiers, quoted by one function.

use smol_str::SmolStr;

use crate::ids::{InvalidName, checked};

/// The name of the schema that holds the store's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName {
    name: SmolStr,
    quoted: Box<str>,
}

impl SchemaName {
    /// PostgreSQL cuts longer identifiers off (NAMEDATALEN - 1).
    pub const BYTES_MAX: usize = 63;

    /// The name as it is in the catalog, without quotes.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let name = checked("schema name", Self::BYTES_MAX, name.into())?;
        Ok(Self { quoted: quote(&name).into(), name })
    }

    /// The name, without quotes.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name, as it stands in SQL.
    pub fn quoted(&self) -> &str {
        &self.quoted
    }
}

/// `name` as an identifier in SQL. Source: PostgreSQL manual, 4.1.1.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
