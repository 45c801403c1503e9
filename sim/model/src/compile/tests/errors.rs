//! Each message was seen on PostgreSQL 15.

use super::{catalog, plan};

#[track_caller]
fn check(sql: &str, want: &str) {
    let error = plan(sql, &catalog()).expect_err(sql);
    assert_eq!(error.to_string(), want, "{sql}");
}

#[test]
fn names() {
    check("SELECT * FROM nosuch", "relation \"nosuch\" does not exist (42P01)");
    check("SELECT * FROM x.nosuch", "relation \"x.nosuch\" does not exist (42P01)");
    check("SELECT nosuch FROM t", "column \"nosuch\" does not exist (42703)");
    check("SELECT t.nosuch FROM t", "column t.nosuch does not exist (42703)");
    check("SELECT x.id FROM t", "missing FROM-clause entry for table \"x\" (42P01)");
    check("SELECT id FROM t, q", "column reference \"id\" is ambiguous (42702)");
    check("SELECT 1 FROM t, t", "table name \"t\" specified more than once (42712)");
    check("SELECT 1 FROM t, u JOIN q ON q.id = t.id", "invalid reference to FROM-clause entry for table \"t\" (42P01)");
    check("INSERT INTO t (nosuch) VALUES (1)", "column \"nosuch\" of relation \"t\" does not exist (42703)");
    check("INSERT INTO t (id, id) VALUES (1, 2)", "column \"id\" specified more than once (42701)");
    check("UPDATE t SET n = 1, n = 2", "multiple assignments to same column \"n\" (42601)");
    check("SELECT 1 FROM t FOR UPDATE OF x", "relation \"x\" in FOR UPDATE clause not found in FROM clause (42P01)");
    check("DROP TABLE nosuch", "table \"nosuch\" does not exist (42P01)");
    check("SELECT 'nosuch'::regclass", "relation \"nosuch\" does not exist (42P01)");
}

#[test]
fn types() {
    check("SELECT 1 + s FROM t", "operator does not exist: integer + text (42883)");
    check("SELECT 1 FROM t WHERE s = 1", "operator does not exist: text = integer (42883)");
    check("SELECT 1 FROM t WHERE n", "argument of WHERE must be type boolean, not type bigint (42804)");
    check("UPDATE t SET n = s", "column \"n\" is of type bigint but expression is of type text (42804)");
    check("INSERT INTO t (id) VALUES ('x')", "invalid input syntax for type integer: \"x\" (22P02)");
    check("SELECT x::int FROM u", "cannot cast type xid8 to integer (42846)");
    check("SELECT CASE WHEN true THEN 1 ELSE s END FROM t", "CASE types text and integer cannot be matched (42804)");
    check("SELECT $1 IS NULL", "could not determine data type of parameter $1 (42P18)");
}

#[test]
fn clauses() {
    check(
        "SELECT s FROM t GROUP BY n",
        "column \"t.s\" must appear in the GROUP BY clause or be used in an aggregate function (42803)",
    );
    check("SELECT 1 FROM t WHERE count(*) > 1", "aggregate functions are not allowed in WHERE (42803)");
    check("SELECT count(*) FROM t FOR UPDATE", "FOR UPDATE is not allowed with aggregate functions (0A000)");
    check("SELECT DISTINCT s FROM t FOR SHARE", "FOR SHARE is not allowed with DISTINCT clause (0A000)");
    check("INSERT INTO t (id) VALUES (1, 2)", "INSERT has more expressions than target columns (42601)");
    check("INSERT INTO t (id, n) VALUES (1)", "INSERT has more target columns than expressions (42601)");
    check("INSERT INTO q (k) VALUES (1)", "cannot insert a non-DEFAULT value into column \"k\" (428C9)");
    check("UPDATE q SET k = 1", "column \"k\" can only be updated to DEFAULT (428C9)");
    check(
        "INSERT INTO t (id) VALUES (1) ON CONFLICT (n) DO NOTHING",
        "there is no unique or exclusion constraint matching the ON CONFLICT specification (42P10)",
    );
    check(
        "INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET n = 1",
        "ON CONFLICT DO UPDATE requires inference specification or constraint name (42601)",
    );
    check("SELECT s FROM t ORDER BY 2", "ORDER BY position 2 is not in select list (42P10)");
    check("SELECT (SELECT id, n FROM t)", "subquery must return only one column (42601)");
}

#[test]
fn what_is_not_modelled_is_named() {
    for (sql, construct) in [
        ("SELECT ctid FROM t", "the system column ctid"),
        ("SELECT t FROM t", "the whole-row reference t"),
        ("SELECT md5(s) FROM t", "the function md5(text)"),
        ("SELECT lag(n) OVER () FROM t", "the window function lag"),
        ("SELECT * FROM pg_locks", "* of a system view"),
        ("SELECT 1 FROM pg_class", "the system table pg_class"),
        ("CREATE TABLE x (a float)", "the type float"),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", "MERGE INTO"),
        ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "WITH RECURSIVE"),
        ("ALTER TABLE t DROP COLUMN s", "ALTER TABLE .. DROP COLUMN"),
    ] {
        check(sql, &format!("the model does not support {construct} (0A000)"));
    }
}
