//! An independent judge of the model's isolation levels.
//!
//! Everything else in this folder compares the model with PostgreSQL, answer by answer. Here nobody is asked for the right answer: random transactions
//! write values of which each is written once, and what they read afterwards tells who must have come before whom. A circle is an anomaly, by the names
//! of Adya's thesis and of Elle, and each isolation level forbids some. The circles are found by the crate `adya`, which does what Jepsen's Elle does.
//!
//! - `command`, `play`: random transactions of three to five sessions, with savepoints, deadlocks and serialization failures, on the model, and
//!   some on a server: what the judge demands of the model, PostgreSQL does.
//! - `history`: what they wrote and read. `judge`: what each level promises, and whether it was kept.
//!
//! # Why the judge is believed
//!
//! - `oracle`: 40,000 small histories were judged by trying every order of their transactions, too, and adya said the same of all. It does so for
//!   1,500 in each run. Two things it does not see, and they are looked for in `history`: a list in which one transaction's values stand in
//!   another order than it wrote them; and a read of a value before it was written, by a transaction that had read the same list before.
//!   A value that nobody wrote is not its business either.
//! - `planted`: each anomaly of the literature, which must be named at the levels that forbid it, and must not at the levels that allow it.
//! - `damage`: in each history that was played one read is changed afterwards, and the judge must notice.
//! - What a level allows is seen in its histories when they are judged by the next one: else the transactions would be too tame.
//! - By hand, 90,000 histories of the model, 30,000 a level, and 12,000 of PostgreSQL 15 were judged: all as promised, and all damages noticed.
//! - The model was broken on purpose, each time in one place, and was convicted within the 1,000 histories of a level, shrunk to about ten statements:
//!
//! | what was broken | convicted of |
//! |---|---|
//! | REPEATABLE READ takes a snapshot a statement | G-single, internal |
//! | READ COMMITTED takes a new snapshot when it goes on after a wait, or keeps its transaction's first | G-single in real time |
//! | a snapshot does not know who was running, or has no upper end | G-single, internal |
//! | what runs elsewhere is seen | G1a, G1b, G1c |
//! | what was rolled back is seen; ROLLBACK TO undoes nothing | G1a |
//! | a row whose update was rolled back is not seen any more | G-single in real time |
//! | one's own writes are not seen by the next command | internal |
//! | after a wait the newest version is locked, and the new row computed from the old one (EvalPlanQual) | incompatible order |
//! | after a wait FOR UPDATE gives the old version | G-single in real time |
//! | rows are not waited for | G0, incompatible order |
//! | REPEATABLE READ goes on with a newer version instead of 40001; ON CONFLICT DO UPDATE of a row that it does not see | G-single, internal |
//! | SERIALIZABLE refuses nothing, or forgets those that have ended | G2 |

mod command;
mod damage;
mod history;
mod judge;
mod oracle;
mod planted;
mod play;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::TestCaseError;
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};

use self::command::Ground;
use self::damage::Damage;
use self::history::Kind;
use self::judge::{Fault, Level, faults, faults_of_transactions};
use self::play::{Stage, Tally};
use crate::differential::check;
use crate::differential::choices::Choices;

const CASES: u32 = 1000;
const CASES_ON_A_SERVER: u32 = 80;
const STEPS_MAX: usize = 48;
const GROUNDS: [Ground; 4] = [
    Ground { kind: Kind::Lists, apart: false },
    Ground { kind: Kind::Registers, apart: false },
    Ground { kind: Kind::Lists, apart: true },
    Ground { kind: Kind::Registers, apart: true },
];

/// Sums of all runs of one level, and what they would have been convicted of at the next one.
#[derive(Default)]
struct Sums {
    tally: Tally,
    above: BTreeMap<String, u32>,
    /// Damaged histories that were convicted, by damage and by the first anomaly that was found.
    damaged: BTreeMap<Damage, BTreeMap<String, u32>>,
}

fn show(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{}: {}", fault.name, fault.why)).collect::<Vec<_>>().join("\n")
}

fn on_the_model(level: Level, grounds: &[Ground]) -> Sums {
    no_faults(level, grounds.iter().map(|ground| Stage::on_the_model(*ground, level)).collect(), CASES)
}

/// Plays random transactions, and what the level forbids is never seen.
fn no_faults(level: Level, stages: Vec<Stage<'_>>, cases: u32) -> Sums {
    let places = 0..stages.len();
    let stages = RefCell::new(stages);
    let sums = RefCell::new(Sums::default());
    let step = (any::<u8>(), vec(any::<u16>(), 6));
    let case = (places, 3..=5_usize, vec(step, 8..STEPS_MAX), vec(any::<u16>(), 2));
    check(cases, &case, |(place, sessions, steps, lie)| {
        let run = stages.borrow_mut()[place].play(sessions, &steps);
        if let Some(unexpected) = run.unexpected {
            return Err(TestCaseError::fail(format!("{}\n{unexpected}", run.log.join("\n"))));
        }
        let convicted = faults(&run.history, level);
        if !convicted.is_empty() {
            return Err(TestCaseError::fail(format!("{}\n{}", run.log.join("\n"), show(&convicted))));
        }
        let mut sums = sums.borrow_mut();
        sums.add(&run.tally);
        let mut choices = Choices::new(&lie);
        let damage = choices.of(&Damage::ALL);
        if let Some(damaged) = damage.done_to(&run.history, level, &mut choices) {
            let Some(fault) = faults(&damaged, level).into_iter().next() else {
                let lines = run.log.join("\n");
                return Err(TestCaseError::fail(format!("{lines}\n{damage:?} is not found in {damaged:#?}")));
            };
            *sums.damaged.entry(damage).or_default().entry(fault.name).or_default() += 1;
        }
        if let Some(above) = Level::ALL.get(level as usize + 1) {
            for fault in faults_of_transactions(run.history.kind, &run.history.by_transaction(), *above) {
                *sums.above.entry(fault.name).or_default() += 1;
            }
        }
        Ok(())
    });
    let sums = sums.into_inner();
    println!("{level:?}: {:?}; against the level above: {:?}; damaged: {:#?}", sums.tally, sums.above, sums.damaged);
    sums
}

impl Sums {
    fn add(&mut self, tally: &Tally) {
        let sum = &mut self.tally;
        sum.statements += tally.statements;
        sum.waits += tally.waits;
        sum.committed += tally.committed;
        sum.rolled_back += tally.rolled_back;
        sum.partly += tally.partly;
        for (sqlstate, count) in &tally.errors {
            *sum.errors.entry(sqlstate.clone()).or_default() += count;
        }
    }
}

impl Sums {
    /// A test in which too little happens proves nothing.
    #[track_caller]
    fn check(&self, level: Level, anomalies_above: &[&str], damages: &[Damage]) {
        let Tally { statements, waits, committed, rolled_back, partly, errors } = &self.tally;
        let is_busy = *waits * 80 > *statements || level == Level::Serializable;
        assert!(is_busy && *committed * 10 > *statements, "too little is concurrent: {:?}", self.tally);
        assert!(*rolled_back * 200 > *statements && *partly * 400 > *statements, "too little fails: {:?}", self.tally);
        assert_eq!(errors.contains_key("40001"), level != Level::ReadCommitted, "{errors:?}");
        for anomaly in anomalies_above {
            assert!(
                self.above.contains_key(*anomaly),
                "{level:?} allows {anomaly}, and none was seen: {:?}",
                self.above
            );
        }
        for damage in damages {
            assert!(self.damaged.contains_key(damage), "no history was damaged by {damage:?}");
        }
    }
}

#[test]
fn read_committed_keeps_its_promise() {
    let sums = on_the_model(Level::ReadCommitted, &GROUNDS);
    sums.check(Level::ReadCommitted, &["G-single-item", "lost-update", "internal"], &Damage::ALL);
}

#[test]
fn repeatable_read_keeps_its_promise() {
    let sums = on_the_model(Level::RepeatableRead, &GROUNDS);
    sums.check(Level::RepeatableRead, &["G2-item"], &Damage::ALL);
}

/// The model refuses what might have to be ended, by tables. A transaction that it refuses is rolled back, and does not count.
#[test]
fn serializable_keeps_its_promise() {
    let sums = on_the_model(Level::Serializable, &GROUNDS[2..]);
    sums.check(Level::Serializable, &[], &Damage::ALL);
    let refused = sums.tally.errors["0A000"];
    assert!(refused < sums.tally.committed, "{refused} transactions refused: too many, {:?}", sums.tally);
}

/// What the judge demands, PostgreSQL does, SERIALIZABLE in real time's order, too.
#[test]
fn a_server_keeps_the_same_promises() {
    let bed = TestBed::acquire(AcquireOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    for level in Level::ALL {
        let stages = GROUNDS.iter().map(|ground| Stage::on_a_server(&bed, *ground, level)).collect();
        let sums = no_faults(level, stages, CASES_ON_A_SERVER);
        let above: &[&str] = match level {
            Level::ReadCommitted => &["G-single-item"],
            Level::RepeatableRead => &["G2-item"],
            Level::Serializable => &[],
        };
        sums.check(level, above, &[]);
        assert!(!sums.tally.errors.contains_key("0A000"), "{:?}", sums.tally);
    }
}
