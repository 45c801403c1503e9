//! Parsing: row locks that sqlparser does not know, limits, and errors.

use super::*;
use crate::plan::RowLockStrength;

#[track_caller]
fn check_error(sql: &str, want: &str) {
    assert_eq!(parse_one(sql).expect_err(sql).to_string(), want, "{sql}");
}

#[test]
fn several_statements() {
    let texts = |sql| split(sql).expect("is tokens").into_iter().map(|source| source.text).collect::<Vec<_>>();
    assert_eq!(texts(" SELECT 1; /* ; */ SELECT\n ';' ;"), ["SELECT 1", "/* ; */ SELECT\n ';'"]);
    assert_eq!(texts(" ; -- nothing"), Vec::<&str>::new());
}

#[test]
fn errors_are_told_as_postgresql_tells_them() {
    check_error("SELECT 1 FORM t x", "syntax error at or near \"t\" (42601)");
    check_error("SELECT (1", "syntax error at end of input (42601)");
    check_error("SELECT 'abc", "unterminated quoted string at or near \"'abc\" (42601)");
    check_error("SELECT \"abc", "unterminated quoted identifier at or near \"\"abc\" (42601)");
    check_error("SELECT * FROM t FOR UPDATE OF s.t", "FOR UPDATE must specify unqualified relation names (42601)");
    check_error("SELECT * FROM t FOR UPDATE OF", "syntax error at end of input (42601)");
}

#[test]
fn each_strength_of_a_row_lock_is_read() {
    for (words, strength) in [
        ("FOR UPDATE", RowLockStrength::Update),
        ("FOR NO KEY UPDATE", RowLockStrength::NoKeyUpdate),
        ("FOR SHARE", RowLockStrength::Share),
        ("FOR KEY SHARE", RowLockStrength::KeyShare),
    ] {
        let sql = format!("SELECT * FROM a, b {words} OF a, b SKIP LOCKED {words} NOWAIT");
        let Ok(Parsed::Tree(statement)) = parse_one(&sql) else { panic!("parses: {sql}") };
        let Statement::Query(query) = &*statement else { panic!("a query: {sql}") };
        let locks: Vec<_> = query.locks.iter().map(|lock| marker(lock.of.as_ref().expect("marked"))).collect();
        let tables: Vec<_> = locks.iter().flatten().map(|(_, found, tables)| (*found, tables.len())).collect();
        assert_eq!(tables, [(strength, 2), (strength, 0)], "{sql}");
    }
}

#[test]
fn what_would_overflow_the_stack_is_refused() {
    let deep = format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100));
    let run =
        "the model does not support SQL that nests deeper than 16 parentheses, or 1000 words without a comma (54000)";
    check_error(&deep, run);
    check_error(&format!("SELECT {}1", "1+".repeat(100_000)), run);
    let levels = "the model does not support SQL that nests deeper than 50 levels (54000)";
    check_error(&format!("SELECT {}1", "- ".repeat(400)), levels);
    let length = "the model does not support SQL of more than 1048576 bytes: these are 1048577 (54000)";
    check_error(&"x".repeat(TEXT_MAX + 1), length);
}
