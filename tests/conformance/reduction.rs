//! What `--all-permutations` leaves out on the model could not have come to anything new.

use std::collections::BTreeSet;

use skiptrace_sim::backend::messages::ModelMessages;
use skiptrace_sim::spec::Spec;
use skiptrace_sim::spec::explore::explore;

/// What the interleavings come to, all of them run or the reduced ones, and how many were run.
fn outcomes(text: &str, reduce: bool) -> (BTreeSet<Vec<String>>, u64) {
    let spec = Spec::parse(text).expect("a spec");
    let mut database = ModelMessages::new(spec.sessions.len() + 1);
    let explored = explore(&spec, &mut database, reduce, u64::MAX, &mut || ()).expect("the model is always there");
    (explored.groups.into_iter().map(|group| group.run.told).collect(), explored.runs + explored.cut)
}

#[track_caller]
fn check(text: &str, all: u64, reduced_max: u64) {
    let (expected, runs) = outcomes(text, false);
    assert_eq!(runs, all);
    let (found, runs) = outcomes(text, true);
    assert_eq!(found, expected);
    assert!(runs <= reduced_max, "{runs} of {all} were run");
}

const SETUP: &str = "setup { CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int); INSERT INTO t VALUES (1, 0), (2, 0); }
    teardown { DROP TABLE t, u; }\n";

#[test]
fn lost_updates_and_deadlocks_are_all_found() {
    let session = |name: &str, first: u8, second: u8| {
        format!(
            "session {name} step {name}0 {{ BEGIN; }} step {name}1 {{ SELECT * FROM t ORDER BY id; }} \
             step {name}2 {{ UPDATE t SET n = n + 1 WHERE id = {first}; }} \
             step {name}3 {{ UPDATE t SET n = n + 1 WHERE id = {second}; }} step {name}4 {{ COMMIT; }}\n"
        )
    };
    check(&[SETUP, &session("a", 1, 2), &session("b", 2, 1)].concat(), 152, 80);
}

#[test]
fn a_snapshot_that_is_kept_depends_on_every_commit() {
    let reader = "session r step r1 { BEGIN ISOLATION LEVEL REPEATABLE READ; } step r2 { SELECT * FROM u; } \
                  step r3 { SELECT * FROM t ORDER BY id; } step r4 { COMMIT; }\n";
    let writer = "session w step w1 { BEGIN; } step w2 { UPDATE t SET n = 7; } step w3 { COMMIT; }\n";
    check(&[SETUP, reader, writer].concat(), 35, 20);
}

#[test]
fn what_has_nothing_to_do_with_each_other_is_run_once() {
    let one = "session a step a1 { SELECT * FROM t; } step a2 { SELECT * FROM t; }\n";
    let two = "session b step b1 { BEGIN; } step b2 { INSERT INTO u VALUES (1); } step b3 { COMMIT; }\n";
    check(&[SETUP, one, two].concat(), 10, 4);
}
