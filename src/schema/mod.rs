//! The schema: its name, its migrations, and the server that it lives on.
//!
//! A migration is a file `NNNN_name.sql`, plain statements, each ending with the line that ends in a semicolon. What was
//! applied once is never edited. `{schema}` is the user's schema, quoted.

mod name;
mod sql;

use std::error::Error as StdError;
use std::fmt;

use smol_str::SmolStr;

pub use name::SchemaName;
pub(crate) use name::quote;

use crate::error::DbError;
use crate::session::{Call, Session, Statement};
use crate::statements::{render_sql, statements};
use crate::transaction::{CommitError, Control, Transaction, call};

/// Number, name and text of each migration, in order.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "event_store", include_str!("0001_event_store.sql"))];

statements! {
    /// The statements of setting up.
    SchemaSql {
        lock = sql::LOCK,
        create_schema = sql::CREATE_SCHEMA,
        create_migrations = sql::CREATE_MIGRATIONS,
        read_migrations = sql::READ_MIGRATIONS,
        record_migration = sql::RECORD_MIGRATION,
        in_recovery = sql::IN_RECOVERY,
        sequence_cache = sql::SEQUENCE_CACHE,
    }
}

/// All statements that make the schema from nothing, in order.
pub(crate) fn creation(schema: &SchemaName, sql: &SchemaSql) -> Vec<String> {
    let mut all = vec![sql.create_schema.sql().to_owned(), sql.create_migrations.sql().to_owned()];
    all.extend(MIGRATIONS.iter().flat_map(|(_, _, text)| split(&render_sql(schema, text))));
    all
}

/// Brings the schema up to date; refuses one that a later version has made. Safe when two processes do it at once: they take turns.
pub(crate) async fn migrate<S: Session>(
    session: &mut S,
    control: &Control,
    schema: &SchemaName,
    sql: &SchemaSql,
) -> Result<(), SetupError> {
    refuse_standby(session, sql).await?;
    let (mut transaction, _) = Transaction::begin(session, control, [call(&sql.lock)]).await?;
    transaction.send(vec![call(&sql.create_schema)]).await?;
    transaction.send(vec![call(&sql.create_migrations)]).await?;
    let answers = transaction.send(vec![call(&sql.read_migrations)]).await?;
    let applied: Vec<i64> = answers[0].rows.iter().map(|row| row.int(0)).collect();
    let known = MIGRATIONS.last().map_or(0, |(number, ..)| *number);
    if let Some(&found) = applied.last().filter(|last| **last > known) {
        transaction.rollback().await?;
        return Err(SetupError::Newer { found, known });
    }
    for (number, name, text) in MIGRATIONS.iter().filter(|(number, ..)| !applied.contains(number)) {
        for statement in split(&render_sql(schema, text)) {
            transaction.send(vec![call(&Statement::new("schema.migrate", &statement))]).await?;
        }
        transaction.send(vec![Call::new(&sql.record_migration, [(*number).into(), (*name).into()])]).await?;
    }
    transaction.commit(Vec::new()).await.map_err(CommitError::into_db_error)?;
    Ok(())
}

/// Refuses servers on which the protocol does not hold.
pub(crate) async fn check_server<S: Session>(session: &mut S, sql: &SchemaSql) -> Result<(), SetupError> {
    refuse_standby(session, sql).await?;
    let answer = session.execute(&sql.sequence_cache, &[]).await?;
    match answer.rows.first() {
        None => Ok(()),
        Some(row) => Err(SetupError::SequenceCache { sequence: row.text(0).clone(), cache: row.int(1) }),
    }
}

async fn refuse_standby<S: Session>(session: &mut S, sql: &SchemaSql) -> Result<(), SetupError> {
    let answer = session.execute(&sql.in_recovery, &[]).await?;
    if answer.rows.row(0).bool(0) { Err(SetupError::Standby) } else { Ok(()) }
}

/// The statements of a migration, without its comments.
fn split(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("--") && !line.trim().is_empty()) {
        if !current.is_empty() {
            current.push('\n');
        }
        match line.trim_end().strip_suffix(';') {
            None => current.push_str(line),
            Some(last) => {
                current.push_str(last);
                all.push(std::mem::take(&mut current));
            }
        }
    }
    assert!(current.is_empty(), "a migration ends with a semicolon, this one with {current:?}");
    all
}

/// The database cannot be used, or could not be set up.
#[derive(Clone, Debug, PartialEq)]
pub enum SetupError {
    /// The server is a standby: it takes no writes, and its snapshots do not list the running transactions.
    Standby,
    /// A sequence hands out its numbers to sessions in advance, so that positions would not rise within a stream.
    SequenceCache {
        /// Its name.
        sequence: SmolStr,
        /// Its CACHE.
        cache: i64,
    },
    /// The schema was migrated by a later version of this library, whose rules this one does not know.
    Newer {
        /// Its last migration.
        found: i64,
        /// The last one that this version has.
        known: i64,
    },
    /// What PostgreSQL answered.
    Db(DbError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standby => f.write_str("the server is a standby (pg_is_in_recovery): connect to the primary"),
            Self::SequenceCache { sequence, cache } => write!(
                f,
                "the sequence {sequence:?} has CACHE {cache}, expected 1: positions would not rise within a stream; \
                 run ALTER SEQUENCE .. CACHE 1"
            ),
            Self::Newer { found, known } => write!(
                f,
                "the schema has migration {found}, expected {known} or less: it belongs to a later version of skiptrace; use that one"
            ),
            Self::Db(error) => error.fmt(f),
        }
    }
}

impl StdError for SetupError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Db(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DbError> for SetupError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_split_at_the_lines_that_end_it() {
        let text = "-- why; not\nCREATE TABLE a (\n    b text DEFAULT ';x'\n);\n\nCREATE TABLE c ();\n";
        assert_eq!(split(text), ["CREATE TABLE a (\n    b text DEFAULT ';x'\n)", "CREATE TABLE c ()"]);
    }

    #[test]
    fn migrations_are_numbered_from_one() {
        let numbers: Vec<i64> = MIGRATIONS.iter().map(|(number, ..)| *number).collect();
        let expected: Vec<i64> = (1..).take(MIGRATIONS.len()).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_schema_of_any_name_is_rendered_safely() {
        let schema = SchemaName::new(r#"it's "mine""#).expect("a name");
        let sql = render_sql(&schema, "SELECT '{schema_in_literal}.streams'::regclass FROM {schema}.streams");
        assert_eq!(sql, r#"SELECT '"it''s ""mine""".streams'::regclass FROM "it's ""mine""".streams"#);
    }
}
