//! ALTER TABLE, as far as it adds columns, and ALTER SEQUENCE.

use smol_str::SmolStr;
use sqlparser::ast::{self, AlterTableOperation};

use super::create::Draft;
use super::scope::{ident, qualified};
use super::sequence::altered;
use super::{Builder, COLUMNS_MAX, refuse_if};
use crate::catalog::Relation;
use crate::error::Error;
use crate::parse::{Own, SequenceChanges};
use crate::plan::{Expr, Utility};
use crate::types::Value;

impl Builder<'_> {
    pub(super) fn alter_table(&mut self, alter: &ast::AlterTable) -> Result<Utility, Error> {
        let ast::AlterTable { name, if_exists, only: _, operations, location, on_cluster, table_type, end_token: _ } =
            alter;
        refuse_if(location.is_some() || on_cluster.is_some() || table_type.is_some(), "options of ALTER TABLE")?;
        let (schema, bare) = qualified(name)?;
        if *if_exists && self.catalog.lookup(schema.as_deref().unwrap_or("public"), &bare).is_none() {
            return Err(Error::refused("ALTER TABLE IF EXISTS of a table that does not exist"));
        }
        let table = self.table(name)?;
        refuse_if(!self.catalog.views_over(&[table]).is_empty(), "ALTER TABLE of a table that a view reads")?;
        let mut draft = Draft::of(self.catalog.table(table).as_ref().clone());
        let old = draft.table.columns.len();
        for operation in operations {
            self.add_column(&mut draft, operation)?;
        }
        if draft.table.columns.len() > COLUMNS_MAX {
            return Err(Error::new("54011", format!("tables can have at most {COLUMNS_MAX} columns")));
        }
        let computed = draft.table.indexes.iter().flat_map(|index| &index.keys);
        refuse_if(
            computed.into_iter().any(|key| !matches!(key, Expr::Column { .. })),
            "ALTER TABLE of a table with an index on an expression",
        )?;
        let mut fill = Vec::new();
        for column in &draft.table.columns[old..] {
            match &column.default {
                None => fill.push(Value::Null),
                Some(Expr::Const(value)) => fill.push(value.clone()),
                Some(_) => return Err(Error::refused("ADD COLUMN with a default that is no constant")),
            }
        }
        Ok(Utility::AlterTable { table, def: Box::new(draft.table), fill })
    }

    fn add_column<'ast>(&mut self, draft: &mut Draft<'ast>, operation: &'ast AlterTableOperation) -> Result<(), Error> {
        let AlterTableOperation::AddColumn { column_keyword: _, if_not_exists, column_def, column_position } =
            operation
        else {
            let text = operation.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            return Err(Error::refused(format_args!("ALTER TABLE .. {}", words.join(" "))));
        };
        refuse_if(column_position.is_some(), "FIRST, AFTER in ALTER TABLE")?;
        let name = ident(&column_def.name);
        if draft.table.column(&name).is_some() {
            refuse_if(*if_not_exists, "ADD COLUMN IF NOT EXISTS of a column that exists")?;
            let message = format!("column \"{name}\" of relation \"{}\" already exists", draft.table.name);
            return Err(Error::new("42701", message));
        }
        self.create_column(draft, column_def)?;
        refuse_if(!draft.is_plain(), "ADD COLUMN with a constraint, a sequence or a generated value")
    }

    pub(super) fn own(&mut self, own: &Own) -> Result<Utility, Error> {
        match own {
            Own::AlterSequence { schema, name, if_exists, changes } => {
                self.alter_sequence(schema.as_ref(), name, *if_exists, *changes)
            }
            Own::Prepare { gid } => Ok(Utility::Prepare(gid.clone())),
            Own::FinishPrepared { gid, commit } => Ok(Utility::FinishPrepared { gid: gid.clone(), commit: *commit }),
        }
    }

    fn alter_sequence(
        &mut self,
        schema: Option<&SmolStr>,
        name: &SmolStr,
        if_exists: bool,
        changes: SequenceChanges,
    ) -> Result<Utility, Error> {
        match self.catalog.lookup(schema.map_or("public", SmolStr::as_str), name) {
            Some(Relation::Sequence(sequence)) => {
                let def = Box::new(altered(self.catalog.sequence(sequence), changes)?);
                Ok(Utility::AlterSequence { sequence, def, restart: changes.restart })
            }
            Some(_) => Err(Error::new("42809", format!("\"{name}\" is not a sequence"))),
            None => {
                refuse_if(if_exists, "ALTER SEQUENCE IF EXISTS of a sequence that does not exist")?;
                Err(Error::new("42P01", format!("relation \"{name}\" does not exist")))
            }
        }
    }
}
