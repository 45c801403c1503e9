//! REFERENCES and FOREIGN KEY. Source: PostgreSQL, tablecmds.c, `ATAddForeignKeyConstraint`.

use smol_str::SmolStr;

use sqlparser::ast;

use super::create::Draft;
use super::names::{index_columns, object_name};
use super::scope::{ident, qualified};
use super::{Builder, refuse_if};
use crate::catalog::{ForeignKey, ITSELF, IndexDef, ReferentialAction, TableDef};
use crate::error::Error;
use crate::plan::{ColumnId, Expr, OWN_ROW};
use crate::types::{Scalar, Type};

impl Builder<'_> {
    /// The foreign keys of a new table, whose unique constraints are known: it may refer to itself.
    pub(super) fn finish_foreign_keys(&mut self, draft: &mut Draft<'_>) -> Result<(), Error> {
        let mut taken = Vec::new();
        for (name, columns, constraint) in std::mem::take(&mut draft.foreign_keys) {
            let key = self.foreign_key(&draft.table, (name, &columns), constraint, &mut taken)?;
            draft.table.foreign_keys.push(key);
        }
        Ok(())
    }

    fn foreign_key(
        &self,
        own: &TableDef,
        (name, names): (Option<SmolStr>, &[SmolStr]),
        constraint: &ast::ForeignKeyConstraint,
        taken: &mut Vec<SmolStr>,
    ) -> Result<ForeignKey, Error> {
        let ast::ForeignKeyConstraint {
            name: _,
            index_name,
            columns: _,
            foreign_table,
            referred_columns,
            on_delete,
            on_update,
            match_kind,
            characteristics,
        } = constraint;
        refuse_if(index_name.is_some(), "an index name in FOREIGN KEY")?;
        refuse_if(
            !matches!(match_kind, None | Some(ast::ConstraintReferenceMatchKind::Simple)),
            "MATCH FULL, PARTIAL",
        )?;
        refuse_if(characteristics.is_some(), "DEFERRABLE")?;
        let (schema, bare) = qualified(foreign_table)?;
        let itself = *schema.as_deref().unwrap_or("public") == *own.schema && bare == own.name;
        let table = if itself { ITSELF } else { self.table(foreign_table)? };
        let referenced = if itself { own } else { &**self.catalog.table(table) };
        let columns = columns_named(own, names)?;
        let key = if referred_columns.is_empty() {
            primary_key(referenced)?
        } else {
            let names: Vec<SmolStr> = referred_columns.iter().map(ident).collect();
            unique_columns(referenced, columns_named(referenced, &names)?)?
        };
        if key.len() != columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(Error::new("42830", message));
        }
        let (on_delete, on_update) = (action(on_delete.as_ref()), action(on_update.as_ref()));
        for (column, other) in columns.iter().zip(&key) {
            let (column, other) = (&own.columns[usize::from(*column)], &referenced.columns[usize::from(*other)]);
            let fits = column.ty == other.ty
                || (is_integer(column.ty) && is_integer(other.ty) && on_update != ReferentialAction::Cascade);
            refuse_if(!fits, "a foreign key between columns of different types")?;
            refuse_if(column.generated.is_some(), "a foreign key of a generated column")?;
        }
        let name = self.constraint_name(own, name, names, taken)?;
        Ok(ForeignKey { name, columns, table, referenced: key, on_delete, on_update })
    }

    /// Source: PostgreSQL, `pg_constraint.c`, `ChooseConstraintName`.
    fn constraint_name(
        &self,
        own: &TableDef,
        given: Option<SmolStr>,
        columns: &[SmolStr],
        taken: &mut Vec<SmolStr>,
    ) -> Result<SmolStr, Error> {
        let in_table = |name: &SmolStr, taken: &[SmolStr]| {
            let keys = own.indexes.iter().map(|index| &index.name);
            keys.chain(own.checks.iter().map(|check| &check.name)).chain(taken).any(|other| other == name)
        };
        let name = if let Some(name) = given {
            if in_table(&name, taken) {
                let message = format!("constraint \"{name}\" for relation \"{}\" already exists", own.name);
                return Err(Error::new("42710", message));
            }
            name
        } else {
            let columns = index_columns(columns.iter().map(|column| &**column));
            let named = |label: &str| object_name(&own.name, Some(&columns), label);
            let (mut name, mut number) = (named("fkey"), 0);
            while in_table(&name, taken) || self.catalog.has_constraint(&own.schema, &name) {
                number += 1;
                name = named(&format!("fkey{number}"));
            }
            name
        };
        taken.push(name.clone());
        Ok(name)
    }
}

fn columns_named(table: &TableDef, names: &[SmolStr]) -> Result<Vec<ColumnId>, Error> {
    let column = |name: &SmolStr| {
        let message = || format!("column \"{name}\" referenced in foreign key constraint does not exist");
        table.column(name).ok_or_else(|| Error::new("42703", message()))
    };
    names.iter().map(column).collect()
}

/// The columns of an index that a foreign key can refer to.
fn plain_columns(index: &IndexDef) -> Option<Vec<ColumnId>> {
    let column = |key: &Expr| match key {
        Expr::Column { slot: OWN_ROW, column } => Some(*column),
        _ => None,
    };
    let plain = index.unique && index.predicate.is_none();
    if plain { index.keys.iter().map(column).collect() } else { None }
}

fn primary_key(table: &TableDef) -> Result<Vec<ColumnId>, Error> {
    let primary = table.indexes.iter().find(|index| index.primary).and_then(plain_columns);
    let message = || format!("there is no primary key for referenced table \"{}\"", table.name);
    primary.ok_or_else(|| Error::new("42704", message()))
}

/// The columns, if a unique index has them, in whatever order.
fn unique_columns(table: &TableDef, columns: Vec<ColumnId>) -> Result<Vec<ColumnId>, Error> {
    if (1..columns.len()).any(|place| columns[..place].contains(&columns[place])) {
        return Err(Error::new("42830", "foreign key referenced-columns list must not contain duplicates"));
    }
    let mut keys = table.indexes.iter().filter_map(plain_columns);
    if keys.any(|key| key.len() == columns.len() && key.iter().all(|column| columns.contains(column))) {
        return Ok(columns);
    }
    let message = format!("there is no unique constraint matching given keys for referenced table \"{}\"", table.name);
    Err(Error::new("42830", message))
}

fn is_integer(ty: Type) -> bool {
    matches!(ty, Type::Scalar(Scalar::Int2 | Scalar::Int4 | Scalar::Int8))
}

fn action(given: Option<&ast::ReferentialAction>) -> ReferentialAction {
    match given {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    }
}
