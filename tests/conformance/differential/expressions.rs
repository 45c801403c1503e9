//! Expressions: values as text, names and types of columns, or SQLSTATE and message, are the server's.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::TestCaseError;
use skiptrace_sim::backend::testbed::TestBed;

use super::ask::{Answer, Model, Postgres};
use super::check;
use super::expression::{TABLE, query};

/// So many queries go in one flight.
const BATCH: usize = 50;
const CASES: u32 = 300;

#[derive(Default)]
struct Tally {
    rows: Cell<u32>,
    errors: Cell<u32>,
    refused: Cell<u32>,
}

impl Tally {
    fn add(&self, answer: &Answer) {
        let count = match answer {
            Answer::Rows { .. } => &self.rows,
            Answer::Error { .. } => &self.errors,
            Answer::Refused(_) => &self.refused,
        };
        count.set(count.get() + 1);
    }
}

#[test]
fn expressions_are_answered_as_a_server_answers_them() {
    let bed = TestBed::shared().unwrap_or_else(|error| panic!("{error}"));
    let database = bed.create_database("expressions").unwrap_or_else(|error| panic!("{error}"));
    let server = Postgres::open(&database.url(), &TABLE);
    let tally = Tally::default();
    let numbers = vec(vec(any::<u16>(), 60), BATCH);
    check(CASES, &numbers, |batch| {
        let mut model = Model::new(&TABLE);
        let queries: Vec<String> = batch.iter().map(|numbers| query(numbers)).collect();
        for (sql, expected) in queries.iter().zip(server.ask_all(&queries)) {
            let answer = model.ask(sql);
            tally.add(&answer);
            if !answer.agrees_with(&expected, sql) {
                let message = format!("{sql}\n  PostgreSQL: {expected}\n  the model:  {answer}");
                return Err(TestCaseError::fail(message));
            }
        }
        Ok(())
    });
    let (rows, errors, refused) = (tally.rows.get(), tally.errors.get(), tally.refused.get());
    println!("{rows} gave rows, {errors} an error, {refused} were refused by the model");
    let all = rows + errors + refused;
    assert!(refused * 5 < all, "{refused} of {all} expressions were refused: the others say too little");
    assert!(rows * 2 > all, "only {rows} of {all} expressions gave rows");
}
