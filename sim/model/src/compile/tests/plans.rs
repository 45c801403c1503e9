use expect_test::{Expect, expect};

use super::{catalog, plan};
use crate::explain::explain;

#[track_caller]
fn check(sql: &str, want: &Expect) {
    let catalog = catalog();
    let plan = plan(sql, &catalog).unwrap_or_else(|error| panic!("{sql}: {error}"));
    want.assert_eq(&explain(&plan, &catalog));
}

#[test]
fn a_key_is_looked_up_by_its_index() {
    check("SELECT n FROM t WHERE id = $1 AND n > 5", &expect![[]]);
    check("SELECT 1 FROM u WHERE b = 2 AND 1 = a", &expect![[]]);
    check("SELECT 1 FROM u WHERE b = 2", &expect![[]]);
}

#[test]
fn a_partial_index_serves_where_its_condition_is_asked_for() {
    check("SELECT id FROM q WHERE state = 'a'", &expect![[]]);
    check("SELECT id FROM q WHERE state = 'b'", &expect![[]]);
    check("SELECT id FROM q WHERE lower(state) = 'b'", &expect![[]]);
}

#[test]
fn a_type_of_its_own_is_not_the_index() {
    // A numeric on the other side turns the column into an expression, which no index has.
    check("SELECT 1 FROM t WHERE id = 1.5", &expect![[]]);
}

#[test]
fn conditions_are_tested_where_their_last_slot_is_bound() {
    check("SELECT t.id FROM t, u WHERE u.a = t.id AND u.b = 1 AND t.s = 'x' AND t.n + u.b > 3", &expect![[]]);
    check("SELECT t.id FROM t LEFT JOIN u ON u.a = t.id AND t.n = 1 WHERE u.b IS NULL AND t.s = 'x'", &expect![[]]);
}

#[test]
fn a_list_of_values_drives_an_index() {
    check("UPDATE t SET n = v.n FROM unnest($1::int[], $2::bigint[]) AS v (id, n) WHERE t.id = v.id", &expect![[]]);
}

#[test]
fn subqueries_read_the_outer_slots() {
    check("SELECT s, EXISTS (SELECT 1 FROM u WHERE u.a = t.id) FROM t WHERE n IN (SELECT b FROM u)", &expect![[]]);
}

#[test]
fn what_stands_above_a_group_reads_the_group() {
    check(
        "SELECT s || '!', count(*), sum(n) FILTER (WHERE n > 0) FROM t GROUP BY s HAVING count(*) > 1 ORDER BY 2 DESC",
        &expect![[]],
    );
    check("SELECT t.*, max(u.b) FROM t JOIN u ON u.a = t.id GROUP BY t.id", &expect![[]]);
}

#[test]
fn rows_are_locked_between_sort_and_limit() {
    check(
        "SELECT id FROM t JOIN u ON u.a = t.id WHERE n = 1 ORDER BY s LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED",
        &expect![[]],
    );
}

#[test]
fn defaults_are_part_of_the_plan() {
    check("INSERT INTO u (a, b) VALUES (1, $1), (DEFAULT, 2) RETURNING *", &expect![[]]);
    check("INSERT INTO q DEFAULT VALUES", &expect![[]]);
    check("INSERT INTO t (id, s) SELECT a, $1 FROM u ORDER BY a", &expect![[]]);
}

#[test]
fn on_conflict_names_its_index() {
    check(
        "INSERT INTO t AS x (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = x.n + excluded.n WHERE x.n < 9 RETURNING n",
        &expect![[]],
    );
    check("INSERT INTO q (state) VALUES ('a') ON CONFLICT (state) WHERE state = 'a' DO NOTHING", &expect![[]]);
}

#[test]
fn with_queries_are_computed_once() {
    check(
        "WITH gone AS (DELETE FROM u WHERE a = 1 RETURNING a, b), kept AS MATERIALIZED (SELECT count(*) AS c FROM gone)
         INSERT INTO t (id, n) SELECT g.a, k.c FROM gone g, kept k",
        &expect![[]],
    );
}

#[test]
fn what_is_volatile_is_evaluated_once() {
    check("SELECT nextval('counter') AS v FROM t ORDER BY v", &expect![[]]);
    check("SELECT DISTINCT s FROM t ORDER BY s LIMIT 2", &expect![[]]);
}
