//! What a statement compiles to, as text.

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
    check(
        "SELECT n FROM t WHERE id = $1 AND n > 5",
        &expect![[r#"
        params: integer
        lock t AccessShare
        Project -> s1: s0.1
          IndexScan t -> s0 by t_pkey ($1) where s0.1 > 5
    "#]],
    );
    check(
        "SELECT 1 FROM u WHERE b = 2 AND 1 = a",
        &expect![[r#"
        lock u AccessShare
        Project -> s1: 1
          IndexScan u -> s0 by u_pkey (1, 2)
    "#]],
    );
    check(
        "SELECT 1 FROM u WHERE b = 2",
        &expect![[r#"
        lock u AccessShare
        Project -> s1: 1
          SeqScan u -> s0 where s0.1 = 2
    "#]],
    );
}

#[test]
fn a_partial_index_serves_where_its_condition_is_asked_for() {
    check(
        "SELECT id FROM q WHERE state = 'a'",
        &expect![[r#"
        lock q AccessShare
        Project -> s1: s0.0
          IndexScan q -> s0 by q_state_idx ('a')
    "#]],
    );
    check(
        "SELECT id FROM q WHERE state = 'b'",
        &expect![[r#"
        lock q AccessShare
        Project -> s1: s0.0
          SeqScan q -> s0 where s0.2 = 'b'
    "#]],
    );
    check(
        "SELECT id FROM q WHERE lower(state) = 'b'",
        &expect![[r#"
        lock q AccessShare
        Project -> s1: s0.0
          IndexScan q -> s0 by q_lower_idx ('b')
    "#]],
    );
}

#[test]
fn a_type_of_its_own_is_not_the_index() {
    // A numeric on the other side turns the column into an expression, which no index has.
    check(
        "SELECT 1 FROM t WHERE id = 1.5",
        &expect![[r#"
        lock t AccessShare
        Project -> s1: 1
          SeqScan t -> s0 where IntToNumeric(s0.0) = 1.5
    "#]],
    );
}

#[test]
fn conditions_are_tested_where_their_last_slot_is_bound() {
    check(
        "SELECT t.id FROM t, u WHERE u.a = t.id AND u.b = 1 AND t.s = 'x' AND t.n + u.b > 3",
        &expect![[r#"
        lock t AccessShare
        lock u AccessShare
        Project -> s2: s0.0
          NestLoop Inner
            IndexScan t -> s0 by t_s_n_key ('x')
            IndexScan u -> s1 by u_pkey (s0.0, 1) where Add(Int8)(s0.1, s1.1) > 3
    "#]],
    );
    check(
        "SELECT t.id FROM t LEFT JOIN u ON u.a = t.id AND t.n = 1 WHERE u.b IS NULL AND t.s = 'x'",
        &expect![[r#"
        lock t AccessShare
        lock u AccessShare
        Project -> s2: s0.0
          Filter s1.1 is null
            NestLoop Left
              IndexScan t -> s0 by t_s_n_key ('x')
              IndexScan u -> s1 by u_pkey (s0.0) where s0.1 = 1
    "#]],
    );
}

#[test]
fn a_list_of_values_drives_an_index() {
    check(
        "UPDATE t SET n = v.n FROM unnest($1::int[], $2::bigint[]) AS v (id, n) WHERE t.id = v.id",
        &expect![[r#"
        params: integer[], bigint[]
        lock t RowExclusive
        Update t s0 set n = s1.1 recheck s0.0 = s1.0
          NestLoop Inner
            FunctionScan Unnest($1, $2) -> s1
            IndexScan t -> s0 by t_pkey (s1.0)
    "#]],
    );
}

#[test]
fn subqueries_read_the_outer_slots() {
    check(
        "SELECT s, EXISTS (SELECT 1 FROM u WHERE u.a = t.id) FROM t WHERE n IN (SELECT b FROM u)",
        &expect![[r#"
            lock t AccessShare
            lock u AccessShare
            Project -> s5: s0.2, exists n0
              subquery n0
                IndexScan u -> s1 by u_pkey (s0.0)
              SeqScan t -> s0 where s0.1 = any n2
                subquery n2
                  SeqScan u -> s3
        "#]],
    );
}

#[test]
fn what_stands_above_a_group_reads_the_group() {
    check(
        "SELECT s || '!', count(*), sum(n) FILTER (WHERE n > 0) FROM t GROUP BY s HAVING count(*) > 1 ORDER BY 2 DESC",
        &expect![[r#"
            lock t AccessShare
            Project -> s2: Concat(s1.0, '!'), s1.1, s1.2
              Sort s1.1 desc
                Filter s1.1 > 1
                  Aggregate -> s1: by s0.2 Count(), Sum(IntToNumeric(s0.1)) filter s0.1 > 0
                    SeqScan t -> s0
        "#]],
    );
    check(
        "SELECT t.*, max(u.b) FROM t JOIN u ON u.a = t.id GROUP BY t.id",
        &expect![[r#"
        lock t AccessShare
        lock u AccessShare
        Project -> s3: s2.0, s2.1, s2.2, s2.3, s2.4
          Aggregate -> s2: by s0.0, s0.1, s0.2, s0.3 Max(s1.1)
            NestLoop Inner
              SeqScan t -> s0
              IndexScan u -> s1 by u_pkey (s0.0)
    "#]],
    );
}

#[test]
fn rows_are_locked_between_sort_and_limit() {
    check(
        "SELECT id FROM t JOIN u ON u.a = t.id WHERE n = 1 ORDER BY s LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED",
        &expect![[r#"
            lock t RowShare
            lock u AccessShare
            Project -> s2: s0.0
              Limit limit 1
                LockRows s0 NoKeyUpdate SkipLocked recheck s0.1 = 1, s1.0 = s0.0
                  Sort s0.2
                    NestLoop Inner
                      SeqScan t -> s0 where s0.1 = 1
                      IndexScan u -> s1 by u_pkey (s0.0)
        "#]],
    );
}

#[test]
fn defaults_are_part_of_the_plan() {
    check(
        "INSERT INTO u (a, b) VALUES (1, $1), (DEFAULT, 2) RETURNING *",
        &expect![[r#"
        params: integer
        lock u RowExclusive
        Insert u from s0 returning s1 -> s2: s1.0, s1.1, s1.2, s1.3
          Values -> s0: (1, $1, Now(), CurrentXactId()), (null, 2, Now(), CurrentXactId())
    "#]],
    );
    check(
        "INSERT INTO q DEFAULT VALUES",
        &expect![[r#"
        lock q RowExclusive
        Insert q from s0
          Values -> s0: (nextval(q_id_seq), nextval(q_k_seq), null)
    "#]],
    );
    check(
        "INSERT INTO t (id, s) SELECT a, $1 FROM u ORDER BY a",
        &expect![[r#"
            params: text
            lock t RowExclusive
            lock u AccessShare
            Insert t from s0
              Project -> s0: s1.0, 0, $1, null
                Sort s1.0
                  SeqScan u -> s1
        "#]],
    );
}

#[test]
fn on_conflict_names_its_index() {
    check(
        "INSERT INTO t AS x (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = x.n + excluded.n WHERE x.n < 9 RETURNING n",
        &expect![[r#"
            lock t RowExclusive
            Insert t from s0 on conflict t_pkey update s1 set n = Add(Int8)(s1.1, excluded.1) where s1.1 < 9 returning s1 -> s2: s1.1
              Values -> s0: (1, 2, null, null)
        "#]],
    );
    check(
        "INSERT INTO q (state) VALUES ('a') ON CONFLICT (state) WHERE state = 'a' DO NOTHING",
        &expect![[r#"
        lock q RowExclusive
        Insert q from s0 on conflict q_state_idx nothing
          Values -> s0: (nextval(q_id_seq), nextval(q_k_seq), 'a')
    "#]],
    );
}

#[test]
fn with_queries_are_computed_once() {
    check(
        "WITH gone AS (DELETE FROM u WHERE a = 1 RETURNING a, b), kept AS MATERIALIZED (SELECT count(*) AS c FROM gone)
         INSERT INTO t (id, n) SELECT g.a, k.c FROM gone g, kept k",
        &expect![[r#"
            lock u RowExclusive
            lock t RowExclusive
            with c0, modifies
              Delete u s0 recheck s0.0 = 1 returning s0 -> s1: 
                IndexScan u -> s0 by u_pkey (1)
            with c1
              Aggregate -> s3: Count()
                CteScan c0 -> s11
            Insert t from s5
              Project -> s5: s12.0, s13.0, null, null
                NestLoop Inner
                  CteScan c0 -> s12
                  CteScan c1 -> s13
        "#]],
    );
}

#[test]
fn what_is_volatile_is_evaluated_once() {
    check(
        "SELECT nextval('counter') AS v FROM t ORDER BY v",
        &expect![[r#"
        lock t AccessShare
        Sort s1.0
          Project -> s1: NextValByName(16389)
            SeqScan t -> s0
    "#]],
    );
    check(
        "SELECT DISTINCT s FROM t ORDER BY s LIMIT 2",
        &expect![[r#"
        lock t AccessShare
        Limit limit 2
          Sort s1.0
            Distinct s1
              Project -> s1: s0.2
                SeqScan t -> s0
    "#]],
    );
}

#[test]
fn rows_that_are_numbered_are_not_sorted_by_their_number() {
    let rows = "SELECT e.x FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS e (x, n)";
    check(
        &format!("{rows} ORDER BY e.n"),
        &expect![[r#"
        Project -> s1: s0.0
          FunctionScan Unnest(['a', 'b']) with ordinality -> s0
    "#]],
    );
    check(
        &format!("{rows} ORDER BY e.n DESC"),
        &expect![[r#"
        Project -> s1: s0.0
          Sort s0.1 desc
            FunctionScan Unnest(['a', 'b']) with ordinality -> s0
    "#]],
    );
    check(
        &format!("{rows} ORDER BY e.x"),
        &expect![[r#"
        Project -> s1: s0.0
          Sort s0.0
            FunctionScan Unnest(['a', 'b']) with ordinality -> s0
    "#]],
    );
}

#[test]
fn a_with_query_that_a_subquery_reads_keeps_rows() {
    check(
        "WITH l AS MATERIALIZED (SELECT id, n FROM t) SELECT l.n FROM l WHERE l.id = ANY (ARRAY(SELECT o.id FROM l o))",
        &expect![[r#"
            lock t AccessShare
            with c0
              SeqScan t -> s0
            Project -> s5: s7.1
              CteScan c0 -> s7 where s7.0 = any(array n2)
                subquery n2
                  CteScan c0 -> s6
        "#]],
    );
}
