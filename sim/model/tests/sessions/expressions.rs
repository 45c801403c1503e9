//! Expressions that wait.

use expect_test::expect;

use crate::check;

#[test]
fn an_advisory_lock_in_the_middle_of_a_scan() {
    check(
        "
        setup: CREATE TABLE t (id int PRIMARY KEY, n int)
        setup: INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)
        a: BEGIN
        a: SELECT pg_advisory_lock(1)
        b: BEGIN
        b: SELECT id FROM t WHERE pg_advisory_xact_lock(1) IS NOT NULL ORDER BY id
        c: SELECT pg_try_advisory_lock(1)
        a: INSERT INTO t VALUES (4, 4)
        a: COMMIT
        a: SELECT pg_advisory_unlock(1)
        b: COMMIT
        c: SELECT pg_try_advisory_lock(1)
        c: SELECT pg_advisory_unlock(1)
        c: SELECT pg_advisory_unlock(1)
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: SELECT pg_advisory_lock(1)
              void
            b: BEGIN
              Begin 0
            b: SELECT id FROM t WHERE pg_advisory_xact_lock(1) IS NOT NULL ORDER BY id
              waits
            c: SELECT pg_try_advisory_lock(1)
              f
            a: INSERT INTO t VALUES (4, 4)
              Insert 1
            a: COMMIT
              Commit 0
            a: SELECT pg_advisory_unlock(1)
              t
                b: 1; 2; 3
            b: COMMIT
              Commit 0
            c: SELECT pg_try_advisory_lock(1)
              t
            c: SELECT pg_advisory_unlock(1)
              t
            c: SELECT pg_advisory_unlock(1)
              f
        "#]],
    );
}

#[test]
fn nothing_is_done_twice_for_a_row() {
    check(
        "
        setup: CREATE SEQUENCE q
        a: SELECT pg_advisory_lock(1)
        b: SELECT nextval('q'), pg_advisory_lock(1) IS NOT NULL, nextval('q')
        a: SELECT pg_advisory_unlock(1)
        a: SELECT nextval('q')
        ",
        &expect![[r#"
            a: SELECT pg_advisory_lock(1)
              void
            b: SELECT nextval('q'), pg_advisory_lock(1) IS NOT NULL, nextval('q')
              waits
            a: SELECT pg_advisory_unlock(1)
              t
                b: 1|t|2
            a: SELECT nextval('q')
              3
        "#]],
    );
}

#[test]
fn shared_advisory_locks() {
    check(
        "
        a: SELECT pg_advisory_lock_shared(7)
        b: SELECT pg_try_advisory_lock_shared(7)
        c: SELECT pg_try_advisory_lock(7)
        c: SELECT pg_advisory_xact_lock(7)
        a: SELECT pg_advisory_unlock_shared(7)
        b: SELECT pg_advisory_unlock_shared(7)
        ",
        &expect![[r#"
            a: SELECT pg_advisory_lock_shared(7)
              void
            b: SELECT pg_try_advisory_lock_shared(7)
              t
            c: SELECT pg_try_advisory_lock(7)
              f
            c: SELECT pg_advisory_xact_lock(7)
              waits
            a: SELECT pg_advisory_unlock_shared(7)
              t
            b: SELECT pg_advisory_unlock_shared(7)
              t
                c: void
        "#]],
    );
}

/// A subquery that reads nothing of the query around it is computed once: the row that was waited for is judged by what it gave
/// before the wait, though what it reads is another by then. One that reads the row is computed again.
#[test]
fn a_subquery_keeps_its_value_across_a_wait() {
    check(
        "
        setup: CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL)
        setup: CREATE TABLE bound (n bigint NOT NULL)
        setup: INSERT INTO t VALUES (1, 0), (2, 0)
        setup: INSERT INTO bound VALUES (5)
        a: BEGIN
        a: UPDATE t SET n = 5 WHERE id = 1
        b: UPDATE t SET n = n + 10 WHERE n <= (SELECT max(b.n) FROM bound b) RETURNING id, n
        a: UPDATE bound SET n = 4
        a: COMMIT
        a: SELECT (SELECT count(*) FROM t o WHERE o.n > t.n), (SELECT max(n) FROM bound) FROM t ORDER BY id
        ",
        &expect![[r#"
            a: BEGIN
              Begin 0
            a: UPDATE t SET n = 5 WHERE id = 1
              Update 1
            b: UPDATE t SET n = n + 10 WHERE n <= (SELECT max(b.n) FROM bound b) RETURNING id, n
              waits
            a: UPDATE bound SET n = 4
              Update 1
            a: COMMIT
              Commit 0
                b: 1|15; 2|10
            a: SELECT (SELECT count(*) FROM t o WHERE o.n > t.n), (SELECT max(n) FROM bound) FROM t ORDER BY id
              0|4; 1|4
        "#]],
    );
}
