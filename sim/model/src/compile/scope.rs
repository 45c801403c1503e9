//! Scopes: what a name means where it stands. The only place that knows names; expressions know slots and columns.

use smol_str::SmolStr;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::Builder;
use super::names::{NAME_MAX, cut, is_system_column, refuse_reserved};
use crate::catalog::{Relation, TableId};
use crate::error::Error;
use crate::plan::{Aggregate, CteId, Expr, NodeId, SlotId};
use crate::types::Type;

/// An expression and its type.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    pub(super) ty: Type,
}

/// A table, view, function or subquery in FROM, or the target of a statement.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: SmolStr,
    /// The schema, of a table that has no alias: then `schema.table.column` names it too.
    pub(super) schema: Option<SmolStr>,
    pub(super) slot: SlotId,
    pub(super) columns: Vec<(SmolStr, Type)>,
    pub(super) table: Option<TableId>,
    /// A system view of which not all columns are modelled.
    pub(super) partial: bool,
}

/// A join with USING, of the sources from `first` to `end`: what `*` and names without a table mean there, each common column once.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) columns: Vec<(SmolStr, Typed)>,
}

/// The names of one query level.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) sources: Vec<Source>,
    pub(super) merged: Vec<Merged>,
    /// Sources of the statement that cannot be named here.
    pub(super) hidden: Vec<Source>,
    /// Sources before this one cannot be named here: in ON, what is not part of the join.
    pub(super) visible_from: usize,
    /// Where the aggregates of this level are collected; none: they cannot stand here.
    pub(super) aggregates: Option<Vec<Aggregate>>,
    /// The slot of the aggregates; reserved with the first of them.
    pub(super) aggregate_slot: Option<SlotId>,
    /// The function that gives rows in the select list: its slot and its node.
    pub(super) series: Option<(SlotId, NodeId)>,
    pub(super) window: Option<super::window::Window>,
    /// What is being compiled is called over it.
    pub(super) over: bool,
    /// The clause, for errors: aggregate functions are not allowed in WHERE.
    pub(super) clause: &'static str,
}

impl Scope {
    /// Calls `each` with the columns that can be named without a table, of the sources from `first` on.
    pub(super) fn each_column(&self, first: usize, each: &mut dyn FnMut(&SmolStr, Typed)) {
        let mut at = first;
        while let Some(source) = self.sources.get(at) {
            if let Some(merged) = self.merged.iter().find(|merged| merged.first == at) {
                merged.columns.iter().for_each(|(name, value)| each(name, value.clone()));
                at = merged.end;
                continue;
            }
            for (place, (name, ty)) in source.columns.iter().enumerate() {
                each(name, typed_column(source.slot, place, *ty));
            }
            at += 1;
        }
    }
}

/// A WITH query that can be named.
#[derive(Clone, Debug)]
pub(super) struct CteName {
    pub(super) name: SmolStr,
    pub(super) id: CteId,
    pub(super) columns: Vec<(SmolStr, Type)>,
    /// A data-modifying query without RETURNING has no rows to read.
    pub(super) readable: bool,
}

/// An identifier as PostgreSQL reads it: folded unless quoted, and cut.
pub(super) fn ident(ident: &Ident) -> SmolStr {
    let Ident { value, quote_style, span: _ } = ident;
    let mut name = if quote_style.is_none() { value.to_ascii_lowercase() } else { value.clone() };
    let end = cut(&name, NAME_MAX).len();
    name.truncate(end);
    name.into()
}

/// The parts of a dotted name of a table, a column or the like.
pub(super) fn parts(name: &ObjectName) -> Result<Vec<SmolStr>, Error> {
    if let Some(ObjectNamePart::Identifier(first)) = name.0.first() {
        refuse_reserved(first)?;
    }
    loose_parts(name)
}

/// The parts of a name that may be a word that is reserved elsewhere: a function's, a type's, a setting's.
pub(super) fn loose_parts(name: &ObjectName) -> Result<Vec<SmolStr>, Error> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(part) => Ok(ident(part)),
            ObjectNamePart::Function(_) => Err(Error::refused("a name that is computed")),
        })
        .collect()
}

/// A name with or without its schema.
pub(super) fn qualified(name: &ObjectName) -> Result<(Option<SmolStr>, SmolStr), Error> {
    match parts(name)?.as_slice() {
        [name] => Ok((None, name.clone())),
        [schema, name] => Ok((Some(schema.clone()), name.clone())),
        _ => Err(Error::refused(format!("the name {name}: a database before the schema"))),
    }
}

impl Builder<'_> {
    /// The schemas in which an unqualified name is looked for.
    pub(super) fn relation(&self, name: &ObjectName) -> Result<Relation, Error> {
        let (schema, bare) = qualified(name)?;
        self.relation_by_name(schema.as_deref(), &bare)
    }

    pub(super) fn relation_by_name(&self, schema: Option<&str>, bare: &str) -> Result<Relation, Error> {
        self.catalog.refuse_poisoned(bare)?;
        let found = self.catalog.lookup(schema.unwrap_or("public"), bare);
        if found.is_none()
            && (schema == Some("pg_catalog") || bare.starts_with("pg_") || schema == Some("information_schema"))
        {
            return Err(Error::refused(format_args!("the system table {bare}")));
        }
        found.ok_or_else(|| {
            let text = schema.map_or_else(|| bare.to_owned(), |schema| format!("{schema}.{bare}"));
            Error::new("42P01", format!("relation \"{text}\" does not exist"))
        })
    }

    /// A table by name.
    pub(super) fn table(&self, name: &ObjectName) -> Result<TableId, Error> {
        let (_, bare) = qualified(name)?;
        match self.relation(name)? {
            Relation::Table(id) => {
                self.saw_varchar(self.catalog.table(id).has_varchar());
                Ok(id)
            }
            Relation::Index(_) => Err(Error::new("42809", format!("cannot open relation \"{bare}\""))),
            Relation::Sequence(_) | Relation::View(_) => {
                Err(Error::refused(format!("a command of tables on \"{bare}\", which is a sequence or a view")))
            }
        }
    }

    /// The innermost scope.
    pub(super) fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("every expression stands in a scope")
    }

    /// Enters a clause of the innermost query level.
    pub(super) fn clause(&mut self, clause: &'static str) {
        self.scope().clause = clause;
    }

    /// Adds a source to the innermost scope.
    pub(super) fn add_source(&mut self, source: Source) -> Result<(), Error> {
        let name = source.name.clone();
        let twice = self.scope().sources.iter().any(|other| other.name == name);
        if twice {
            return Err(Error::new("42712", format!("table name \"{name}\" specified more than once")));
        }
        let record = source.columns.iter().any(|(_, ty)| *ty == crate::types::Scalar::Record.into());
        super::refuse_if(record, "a column of records")?;
        self.scope().sources.push(source);
        Ok(())
    }

    /// What `column` means.
    pub(super) fn column(&self, name: &str) -> Result<Typed, Error> {
        for scope in self.scopes.iter().rev() {
            let (mut found, mut twice) = (None, false);
            scope.each_column(scope.visible_from, &mut |column, value| {
                if **column == *name {
                    twice |= found.replace(value).is_some();
                }
            });
            if twice {
                return Err(Error::new("42702", format!("column reference \"{name}\" is ambiguous")));
            }
            if let Some(found) = found {
                return Ok(found);
            }
            if scope.sources.iter().skip(scope.visible_from).any(|source| *source.name == *name) {
                return Err(Error::refused(format!("the whole-row reference {name}")));
            }
        }
        if self.scopes.iter().any(|scope| scope.sources.iter().any(|source| source.partial)) {
            return Err(Error::refused(format!("the column {name} of a system view, unless it does not exist")));
        }
        if is_system_column(name) && self.scopes.iter().any(|scope| !scope.sources.is_empty()) {
            return Err(Error::refused(format!("the system column {name}")));
        }
        Err(Error::new("42703", format!("column \"{name}\" does not exist")))
    }

    /// What `source.column` or `schema.source.column` means.
    pub(super) fn qualified_column(&self, names: &[SmolStr]) -> Result<Typed, Error> {
        let (schema, table, column) = match names {
            [table, column] => (None, table, column),
            [schema, table, column] => (Some(schema), table, column),
            _ => return Err(Error::refused(format!("the name {}", names.join(".")))),
        };
        let source = self.source(schema.map(|schema| &**schema), table)?;
        let place = source.columns.iter().position(|(name, _)| name == column);
        match place {
            Some(place) if source.columns[place + 1..].iter().any(|(name, _)| name == column) => {
                Err(Error::new("42702", format!("column reference \"{column}\" is ambiguous")))
            }
            Some(place) => Ok(typed_column(source.slot, place, source.columns[place].1)),
            None if source.partial => Err(Error::refused(format!("the column {table}.{column}"))),
            None if is_system_column(column) => Err(Error::refused(format!("the system column {column}"))),
            None => Err(Error::new("42703", format!("column {table}.{column} does not exist"))),
        }
    }

    /// The source of this name, innermost first.
    pub(super) fn source(&self, schema: Option<&str>, name: &str) -> Result<&Source, Error> {
        let named = |source: &&Source| {
            *source.name == *name && schema.is_none_or(|schema| source.schema.as_deref() == Some(schema))
        };
        let mut visible = self.scopes.iter().rev().flat_map(|scope| scope.sources.iter().skip(scope.visible_from));
        let found = visible.find(named);
        found.ok_or_else(|| {
            if self.stands_elsewhere(schema, name) {
                return Error::new("42P01", format!("invalid reference to FROM-clause entry for table \"{name}\""));
            }
            Error::new("42P01", format!("missing FROM-clause entry for table \"{name}\""))
        })
    }

    /// Whether a table stands in the statement, though it cannot be named here, or not by this name. Source: PostgreSQL, `parse_relation.c`,
    /// `searchRangeTableForRel`.
    fn stands_elsewhere(&self, schema: Option<&str>, name: &str) -> bool {
        let table = match self.catalog.lookup(schema.unwrap_or("public"), name) {
            Some(Relation::Table(id)) => Some(id),
            _ => None,
        };
        let all = self.scopes.iter().flat_map(|scope| scope.sources.iter().chain(&scope.hidden));
        all.into_iter().any(|source| *source.name == *name || table.is_some() && source.table == table)
    }

    /// A WITH query of this name, innermost first.
    pub(super) fn cte_name(&self, name: &str) -> Option<&CteName> {
        self.cte_names.iter().rev().find(|cte| *cte.name == *name)
    }
}

pub(super) fn typed_column(slot: SlotId, place: usize, ty: Type) -> Typed {
    Typed { expr: Expr::Column { slot, column: u16::try_from(place).expect("the number of columns is limited") }, ty }
}
