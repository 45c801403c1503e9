//! A column of CREATE TABLE and ADD COLUMN: its type, its default, what else is said of it.

use smol_str::SmolStr;

use sqlparser::ast::{self, ColumnOption, GeneratedAs, SequenceOptions};

use super::coerce::{Cast, fitted, is_varchar, modified_type};
use super::create::{Draft, Key, plain_primary, plain_unique};
use super::names::{is_system_column, refuse_reserved};
use super::scope::{Scope, Typed, ident};
use super::sequence::sequence;
use super::{Builder, refuse_if, visit};
use crate::catalog::{ColumnDef, SequenceDef};
use crate::error::Error;
use crate::plan::ColumnId;
use crate::types::Scalar;
use crate::types::text::type_name;

/// What a column's options have said so far: some of them only stand once. Source: PostgreSQL, `parse_utilcmd.c`, `transformColumnDefinition`.
#[derive(Default)]
struct Said {
    nullable: Option<bool>,
    default: bool,
    identity: bool,
    generated: bool,
}

impl Said {
    fn hear(&mut self, option: &ColumnOption, column: &str, table: &str) -> Result<(), Error> {
        let wrong =
            |what: &str| Err(Error::new("42601", format!("{what} for column \"{column}\" of table \"{table}\"")));
        let identity = matches!(option, ColumnOption::Generated { generation_expr: None, .. });
        let nullable = match option {
            ColumnOption::Null => Some(true),
            ColumnOption::NotNull => Some(false),
            _ if identity => Some(false),
            _ => None,
        };
        if let Some(nullable) = nullable
            && self.nullable.replace(nullable).is_some_and(|before| before != nullable)
        {
            return wrong("conflicting NULL/NOT NULL declarations");
        }
        match option {
            ColumnOption::Default(_) if std::mem::replace(&mut self.default, true) => {
                return wrong("multiple default values specified");
            }
            ColumnOption::Generated { .. } if identity && std::mem::replace(&mut self.identity, true) => {
                return wrong("multiple identity specifications");
            }
            ColumnOption::Generated { .. } if !identity && std::mem::replace(&mut self.generated, true) => {
                return wrong("multiple generation clauses specified");
            }
            _ => {}
        }
        match (self.default, self.identity, self.generated) {
            (true, true, _) => wrong("both default and identity specified"),
            (true, _, true) => wrong("both default and generation expression specified"),
            (_, true, true) => wrong("both identity and generation expression specified"),
            _ => Ok(()),
        }
    }
}

impl Builder<'_> {
    pub(super) fn create_column<'ast>(
        &mut self,
        draft: &mut Draft<'ast>,
        column: &'ast ast::ColumnDef,
    ) -> Result<(), Error> {
        let ast::ColumnDef { name, data_type: declared, options } = column;
        refuse_reserved(name)?;
        let name = ident(name);
        if draft.table.column(&name).is_some() {
            return Err(Error::new("42701", format!("column \"{name}\" specified more than once")));
        }
        let place = ColumnId::try_from(draft.table.columns.len()).expect("the number of columns is limited");
        let serial = serial_type(declared);
        let (ty, modifier) = match serial {
            Some(scalar) => (scalar.into(), None),
            None => modified_type(declared)?,
        };
        let varchar = is_varchar(declared);
        self.saw_varchar(varchar);
        let mut def = ColumnDef {
            name: name.clone(),
            ty,
            modifier,
            not_null: serial.is_some(),
            default: None,
            identity_always: false,
            generated: None,
            varchar,
        };
        if let Some(scalar) = serial {
            let sequence = self.own_sequence(draft, &name, scalar, &[])?;
            draft.sequences.push((place, sequence));
        }
        let mut said = Said { nullable: serial.map(|_| false), default: serial.is_some(), ..Said::default() };
        for ast::ColumnOptionDef { name: constraint, option } in options {
            said.hear(option, &name, &draft.table.name)?;
            let constraint = constraint.as_ref().map(ident);
            self.column_option(draft, &mut def, place, constraint, option)?;
        }
        if is_system_column(&name) {
            let message = format!("column name \"{name}\" conflicts with a system column name");
            return Err(Error::new("42701", message));
        }
        draft.table.columns.push(def);
        Ok(())
    }

    fn column_option<'ast>(
        &mut self,
        draft: &mut Draft<'ast>,
        def: &mut ColumnDef,
        place: ColumnId,
        name: Option<SmolStr>,
        option: &'ast ColumnOption,
    ) -> Result<(), Error> {
        match option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => def.not_null = true,
            ColumnOption::Default(expr) => {
                let value = self.default_expr(expr)?;
                let from = value.ty;
                let found = self.try_coerce(value, def.ty, Cast::Assignment)?;
                let message = || {
                    let (to, from) = (type_name(def.ty), type_name(from));
                    format!("column \"{}\" is of type {to} but default expression is of type {from}", def.name)
                };
                let found = found.ok_or_else(|| Error::new("42804", message()))?;
                def.default = Some(fitted(found, def.modifier, false));
            }
            ColumnOption::PrimaryKey(key) => {
                plain_primary(key)?;
                def.not_null = true;
                draft.keys.push(Key { name, columns: vec![place], include: Vec::new(), primary: true });
            }
            ColumnOption::Unique(key) => {
                plain_unique(key)?;
                draft.keys.push(Key { name, columns: vec![place], include: Vec::new(), primary: false });
            }
            ColumnOption::Check(check) => {
                let ast::CheckConstraint { name: own, expr, no_inherit, enforced } = check;
                refuse_if(*no_inherit || enforced.is_some(), "NO INHERIT, ENFORCED")?;
                let name = name.or_else(|| own.as_ref().map(ident));
                draft.checks.push((name, expr));
            }
            ColumnOption::Generated {
                generated_as,
                sequence_options,
                generation_expr,
                generation_expr_mode,
                generated_keyword: _,
            } => {
                if let Some(expr) = generation_expr {
                    let stored = matches!(generation_expr_mode, Some(ast::GeneratedExpressionMode::Stored));
                    refuse_if(!stored, "generated columns that are not stored")?;
                    draft.generated.push((place, expr));
                    return Ok(());
                }
                let Some(scalar) = integer(def) else {
                    return Err(Error::new("22023", "identity column type must be smallint, integer, or bigint"));
                };
                def.not_null = true;
                def.identity_always = *generated_as == GeneratedAs::Always;
                let options = sequence_options.as_deref().unwrap_or(&[]);
                let sequence = self.own_sequence(draft, &def.name.clone(), scalar, options)?;
                draft.sequences.push((place, sequence));
            }
            ColumnOption::ForeignKey(key) => draft.foreign_keys.push((name, vec![def.name.clone()], key)),
            ColumnOption::Collation(name) => {
                let c = name.to_string().replace('"', "").eq_ignore_ascii_case("c");
                refuse_if(!c, "collations other than C")?;
            }
            other => return Err(Error::refused(format!("the column option {other}"))),
        }
        Ok(())
    }

    /// A DEFAULT: it names nothing of its row, and asks nothing.
    fn default_expr(&mut self, expr: &ast::Expr) -> Result<Typed, Error> {
        self.clause("DEFAULT expressions");
        self.scopes.push(Scope { clause: "DEFAULT expressions", ..Scope::default() });
        let value = self.expr(expr);
        self.scopes.pop();
        match value {
            Ok(value) if visit::has_subquery(&value.expr) => {
                Err(Error::new("0A000", "cannot use subquery in DEFAULT expression"))
            }
            Err(error) if error.sqlstate == "42703" || error.message.contains("FROM-clause") => {
                refuse_if(expr.to_string().to_ascii_uppercase().contains("SELECT"), "a subquery in DEFAULT")?;
                Err(Error::new("0A000", "cannot use column reference in DEFAULT expression"))
            }
            other => other,
        }
    }

    /// The sequence of a serial or identity column.
    fn own_sequence(
        &self,
        draft: &mut Draft<'_>,
        column: &str,
        scalar: Scalar,
        options: &[SequenceOptions],
    ) -> Result<SequenceDef, Error> {
        let parts = (&*draft.table.name, Some(column), "seq");
        let name = self.free_name(&draft.table.schema, parts, &mut draft.taken);
        sequence(draft.table.schema.clone(), name, scalar, options)
    }
}

fn integer(def: &ColumnDef) -> Option<Scalar> {
    match def.ty {
        crate::types::Type::Scalar(scalar @ (Scalar::Int2 | Scalar::Int4 | Scalar::Int8)) => Some(scalar),
        _ => None,
    }
}

fn serial_type(ty: &ast::DataType) -> Option<Scalar> {
    let ast::DataType::Custom(name, modifiers) = ty else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    match &*name.to_string().to_ascii_lowercase() {
        "smallserial" | "serial2" => Some(Scalar::Int2),
        "serial" | "serial4" => Some(Scalar::Int4),
        "bigserial" | "serial8" => Some(Scalar::Int8),
        _ => None,
    }
}
