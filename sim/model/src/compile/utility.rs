//! Statements that are not planned: transactions, settings, locks and the rest of DDL.

use smol_str::SmolStr;

use sqlparser::ast::{self, ObjectType, Statement, TransactionAccessMode, TransactionIsolationLevel, TransactionMode};

use super::scope::{ident, loose_parts, parts, qualified};
use super::{Builder, refuse_if, visit};
use crate::catalog::{IndexId, Relation, TableId};
use crate::error::Error;
use crate::notify::Listening;
use crate::plan::{Expr, Isolation, TableLockMode, TransactionModes, Utility};
use crate::types::Scalar;

impl Builder<'_> {
    pub(super) fn utility(&mut self, statement: &Statement) -> Result<Utility, Error> {
        match statement {
            Statement::StartTransaction {
                modes,
                begin: _,
                transaction,
                modifier,
                statements,
                exception,
                has_end_keyword,
            } => {
                refuse_if(*transaction == Some(ast::BeginTransactionKind::Tran), "BEGIN TRAN")?;
                refuse_if(modifier.is_some(), "BEGIN with a modifier")?;
                refuse_if(!statements.is_empty() || exception.is_some() || *has_end_keyword, "BEGIN .. END blocks")?;
                Ok(Utility::Begin(transaction_modes(modes)?))
            }
            Statement::Commit { chain, end: _, modifier } => {
                refuse_if(modifier.is_some(), "COMMIT with a modifier")?;
                Ok(Utility::Commit { chain: *chain })
            }
            Statement::Rollback { chain, savepoint } => {
                let rollback = Utility::Rollback { chain: *chain };
                Ok(savepoint.as_ref().map_or(rollback, |name| Utility::RollbackTo(ident(name))))
            }
            Statement::Savepoint { name } => Ok(Utility::Savepoint(ident(name))),
            Statement::ReleaseSavepoint { name } => Ok(Utility::Release(ident(name))),
            Statement::Set(set) => set_statement(set),
            Statement::Reset(ast::ResetStatement { reset }) => match reset {
                ast::Reset::ConfigurationParameter(name) => {
                    Ok(Utility::Set { name: setting(name)?, value: None, local: false })
                }
                _ => Err(Error::refused("RESET ALL, RESET SESSION AUTHORIZATION")),
            },
            Statement::ShowVariable { variable } => {
                // Its parser leaves out the dots.
                let names: Vec<_> = variable.iter().map(ident).collect();
                let name = names.iter().map(|name| &**name).collect::<Vec<_>>();
                let capital = |name: &&str| name.chars().any(|letter| letter.is_ascii_uppercase());
                refuse_if(name.iter().any(capital), "SHOW of a name with capitals")?;
                match name.as_slice() {
                    ["transaction", "isolation", "level"] => Ok(Utility::Show("transaction_isolation".into())),
                    ["time", "zone"] => Err(Error::refused("SHOW TIME ZONE")),
                    ["session", "authorization"] => Err(Error::refused("SHOW SESSION AUTHORIZATION")),
                    ["all"] => Err(Error::refused("SHOW ALL")),
                    names => Ok(Utility::Show(names.join(".").into())),
                }
            }
            Statement::LISTEN { channel } => Ok(Utility::Listen(Listening::Listen(ident(channel)))),
            Statement::UNLISTEN { channel } if channel.value == "*" => Ok(Utility::Listen(Listening::UnlistenAll)),
            Statement::UNLISTEN { channel } => Ok(Utility::Listen(Listening::Unlisten(ident(channel)))),
            Statement::NOTIFY { channel, payload } => {
                Ok(Utility::Notify { channel: ident(channel), payload: payload.as_deref().unwrap_or("").into() })
            }
            Statement::Lock(lock) => self.lock_table(lock),
            Statement::Truncate(truncate) => self.truncate(truncate),
            _ => self.definition(statement),
        }
    }

    fn definition(&mut self, statement: &Statement) -> Result<Utility, Error> {
        match statement {
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateView(create) => self.create_view(create),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::CreateSequence { temporary, if_not_exists, name, sequence_options } => {
                refuse_if(*temporary, "temporary sequences")?;
                let (schema, name) = qualified(name)?;
                let schema = schema.unwrap_or_else(|| "public".into());
                let sequence = super::sequence::sequence(schema, name, Scalar::Int8, sequence_options)?;
                Ok(Utility::CreateSequence { sequence: Box::new(sequence), if_not_exists: *if_not_exists })
            }
            Statement::CreateSchema {
                schema_name,
                or_replace,
                if_not_exists,
                with,
                options,
                default_collate_spec,
                clone,
            } => {
                let elsewhere = *or_replace || with.is_some() || options.is_some() || default_collate_spec.is_some();
                refuse_if(elsewhere || clone.is_some(), "options of CREATE SCHEMA")?;
                let ast::SchemaName::Simple(name) = schema_name else {
                    return Err(Error::refused("AUTHORIZATION in CREATE SCHEMA"));
                };
                Ok(Utility::CreateSchema { name: only_name(name)?, if_not_exists: *if_not_exists })
            }
            Statement::Drop { object_type, if_exists, names, cascade, restrict: _, purge, temporary, table } => {
                refuse_if(*purge || *temporary || table.is_some(), "options of DROP")?;
                match object_type {
                    ObjectType::Table => self.drop_table(names, *if_exists, *cascade),
                    ObjectType::Index => self.drop_index(names, *if_exists),
                    ObjectType::View => self.drop_view(names, *if_exists, *cascade),
                    ObjectType::Sequence => self.drop_sequence(names, *if_exists, *cascade),
                    ObjectType::Schema => match names.as_slice() {
                        [name] => {
                            Ok(Utility::DropSchema { name: only_name(name)?, cascade: *cascade, if_exists: *if_exists })
                        }
                        _ => Err(Error::refused("DROP SCHEMA of several schemas")),
                    },
                    other => Err(Error::refused(format!("DROP {other}"))),
                }
            }
            Statement::Comment { object_type: ast::CommentObject::Table, object_name, .. } => {
                let table = self.table_or(object_name, |name| format!("\"{name}\" is not a table"))?;
                Ok(Utility::Comment { table })
            }
            other => Err(Error::refused(words(other))),
        }
    }

    fn drop_index(&mut self, names: &[ast::ObjectName], if_exists: bool) -> Result<Utility, Error> {
        let (mut indexes, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let (schema, bare) = qualified(name)?;
            match self.catalog.lookup(schema.as_deref().unwrap_or("public"), &bare) {
                Some(Relation::Index(table)) => {
                    let def = self.catalog.table(table);
                    let place = def.indexes.iter().position(|index| index.name == bare).expect("it has a name");
                    if def.indexes[place].primary {
                        let table = &def.name;
                        let message =
                            format!("cannot drop index {bare} because constraint {bare} on table {table} requires it");
                        return Err(Error::new("2BP01", message));
                    }
                    let index = &def.indexes[place];
                    let plain = |key: &Expr| matches!(key, Expr::Column { .. });
                    refuse_if(
                        index.unique && index.predicate.is_none(),
                        "DROP INDEX of a unique index, which may be a constraint's",
                    )?;
                    let computed = def.indexes.iter().flat_map(|index| &index.keys).any(|key| !plain(key));
                    refuse_if(computed, "DROP INDEX of a table with an index on an expression")?;
                    refuse_if(
                        indexes.iter().any(|(other, _)| *other == table),
                        "DROP INDEX of two indexes of a table",
                    )?;
                    indexes.push((table, IndexId::try_from(place).expect("the number of indexes is limited")));
                }
                Some(_) => return Err(Error::new("42809", format!("\"{bare}\" is not an index"))),
                _ if self.catalog.is_poisoned(&bare) => return Err(Error::refused(format_args!("the index {bare}"))),
                None if if_exists => missing.push(bare),
                None => return Err(Error::new("42704", format!("index \"{bare}\" does not exist"))),
            }
        }
        Ok(Utility::DropIndex { indexes, missing })
    }

    fn drop_sequence(&mut self, names: &[ast::ObjectName], if_exists: bool, cascade: bool) -> Result<Utility, Error> {
        let (mut sequences, mut missing, mut bare_names) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let (schema, bare) = qualified(name)?;
            bare_names.push(bare.clone());
            match self.catalog.lookup(schema.as_deref().unwrap_or("public"), &bare) {
                None if self.catalog.is_poisoned(&bare) => {}
                Some(Relation::Sequence(id)) => {
                    refuse_if(self.catalog.owns(id), "DROP SEQUENCE of a column's sequence")?;
                    if self.catalog.defaults().any(|default| visit::counts_with(default, id)) {
                        refuse_if(
                            cascade || names.len() > 1,
                            "DROP SEQUENCE of a sequence that a default counts with",
                        )?;
                        let message = format!("cannot drop sequence {bare} because other objects depend on it");
                        return Err(Error::new("2BP01", message));
                    }
                    if !sequences.contains(&id) {
                        sequences.push(id);
                    }
                }
                Some(_) => return Err(Error::new("42809", format!("\"{bare}\" is not a sequence"))),
                None => missing.extend(self.missing("sequence", schema.as_deref(), &bare, if_exists)?),
            }
        }
        Ok(Utility::DropSequence { sequences, names: bare_names, missing })
    }

    fn lock_table(&mut self, lock: &ast::Lock) -> Result<Utility, Error> {
        let ast::Lock { tables, lock_mode, nowait } = lock;
        let mut ids = Vec::with_capacity(tables.len());
        for ast::LockTableTarget { name, only: _, has_asterisk: _ } in tables {
            ids.push(self.table_or(name, |name| format!("cannot lock relation \"{name}\""))?);
        }
        let mode = match lock_mode {
            None | Some(ast::LockTableMode::AccessExclusive) => TableLockMode::AccessExclusive,
            Some(ast::LockTableMode::AccessShare) => TableLockMode::AccessShare,
            Some(ast::LockTableMode::RowShare) => TableLockMode::RowShare,
            Some(ast::LockTableMode::RowExclusive) => TableLockMode::RowExclusive,
            Some(ast::LockTableMode::ShareUpdateExclusive) => TableLockMode::ShareUpdateExclusive,
            Some(ast::LockTableMode::Share) => TableLockMode::Share,
            Some(ast::LockTableMode::ShareRowExclusive) => TableLockMode::ShareRowExclusive,
            Some(ast::LockTableMode::Exclusive) => TableLockMode::Exclusive,
        };
        Ok(Utility::LockTable { tables: ids, mode, nowait: *nowait })
    }

    /// A table by name, or what is said of an index.
    fn table_or(&self, name: &ast::ObjectName, message: impl FnOnce(&str) -> String) -> Result<TableId, Error> {
        match self.relation(name)? {
            Relation::Index(_) => Err(Error::new("42809", message(&qualified(name)?.1))),
            _ => self.table(name),
        }
    }

    fn truncate(&mut self, truncate: &ast::Truncate) -> Result<Utility, Error> {
        let ast::Truncate { table_names, partitions, table: _, if_exists, identity, cascade, on_cluster } = truncate;
        refuse_if(partitions.is_some() || on_cluster.is_some() || *if_exists, "options of TRUNCATE")?;
        let mut tables = Vec::with_capacity(table_names.len());
        for ast::TruncateTableTarget { name, only: _, has_asterisk: _ } in table_names {
            let table = self.table_or(name, |name| format!("\"{name}\" is not a table"))?;
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        let named = tables.len();
        if matches!(cascade, Some(ast::CascadeOption::Cascade)) {
            self.add_referencing(&mut tables);
        }
        let restart_identity = matches!(identity, Some(ast::TruncateIdentityOption::Restart));
        Ok(Utility::Truncate { tables, named, restart_identity })
    }

    /// With each table those that refer to it, in rounds. Source: PostgreSQL, `heap_truncate_find_FKs`.
    fn add_referencing(&self, tables: &mut Vec<TableId>) {
        loop {
            let references = tables.iter().flat_map(|table| &self.catalog.table(*table).referenced_by);
            let mut more: Vec<TableId> = references.copied().filter(|other| !tables.contains(other)).collect();
            if more.is_empty() {
                return;
            }
            more.sort_unstable();
            more.dedup();
            tables.extend(more);
        }
    }

    /// The notice that what is to be dropped is not there, if that may be; else the error.
    fn missing(&self, kind: &str, schema: Option<&str>, bare: &str, may: bool) -> Result<Option<SmolStr>, Error> {
        let unknown_schema = schema.filter(|schema| !self.catalog.has_schema(schema));
        let (code, message) = match unknown_schema {
            Some(schema) => ("3F000", format!("schema \"{schema}\" does not exist")),
            None => ("42P01", format!("{kind} \"{bare}\" does not exist")),
        };
        if may { Ok(Some(format!("{message}, skipping").into())) } else { Err(Error::new(code, message)) }
    }

    fn drop_table(&mut self, names: &[ast::ObjectName], if_exists: bool, cascade: bool) -> Result<Utility, Error> {
        let mut tables: Vec<TableId> = Vec::new();
        let (mut bare_names, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let (schema, bare) = qualified(name)?;
            bare_names.push(bare.clone());
            match self.catalog.lookup(schema.as_deref().unwrap_or("public"), &bare) {
                None if self.catalog.is_poisoned(&bare) => {}
                Some(Relation::Table(id)) if !tables.contains(&id) => tables.push(id),
                Some(Relation::Table(_)) => {}
                Some(_) => return Err(Error::new("42809", format!("\"{bare}\" is not a table"))),
                None => missing.extend(self.missing("table", schema.as_deref(), &bare, if_exists)?),
            }
        }
        Ok(Utility::DropTable { tables, names: bare_names, missing, cascade })
    }
}

/// The first words of a statement: enough to name what it is.
fn words(statement: &Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn only_name(name: &ast::ObjectName) -> Result<SmolStr, Error> {
    match parts(name)?.as_slice() {
        [name] => Ok(name.clone()),
        _ => Err(Error::new("42601", "syntax error at or near \".\"")),
    }
}

fn transaction_modes(modes: &[TransactionMode]) -> Result<TransactionModes, Error> {
    let mut all = TransactionModes::default();
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(mode) => all.read_only = Some(*mode == TransactionAccessMode::ReadOnly),
            TransactionMode::IsolationLevel(level) => {
                all.isolation = Some(isolation(*level)?);
                let uncommitted = *level == TransactionIsolationLevel::ReadUncommitted;
                all.other_name = uncommitted.then_some("read uncommitted");
            }
        }
    }
    Ok(all)
}

fn isolation(level: TransactionIsolationLevel) -> Result<Isolation, Error> {
    match level {
        TransactionIsolationLevel::ReadUncommitted | TransactionIsolationLevel::ReadCommitted => {
            Ok(Isolation::ReadCommitted)
        }
        TransactionIsolationLevel::RepeatableRead => Ok(Isolation::RepeatableRead),
        TransactionIsolationLevel::Serializable => Ok(Isolation::Serializable),
        TransactionIsolationLevel::Snapshot => Err(Error::new("42601", "syntax error at or near \"SNAPSHOT\"")),
    }
}

/// A setting's name, which may be dotted.
fn setting(name: &ast::ObjectName) -> Result<SmolStr, Error> {
    Ok(loose_parts(name)?.iter().map(|part| &**part).collect::<Vec<_>>().join(".").into())
}

/// Settings that take a list. Source: PostgreSQL, guc.c, `GUC_LIST_INPUT`.
const LISTS: [&str; 8] = [
    "datestyle",
    "local_preload_libraries",
    "log_destination",
    "search_path",
    "session_preload_libraries",
    "synchronous_standby_names",
    "temp_tablespaces",
    "wal_consistency_checking",
];

fn set_statement(set: &ast::Set) -> Result<Utility, Error> {
    match set {
        ast::Set::SingleAssignment { scope, hivevar, variable, values } => {
            refuse_if(*hivevar, "HIVEVAR")?;
            let local = match scope {
                None | Some(ast::ContextModifier::Session) => false,
                Some(ast::ContextModifier::Local) => true,
                Some(ast::ContextModifier::Global) => return Err(Error::refused("SET GLOBAL")),
            };
            let values = values.iter().map(setting_value).collect::<Result<Vec<_>, Error>>()?;
            let name = setting(variable)?;
            if values.len() > 1 && !LISTS.contains(&name.as_str()) {
                return Err(Error::new("22023", format!("SET {name} takes only one argument")));
            }
            let default = matches!(values.as_slice(), [None]);
            let texts: Vec<SmolStr> = values.into_iter().flatten().collect();
            let value = (!default).then(|| texts.join(", ").into());
            Ok(Utility::Set { name, value, local })
        }
        ast::Set::SetTransaction { modes, snapshot, session } => {
            refuse_if(snapshot.is_some(), "SET TRANSACTION SNAPSHOT")?;
            refuse_if(*session, "SET SESSION CHARACTERISTICS")?;
            Ok(Utility::SetTransaction(transaction_modes(modes)?))
        }
        ast::Set::SetTimeZone { .. } => Err(Error::refused("SET TIME ZONE")),
        ast::Set::SetRole { .. } => Err(Error::refused("SET ROLE")),
        other => Err(Error::refused(format!("{other}"))),
    }
}

/// The value of a setting as text; none: DEFAULT.
fn setting_value(expr: &ast::Expr) -> Result<Option<SmolStr>, Error> {
    match expr {
        ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default") => {
            Ok(None)
        }
        ast::Expr::Identifier(name) => Ok(Some(ident(name))),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => Ok(Some(text.as_str().into())),
            ast::Value::Number(digits, _) => Ok(Some(digits.as_str().into())),
            ast::Value::Boolean(value) => Ok(Some(if *value { "true" } else { "false" }.into())),
            other => Err(Error::refused(format!("SET to {other}"))),
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            Ok(setting_value(expr)?.map(|value| format!("-{value}").into()))
        }
        other => Err(Error::refused(format!("SET to {other}"))),
    }
}
