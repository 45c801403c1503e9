//! Unique indexes and ON CONFLICT.

use expect_test::expect;

use crate::check;

#[test]
fn twin_is_waited_for() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: INSERT INTO t VALUES (4, 4)
        b: INSERT INTO t VALUES (4, 40)
        c: INSERT INTO t VALUES (4, 41) ON CONFLICT DO NOTHING
        d: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: INSERT INTO t VALUES (4, 4)
              Insert 1
            b: INSERT INTO t VALUES (4, 40)
              waits
            c: INSERT INTO t VALUES (4, 41) ON CONFLICT DO NOTHING
              waits
            d: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
              waits
            a: COMMIT
              Commit 0
                b: duplicate key value violates unique constraint "t_pkey" (23505)
                c: Insert 0
                d: Insert 1
            a: SELECT * FROM t ORDER BY id
              1|1; 2|2; 3|3; 4|9
        "#]],
    );
}

#[test]
fn after_a_rollback_the_first_waiter_inserts() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: INSERT INTO t VALUES (4, 4)
        b: INSERT INTO t VALUES (4, 40)
        c: INSERT INTO t VALUES (4, 400)
        d: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
        a: ROLLBACK
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: INSERT INTO t VALUES (4, 4)
              Insert 1
            b: INSERT INTO t VALUES (4, 40)
              waits
            c: INSERT INTO t VALUES (4, 400)
              waits
            d: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n
              waits
            a: ROLLBACK
              Rollback 0
                b: Insert 1
                c: duplicate key value violates unique constraint "t_pkey" (23505)
                d: Insert 1
            a: SELECT * FROM t ORDER BY id
              1|1; 2|2; 3|3; 4|45
        "#]],
    );
}

#[test]
fn deleter_is_waited_for_too() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: DELETE FROM t WHERE id = 1
        b: INSERT INTO t VALUES (1, 40)
        a: COMMIT
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: DELETE FROM t WHERE id = 1
              Delete 1
            b: INSERT INTO t VALUES (1, 40)
              waits
            a: COMMIT
              Commit 0
                b: Insert 1
            a: SELECT * FROM t ORDER BY id
              1|40; 2|2; 3|3
        "#]],
    );
}

#[test]
fn conflict_that_waits_has_no_id() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: INSERT INTO t VALUES (4, 4)
        b: BEGIN
        b: INSERT INTO t VALUES (4, 40) ON CONFLICT DO NOTHING
        a: COMMIT
        b: SELECT pg_current_xact_id_if_assigned()
        b: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = 7 WHERE t.n = 1
        b: SELECT pg_current_xact_id_if_assigned()
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: INSERT INTO t VALUES (4, 4)
              Insert 1
            b: BEGIN
              Begin 0
            b: INSERT INTO t VALUES (4, 40) ON CONFLICT DO NOTHING
              waits
            a: COMMIT
              Commit 0
                b: Insert 0
            b: SELECT pg_current_xact_id_if_assigned()
              NULL
            b: INSERT INTO t VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET n = 7 WHERE t.n = 1
              Insert 0
            b: SELECT pg_current_xact_id_if_assigned()
              801
        "#]],
    );
}

#[test]
fn no_row_is_updated_twice() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: INSERT INTO t VALUES (9, 1), (9, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n
        a: SELECT * FROM t ORDER BY id
        ",
        &expect![[r#"
            a: INSERT INTO t VALUES (9, 1), (9, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n
              ON CONFLICT DO UPDATE command cannot affect row a second time (21000)
            a: SELECT * FROM t ORDER BY id
              1|1; 2|2; 3|3
        "#]],
    );
}

#[test]
fn partial_index_counts_only_its_rows() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: CREATE TABLE p (id int, n int)
        a: CREATE UNIQUE INDEX p_n ON p (id) WHERE n > 0
        a: INSERT INTO p VALUES (1, 1), (1, -1), (1, -1)
        a: UPDATE p SET n = 2 WHERE n = -1
        a: INSERT INTO p VALUES (1, 3) ON CONFLICT (id) WHERE n > 0 DO UPDATE SET n = 20
        a: SELECT * FROM p ORDER BY n
        ",
        &expect![[r#"
            a: CREATE TABLE p (id int, n int)
              Other("CREATE TABLE") 0
            a: CREATE UNIQUE INDEX p_n ON p (id) WHERE n > 0
              Other("CREATE INDEX") 0
            a: INSERT INTO p VALUES (1, 1), (1, -1), (1, -1)
              Insert 3
            a: UPDATE p SET n = 2 WHERE n = -1
              duplicate key value violates unique constraint "p_n" (23505)
            a: INSERT INTO p VALUES (1, 3) ON CONFLICT (id) WHERE n > 0 DO UPDATE SET n = 20
              Insert 1
            a: SELECT * FROM p ORDER BY n
              1|-1; 1|-1; 1|20
        "#]],
    );
}

#[test]
fn constraints_have_their_messages() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: INSERT INTO t VALUES (1, 1)
        a: INSERT INTO t VALUES (NULL, 1)
        a: UPDATE t SET id = 2 WHERE id = 1
        a: CREATE TABLE c (n int CONSTRAINT positive CHECK (n > 0))
        a: INSERT INTO c VALUES (0)
        ",
        &expect![[r#"
            a: INSERT INTO t VALUES (1, 1)
              duplicate key value violates unique constraint "t_pkey" (23505)
            a: INSERT INTO t VALUES (NULL, 1)
              null value in column "id" of relation "t" violates not-null constraint (23502)
            a: UPDATE t SET id = 2 WHERE id = 1
              duplicate key value violates unique constraint "t_pkey" (23505)
            a: CREATE TABLE c (n int CONSTRAINT positive CHECK (n > 0))
              Other("CREATE TABLE") 0
            a: INSERT INTO c VALUES (0)
              new row for relation "c" violates check constraint "positive" (23514)
        "#]],
    );
}
