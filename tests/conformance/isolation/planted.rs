//! Anomalies that are planted: the judge must name each, at every level that forbids it and at none that allows it.

use super::history::{History, Kind, Op, Statement, Transaction, Unit};
use super::judge::{Level, faults, faults_of_transactions};

const X: usize = 0;
const Y: usize = 1;
const Z: usize = 2;
const W: usize = 3;

fn write(key: usize, value: i64) -> Op {
    Op::Write { key, value }
}

fn read(key: usize, values: &[i64]) -> Op {
    Op::Read { key, values: values.to_vec() }
}

/// Transactions at the same time, and those that came `after`.
fn units(ops: &[&[Op]], after: &[&[Op]]) -> Vec<Unit> {
    let unit = |begun, ended, ops: &[Op]| Unit { begun, ended, committed: true, ops: ops.to_vec() };
    let together = ops.iter().enumerate().map(|(number, ops)| unit(number, ops.len() + 100 + number, ops));
    let later = after.iter().enumerate().map(|(number, ops)| unit(1000 + 2 * number, 1001 + 2 * number, ops));
    together.chain(later).collect()
}

/// The weakest level that forbids what the units show, and its name.
#[track_caller]
fn check(kind: Kind, units: &[Unit], forbidden_from: Level, anomaly: &str) {
    for level in Level::ALL {
        let faults = faults_of_transactions(kind, units, level);
        if level >= forbidden_from {
            assert!(faults.iter().any(|fault| fault.name == anomaly), "{level:?} has no {anomaly}: {faults:?}");
        } else {
            assert!(faults.is_empty(), "{level:?} allows {anomaly}: {faults:?}");
        }
    }
}

#[test]
fn what_came_one_after_another_is_right() {
    for kind in [Kind::Lists, Kind::Registers] {
        let second = if kind == Kind::Lists { vec![1, 2] } else { vec![2] };
        let after: &[&[Op]] = &[
            &[read(X, &[]), write(X, 1), write(Y, 3)],
            &[read(X, &[1]), write(X, 2), read(X, &second)],
            &[read(X, &second), read(Y, &[3])],
        ];
        for level in Level::ALL {
            let faults = faults_of_transactions(kind, &units(&[], after), level);
            assert!(faults.is_empty(), "{kind:?}, {level:?}: {faults:?}");
        }
    }
}

#[test]
fn dirty_write() {
    let both =
        units(&[&[write(X, 1), write(Y, 2)], &[write(X, 3), write(Y, 4)]], &[&[read(X, &[1, 3]), read(Y, &[4, 2])]]);
    check(Kind::Lists, &both, Level::ReadCommitted, "G0");
}

#[test]
fn aborted_read() {
    for (kind, last) in [(Kind::Lists, &[1, 2][..]), (Kind::Registers, &[1])] {
        let mut both = units(&[&[write(X, 1)], &[read(X, &[1])]], &[&[write(X, 2)], &[read(X, last)]]);
        both[0].committed = false;
        check(kind, &both, Level::ReadCommitted, "G1a");
    }
}

#[test]
fn intermediate_read() {
    for (kind, last) in [(Kind::Lists, &[1, 2][..]), (Kind::Registers, &[2])] {
        let both = units(&[&[write(X, 1), write(X, 2)], &[read(X, &[1])]], &[&[read(X, last)]]);
        check(kind, &both, Level::ReadCommitted, "G1b");
    }
}

#[test]
fn circular_information_flow() {
    for kind in [Kind::Lists, Kind::Registers] {
        let both = units(&[&[write(X, 1), read(Y, &[2])], &[write(Y, 2), read(X, &[1])]], &[]);
        check(kind, &both, Level::ReadCommitted, "G1c");
    }
}

#[test]
fn lost_update() {
    for (kind, last) in [(Kind::Lists, &[1, 2][..]), (Kind::Registers, &[2])] {
        let both = units(&[&[read(X, &[]), write(X, 1)], &[read(X, &[]), write(X, 2)]], &[&[read(X, last)]]);
        check(kind, &both, Level::RepeatableRead, "lost-update");
    }
}

#[test]
fn read_skew() {
    for kind in [Kind::Lists, Kind::Registers] {
        let both = units(&[&[write(X, 1), write(Y, 2)], &[read(X, &[]), read(Y, &[2])]], &[]);
        check(kind, &both, Level::RepeatableRead, "G-single-item");
    }
}

#[test]
fn read_twice() {
    for kind in [Kind::Lists, Kind::Registers] {
        let both = units(&[&[write(X, 1)], &[read(X, &[]), read(X, &[1])]], &[]);
        check(kind, &both, Level::RepeatableRead, "internal");
    }
}

#[test]
fn long_fork() {
    for kind in [Kind::Lists, Kind::Registers] {
        let reads: [&[Op]; 2] = [&[read(X, &[1]), read(Y, &[])], &[read(X, &[]), read(Y, &[2])]];
        let all = units(&[&[write(X, 1)], &[write(Y, 2)], reads[0], reads[1]], &[]);
        check(kind, &all, Level::RepeatableRead, "G-nonadjacent-item");
    }
}

#[test]
fn old_snapshot() {
    for kind in [Kind::Lists, Kind::Registers] {
        let all = units(&[], &[&[write(X, 1)], &[read(X, &[])]]);
        check(kind, &all, Level::RepeatableRead, "G-single-item-realtime");
    }
}

#[test]
fn write_skew() {
    for kind in [Kind::Lists, Kind::Registers] {
        let both = units(&[&[read(X, &[]), write(Y, 1)], &[read(Y, &[]), write(X, 2)]], &[]);
        check(kind, &both, Level::Serializable, "G2-item");
    }
}

/// Fekete, O'Neil and O'Neil, 2004: neither writer is wrong; who only reads is.
#[test]
fn read_only_anomaly() {
    for kind in [Kind::Lists, Kind::Registers] {
        let all: [&[Op]; 3] =
            [&[read(X, &[]), read(Y, &[]), write(X, 1)], &[write(Y, 2)], &[read(X, &[]), read(Y, &[2])]];
        let without = faults_of_transactions(kind, &units(&all[..2], &[]), Level::Serializable);
        assert!(without.is_empty(), "{without:?}");
        check(kind, &units(&all, &[]), Level::Serializable, "G2-item");
    }
}

fn statement(sent: usize, ops: &[Op]) -> Statement {
    Statement { sent, answered: sent + 1, undone: None, locks: false, ops: ops.to_vec() }
}

/// What is found where one transaction writes 1 to X and 2 to Y and commits at 50, and another one, which commits at 60, has done `statements`.
fn names(statements: Vec<Statement>) -> Vec<String> {
    let first = vec![statement(1, &[write(Z, 9)])];
    let writer = vec![statement(11, &[write(X, 1), write(Y, 2)])];
    let transaction =
        |begun, ended, statements| Transaction { begun, ending: ended - 1, ended, committed: true, statements };
    let transactions = vec![transaction(0, 5, first), transaction(10, 50, writer), transaction(6, 60, statements)];
    let history = History { kind: Kind::Lists, transactions };
    faults(&history, Level::ReadCommitted).into_iter().map(|fault| fault.name).collect()
}

#[test]
fn under_read_committed_a_statement_reads_from_one_snapshot_and_a_transaction_does_not() {
    assert!(names(vec![statement(20, &[read(X, &[])]), statement(55, &[read(Y, &[2])])]).is_empty());
    let torn = Statement { answered: 55, ..statement(20, &[read(X, &[]), read(Y, &[2])]) };
    assert_eq!(names(vec![torn]), ["G-single-item"]);
    // What was committed before a statement is in its snapshot, and nothing else.
    assert_eq!(names(vec![statement(55, &[read(X, &[])])]), ["G-single-item-realtime"]);
    assert_eq!(names(vec![statement(20, &[read(X, &[1])])]), ["G1c-realtime"]);
}

#[test]
fn under_read_committed_a_row_that_was_locked_stays_as_it_was_read() {
    let locked = |sent, ops: &[Op]| Statement { locks: true, ..statement(sent, ops) };
    // Nobody else has written Z; and X is not there, so that there is nothing to lock.
    assert!(names(vec![locked(20, &[read(Z, &[9])])]).is_empty());
    assert!(names(vec![locked(20, &[read(X, &[])])]).is_empty());
    assert!(names(vec![locked(55, &[read(X, &[1])]), statement(57, &[write(X, 3), read(X, &[1, 3])])]).is_empty());
    // It was written while it was locked.
    let mut statements = vec![statement(7, &[write(X, 3), read(X, &[3])])];
    assert_eq!(names(statements.clone()), ["G0-realtime"], "the order of the commits is another one");
    statements.push(statement(57, &[read(X, &[1, 3])]));
    assert_eq!(names(statements)[0], "incompatible-order");
}

/// What adya does not see, at least not at every level.
#[test]
fn impossible_reads() {
    let impossible = |statements: &[Statement]| names(statements.to_vec()).contains(&"impossible".to_owned());
    assert_eq!(names(vec![statement(20, &[read(X, &[9])])]), ["impossible"], "9 was never written there");
    let early = [statement(20, &[read(W, &[])]), statement(30, &[read(W, &[3])]), statement(40, &[write(W, 3)])];
    assert!(impossible(&early), "3 is written later");
    let mut written =
        vec![statement(20, &[write(W, 3)]), statement(30, &[write(W, 4)]), statement(40, &[read(W, &[3, 4])])];
    assert!(names(written.clone()).is_empty());
    written[2] = statement(40, &[read(W, &[4, 3])]);
    assert!(impossible(&written), "3 was written before 4");
    written[2] = statement(40, &[read(W, &[])]);
    assert_eq!(names(written), ["internal"], "its own writes are gone");
}
