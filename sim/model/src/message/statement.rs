//! Executing a message's statements, those about statements among them.

use smol_str::SmolStr;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::piece::{Literal, Piece};
use super::{Returned, Touch};
use crate::catalog::TableId;
use crate::error::Error;
use crate::mvcc::Snapshot;
use crate::parse;
use crate::plan::{Body, Plan};
use crate::rows::Rows;
use crate::server::{CommandTag, Core, Outcome, Prepared, Server, SessionId};
use crate::session::NamedStatement;
use crate::types::text::{parse as read, quote_name, type_name};
use crate::types::{Type, Value};

/// What became of a statement: what was executed, and its outcome; none: it needs nothing executed.
type Went = Result<Option<(Prepared, Outcome)>, Error>;

impl Server {
    pub(super) fn execute_piece(&mut self, me: u16, piece: &Piece) -> Went {
        match piece {
            Piece::Plain(text, parsed) => {
                let prepared = self.prepare_parsed(text, parsed);
                self.execute_prepared(me, text, prepared)
            }
            Piece::Unreadable(text, error) => match self.poisoned(me, text, error) {
                Some(prepared) => Ok(Some(self.execute_poison(me, prepared))),
                None => Err(error.clone()),
            },
            Piece::Prepare { name, types, sql } => {
                self.prepare_named(me, name, types, sql).map(|()| self.note_done(me, "PREPARE"))
            }
            Piece::Execute { name, args } => self.execute_named(me, name, args),
            Piece::Deallocate(name) => self.deallocate(me, name.as_ref()).map(|()| self.note_done(me, "DEALLOCATE")),
            Piece::CreateAs { table, query } => self.create_as(me, table, query).map(|()| None),
        }
    }

    /// It is done, and returns nothing.
    fn note_done<T>(&mut self, me: u16, tag: &'static str) -> Option<T> {
        if let Some(message) = &mut self.core.session_mut(me).message {
            message.reply.results.push(Returned {
                tag: CommandTag::Other(tag),
                columns: Vec::new(),
                rows: Rows::default(),
            });
        }
        None
    }

    /// Prepares and executes one statement.
    pub(super) fn execute_text(&mut self, me: u16, text: &SmolStr) -> Went {
        let prepared = self.prepare(text);
        self.execute_prepared(me, text, prepared)
    }

    fn execute_prepared(&mut self, me: u16, text: &SmolStr, prepared: Result<Prepared, Error>) -> Went {
        let prepared = match prepared {
            Ok(prepared) => prepared,
            // It says so before it looks for the tables.
            Err(_) if self.core.session(me).transaction.is_none() && starts_with_lock(text) && self.is_alone(me) => {
                return Err(Error::new("25P01", "LOCK TABLE can only be used in transaction blocks"));
            }
            Err(error) => {
                let poisoned = if error.is_refusal() { self.poisoned(me, text, &error) } else { None };
                return match poisoned {
                    Some(prepared) => Ok(Some(self.execute_poison(me, prepared))),
                    None => Err(self.core.judged(me, text, error)),
                };
            }
        };
        let outcome = self.execute(SessionId(u32::from(me)), prepared, &[]);
        // Some things are refused when they are executed. Where that has undone more than the statement, it stays refused.
        let alone = self.is_alone(me);
        if let Outcome::Failed(error) = &outcome
            && error.is_refusal()
            && alone
            && let Some(prepared) = self.poisoned(me, text, error)
        {
            return Ok(Some(self.execute_poison(me, prepared)));
        }
        Ok(Some((prepared, outcome)))
    }

    /// Whether its message has but one statement.
    fn is_alone(&self, me: u16) -> bool {
        self.core.session(me).message.as_ref().is_some_and(|message| !message.is_of_several())
    }

    fn execute_poison(&mut self, me: u16, prepared: Prepared) -> (Prepared, Outcome) {
        (prepared, self.execute(SessionId(u32::from(me)), prepared, &[]))
    }

    /// A failed transaction takes none of these.
    fn refuse_in_failed(&self, me: u16) -> Result<(), Error> {
        let failed = self.core.session(me).transaction.as_ref().is_some_and(|open| open.failed);
        if failed { Err(Error::aborted()) } else { Ok(()) }
    }

    /// PREPARE and DEALLOCATE take a snapshot, though they read nothing. Source: PostgreSQL, `PlannedStmtRequiresSnapshot`.
    fn take_snapshot_for_nothing(&mut self, me: u16) {
        if self.core.session(me).transaction.is_some() {
            self.core.take_snapshot(me, &mut Snapshot::default());
            if self.core.transaction(me).isolation.keeps_snapshot() {
                self.core.touch = Touch::everything();
            }
        }
    }

    /// PREPARE: the statement is the session's, and outlives its transaction.
    fn prepare_named(&mut self, me: u16, name: &SmolStr, types: &[String], sql: &SmolStr) -> Result<(), Error> {
        self.refuse_in_failed(me)?;
        self.take_snapshot_for_nothing(me);
        let first = sql.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
        if !["select", "insert", "update", "delete", "values", "with"].contains(&&*first.to_ascii_lowercase()) {
            return Err(Error::refused("PREPARE of anything but a query"));
        }
        let prepared = self.prepare(sql).map_err(|error| match error.sqlstate {
            // What is declared and not used has a type.
            "42P18" if !types.is_empty() => Error::refused(format_args!("PREPARE with types of its own ({error})")),
            _ => error,
        })?;
        let inferred = self.params(prepared).to_vec();
        let same = |(ty, declared): (&Type, &String)| type_name(*ty) == *declared || short_name(*ty) == *declared;
        if types.len() > inferred.len() || !inferred.iter().zip(types).all(same) {
            return Err(Error::refused("PREPARE with other types than its parameters have by themselves"));
        }
        let columns = self.columns(prepared).map(|(name, ty)| (name.into(), ty)).collect();
        let known = &mut self.core.session_mut(me).prepared;
        if known.iter().any(|other| other.name == *name) {
            return Err(Error::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        known.push(NamedStatement { name: name.clone(), sql: sql.clone(), columns });
        Ok(())
    }

    fn execute_named(&mut self, me: u16, name: &SmolStr, args: &[Literal]) -> Went {
        self.refuse_in_failed(me)?;
        let known = self.core.session(me).prepared.iter().find(|other| other.name == *name);
        let missing = || Error::new("26000", format!("prepared statement \"{name}\" does not exist"));
        let sql = known.ok_or_else(missing)?.sql.clone();
        if let Some(message) = &mut self.core.session_mut(me).message {
            message.executes = Some(name.clone());
        }
        let prepared = self.prepare(&sql)?;
        self.check_result_type(me, prepared)?;
        let types = self.params(prepared).to_vec();
        if types.len() != args.len() {
            return Err(Error::new("42601", format!("wrong number of parameters for prepared statement \"{name}\"")));
        }
        let values = args.iter().zip(types).map(|(arg, ty)| match arg {
            Literal::Null => Ok(Value::Null),
            Literal::Text(text) => read(text, ty),
        });
        let values = values.collect::<Result<Vec<_>, Error>>()?;
        Ok(Some((prepared, self.execute(SessionId(u32::from(me)), prepared, &values))))
    }

    /// What EXECUTE returns is what PREPARE said, also where the table was altered while it waited for it.
    pub(crate) fn check_result_type(&self, me: u16, prepared: Prepared) -> Result<(), Error> {
        let session = self.core.session(me);
        let name = session.message.as_ref().and_then(|message| message.executes.as_ref());
        let Some(known) = session.prepared.iter().find(|known| Some(&known.name) == name) else { return Ok(()) };
        let same = |(now, before): ((&str, Type), &(SmolStr, Type))| now.0 == before.0 && now.1 == before.1;
        if self.columns(prepared).len() != known.columns.len() || !self.columns(prepared).zip(&known.columns).all(same)
        {
            return Err(Error::new("0A000", "cached plan must not change result type"));
        }
        Ok(())
    }

    fn deallocate(&mut self, me: u16, name: Option<&SmolStr>) -> Result<(), Error> {
        self.refuse_in_failed(me)?;
        self.take_snapshot_for_nothing(me);
        let known = &mut self.core.session_mut(me).prepared;
        let before = known.len();
        known.retain(|other| name.is_some_and(|name| *name != other.name));
        match name {
            Some(name) if known.len() == before => {
                Err(Error::new("26000", format!("prepared statement \"{name}\" does not exist")))
            }
            _ => Ok(()),
        }
    }

    /// CREATE TABLE .. AS is a CREATE TABLE and an INSERT.
    fn create_as(&mut self, me: u16, table: &SmolStr, query: &SmolStr) -> Result<(), Error> {
        self.refuse_in_failed(me)?;
        self.core.prevent_if_read_only(me, "CREATE TABLE AS")?;
        let plan = crate::compile::compile(&parse::parse_one(query)?, &self.core.catalog)?;
        if self.core.has_modifiers(&plan, &parse::tokens(query)?) {
            return Err(Error::refused("CREATE TABLE AS of columns like varchar(n) and numeric(p, s)"));
        }
        let columns = plan.columns;
        let columns: Vec<String> =
            columns.iter().map(|(name, ty)| format!("{} {}", quoted(name), type_name(*ty))).collect();
        let create = format!("CREATE TABLE {} ({})", quoted(table), columns.join(", "));
        let insert = format!("INSERT INTO {} {query}", quoted(table));
        if let Some(message) = &mut self.core.session_mut(me).message {
            message.ahead.extend([create.into(), insert.into()]);
        }
        Ok(())
    }
}

impl Core {
    /// Whether a column of a table that is read, or a cast, has a type with a modifier, which a result may keep.
    fn has_modifiers(&self, plan: &Plan, tokens: &[TokenWithSpan]) -> bool {
        let Body::Query(query) = &plan.body else { return false };
        let (reads, _) = crate::compile::visit::reads_and_writes(&query.nodes);
        let of_table = |table: &TableId| {
            self.catalog.table(*table).columns.iter().any(|def| def.modifier.is_some() || def.varchar)
        };
        let is_type =
            |word: &str| matches!(word, "varchar" | "varying" | "numeric" | "decimal" | "dec" | "char" | "character");
        let in_text = tokens.windows(2).any(|pair| {
            pair[1].token == Token::LParen
                && matches!(&pair[0].token, Token::Word(word) if is_type(&word.value.to_ascii_lowercase()))
        });
        let in_words = tokens.iter().any(|token| {
            matches!(&token.token, Token::Word(word) if matches!(&*word.value.to_ascii_lowercase(), "varchar" | "varying"))
        });
        in_text || in_words || reads.iter().any(of_table)
    }
}

fn starts_with_lock(text: &str) -> bool {
    text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("lock"))
}

/// In quotes where it is not plain, and where it might be a reserved word.
fn quoted(name: &str) -> String {
    let plain = quote_name(name);
    if plain.starts_with('"') { plain } else { format!("\"{plain}\"") }
}

/// What most people call it.
fn short_name(ty: Type) -> &'static str {
    use crate::types::Scalar;
    match ty {
        Type::Scalar(Scalar::Int2) => "int2",
        Type::Scalar(Scalar::Int4) => "int",
        Type::Scalar(Scalar::Int8) => "int8",
        Type::Scalar(Scalar::Bool) => "bool",
        _ => "",
    }
}
