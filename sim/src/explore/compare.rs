//! Comparing: the same schedule on two databases, step by step.
//!
//! The model's only judge is PostgreSQL: rows, command tags, waits, who is woken, and SQLSTATEs must agree on every
//! step. What cannot agree does not count: times (the model's clock is virtual), the ids of server processes, and the words of errors.
//! Nor does the order in which a step's woken statements are told: two that waited for different things go on side by side on a server. Where
//! it matters who was first, it shows in what they were answered.

use skiptrace::{Answer, DbError, Value};

use super::history::{Effect, History, StepRecord};
use super::run::Runner;
use super::{RunEnd, RunResult};
use crate::backend::Database;
use crate::strategy::{Replay, Strategy};

/// What a comparison came to.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The run on the first database.
    pub first: RunResult,
    /// Its schedule on the second.
    pub second: RunResult,
    /// The first step on which they differ, if there is one.
    pub difference: Option<Difference>,
}

/// Where two databases part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step, from 0.
    pub step: usize,
    /// What was sent there, by name.
    pub statement: String,
    /// What each did.
    pub message: String,
}

/// Runs `seed` on `first`, then the schedule that came of it on `second`, and compares what happened.
pub fn compare<A: Database, B: Database, S: Strategy + ?Sized>(
    first: &mut Runner<'_, A>,
    second: &mut Runner<'_, B>,
    seed: u64,
    strategy: &mut S,
) -> Comparison {
    let (mut one, mut other) = (History::default(), History::default());
    let result = first.run(seed, strategy, Some(&mut one));
    let second = second.run(seed, &mut Replay::new(result.schedule.clone()), Some(&mut other));
    let actors = one.steps.iter().map(|step| usize::from(step.choice.actor)).max().map_or(0, |last| last + 1);
    let judge = Judge { process_ids: (0..actors).filter_map(|actor| first.database().process_id(actor)).collect() };
    let difference = judge.difference(&one, &other).or_else(|| ends_differ(&result, &second));
    Comparison { first: result, second, difference }
}

/// Tells what counts.
#[derive(Default)]
struct Judge {
    /// What the first database calls its sessions' processes.
    process_ids: Vec<i64>,
}

impl Judge {
    /// The first step on which two histories of one schedule differ.
    fn difference(&self, first: &History, second: &History) -> Option<Difference> {
        for (step, (one, other)) in first.steps.iter().zip(&second.steps).enumerate() {
            if let Some(message) = self.step_difference(one, other) {
                let statement = one.sent.as_ref().map_or("", |(statement, _)| statement.name()).to_owned();
                return Some(Difference { step, statement, message });
            }
        }
        None
    }

    fn step_difference(&self, one: &StepRecord, other: &StepRecord) -> Option<String> {
        if one.choice != other.choice {
            return Some(format!("chosen: {:?} and {:?}", one.choice, other.choice));
        }
        let sent = |record: &StepRecord| record.sent.as_ref().map(|(statement, _)| statement.name().to_owned());
        if sent(one) != sent(other) {
            return Some(format!("sent: {:?} and {:?}", sent(one), sent(other)));
        }
        let params = |record: &StepRecord| record.sent.as_ref().map_or(Vec::new(), |(_, params)| params.clone());
        if !self.same_values(&params(one), &params(other)) {
            return Some(format!("parameters: {:?} and {:?}", params(one), params(other)));
        }
        let same_effect = match (&one.effect, &other.effect) {
            (Effect::Answered(one), Effect::Answered(other)) => self.same_answer(one, other),
            (Effect::Waits(one), Effect::Waits(other)) => sorted(one) == sorted(other),
            (one, other) => one == other,
        };
        if !same_effect {
            return Some(format!("{:?} and {:?}", one.effect, other.effect));
        }
        let by_actor = |record: &StepRecord| {
            let mut woken = record.woken.clone();
            woken.sort_by_key(|(actor, _)| *actor);
            woken
        };
        let (one_woken, other_woken) = (by_actor(one), by_actor(other));
        let same_woken = one_woken.len() == other_woken.len()
            && one_woken
                .iter()
                .zip(&other_woken)
                .all(|(one, other)| one.0 == other.0 && self.same_answer(&one.1, &other.1));
        (!same_woken).then(|| format!("woken: {:?} and {:?}", one.woken, other.woken))
    }

    fn same_answer(&self, one: &Result<Answer, DbError>, other: &Result<Answer, DbError>) -> bool {
        match (one, other) {
            (Ok(one), Ok(other)) => {
                one.tag == other.tag
                    && one.affected == other.affected
                    && one.rows.len() == other.rows.len()
                    && one
                        .rows
                        .iter()
                        .zip(other.rows.iter())
                        .all(|(one, other)| self.same_values(one.values(), other.values()))
            }
            (Err(one), Err(other)) => one.sqlstate() == other.sqlstate(),
            _ => false,
        }
    }

    fn same_values(&self, one: &[Value], other: &[Value]) -> bool {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.same_value(one, other))
    }

    fn same_value(&self, one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Timestamp(_), Value::Timestamp(_)) => true,
            (Value::Int(process), Value::Int(_)) if self.process_ids.contains(process) => true,
            (Value::Array(one), Value::Array(other)) => self.same_values(one, other),
            (one, other) => one == other,
        }
    }
}

fn ends_differ(first: &RunResult, second: &RunResult) -> Option<Difference> {
    let same = match (&first.end, &second.end) {
        // Who waits for whom may be told in another order.
        (RunEnd::Stuck(one), RunEnd::Stuck(other)) => one.kind == other.kind,
        (RunEnd::Violated(one), RunEnd::Violated(other)) => one.invariant == other.invariant && one.step == other.step,
        (one, other) => one == other,
    };
    (!same).then(|| Difference {
        step: second.schedule.len(),
        statement: String::new(),
        message: format!("the first ended with {:?}, the second with {:?}", first.end, second.end),
    })
}

fn sorted(actors: &[u8]) -> Vec<u8> {
    let mut sorted = actors.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

#[cfg(test)]
mod tests {
    use skiptrace::{Rows, SqlState, Statement, Tag};

    use super::*;
    use crate::explore::schedule::{Act, Choice};

    fn history(effect: Effect) -> History {
        let step = StepRecord {
            choice: Choice { actor: 0, act: Act::Step },
            sent: Some((Statement::new("a.b", "SELECT 1"), vec![Value::Timestamp(1)])),
            effect,
            woken: Vec::new(),
            milestones: Vec::new(),
        };
        History { steps: vec![step] }
    }

    fn answered(value: Value) -> Effect {
        Effect::Answered(Ok(Answer { tag: Tag::Other, affected: 1, rows: Rows::new(1, vec![value]) }))
    }

    fn failed(sqlstate: SqlState, message: &str) -> Effect {
        Effect::Answered(Err(DbError::new(sqlstate, message)))
    }

    #[test]
    fn rows_waits_and_sqlstates_count() {
        let differ = |one: Effect, other: Effect| Judge::default().difference(&history(one), &history(other)).is_some();
        assert!(differ(answered(Value::Int(1)), answered(Value::Int(2))));
        assert!(differ(answered(Value::Int(1)), Effect::Waits(vec![1])));
        assert!(differ(Effect::Waits(vec![1]), Effect::Waits(vec![2])));
        assert!(differ(failed(SqlState::UNIQUE_VIOLATION, "a"), failed(SqlState::DEADLOCK_DETECTED, "a")));
    }

    #[test]
    fn who_is_woken_counts_and_not_in_which_order() {
        let woken = |actors: &[(u8, i64)]| {
            let mut history = history(Effect::Waits(vec![]));
            for (actor, value) in actors {
                let Effect::Answered(answer) = answered(Value::Int(*value)) else { unreachable!("made so") };
                history.steps[0].woken.push((*actor, answer));
            }
            history
        };
        let differ = |one, other| Judge::default().difference(&woken(one), &woken(other)).is_some();
        assert!(!differ(&[(1, 5), (2, 6)], &[(2, 6), (1, 5)]));
        assert!(differ(&[(1, 5), (2, 6)], &[(1, 6), (2, 5)]), "who was first shows in the answers");
        assert!(differ(&[(1, 5)], &[(1, 5), (2, 6)]));
    }

    #[test]
    fn a_process_may_have_another_id() {
        let judge = Judge { process_ids: vec![17] };
        let differ = |one, other| judge.difference(&history(answered(one)), &history(answered(other))).is_some();
        assert!(!differ(Value::Int(17), Value::Int(4711)));
        assert!(differ(Value::Int(18), Value::Int(4711)));
    }

    #[test]
    fn times_and_words_do_not_count() {
        let same =
            |one: Effect, other: Effect| assert_eq!(Judge::default().difference(&history(one), &history(other)), None);
        same(answered(Value::Timestamp(1)), answered(Value::Timestamp(2)));
        same(Effect::Waits(vec![1, 2]), Effect::Waits(vec![2, 1]));
        same(failed(SqlState::UNIQUE_VIOLATION, "a"), failed(SqlState::UNIQUE_VIOLATION, "b"));
    }
}
