//! Compiling: plans, errors with PostgreSQL's words, and garbage that must not panic.

mod errors;
mod garbage;
mod plans;

use super::compile;
use crate::catalog::Catalog;
use crate::error::Error;
use crate::parse::{parse, parse_one, split};
use crate::plan::{Body, Plan, Utility};

const SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0, s text, data jsonb, UNIQUE (s, n));
    CREATE TABLE u (a int, b int, at timestamptz DEFAULT now(), x xid8 DEFAULT pg_current_xact_id(), PRIMARY KEY (a, b));
    CREATE TABLE q (id bigserial PRIMARY KEY, k bigint GENERATED ALWAYS AS IDENTITY, state text CHECK (state IN ('a', 'b')));
    CREATE UNIQUE INDEX ON q (state) WHERE state = 'a';
    CREATE INDEX ON q ((lower(state)));
    CREATE SEQUENCE counter;
";

/// Executes DDL on a new catalog.
fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    for source in split(SCHEMA).expect("the tests' DDL is tokens") {
        let sql = source.text;
        let parsed = parse(source).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let plan = compile(&parsed, &catalog).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let Body::Utility(utility) = plan.body else { panic!("DDL: {sql}") };
        let done = match utility {
            Utility::CreateTable { table, sequences, if_not_exists } => {
                catalog.create_table(&table, &sequences, if_not_exists).map(|_| ())
            }
            Utility::CreateIndex { table, index, if_not_exists } => {
                catalog.create_index(table, &index, if_not_exists).map(|_| ())
            }
            Utility::CreateSequence { sequence, if_not_exists } => {
                catalog.create_sequence(&sequence, if_not_exists).map(|_| ())
            }
            other => panic!("DDL: {other:?}"),
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    catalog
}

/// Compiles one statement.
fn plan(sql: &str, catalog: &Catalog) -> Result<Plan, Error> {
    compile(&parse_one(sql)?, catalog)
}
