//! Histories that were played, with one read changed afterwards: each change is a lie that the judge must notice.
//!
//! The last transaction reads everything, and its list of each key is the order that all other reads have to fit. What is damaged here is
//! that last read, or an earlier one of a transaction that was committed.

use super::history::{History, Kind, Op, Transaction};
use super::judge::Level;
use crate::differential::choices::Choices;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    /// The last write of a key is not there any more.
    Lost,
    /// What was rolled back is there.
    Aborted,
    /// A transaction's last write of a key is not there, an earlier one is.
    Intermediate,
    /// A value that nobody wrote.
    Invented,
    /// Twice the same value in a list.
    Twice,
    /// The first value of a list is missing in an earlier read.
    Hole,
    /// Two neighbours have changed places in an earlier read.
    Turned,
    /// An earlier read that misses what had been committed before.
    Stale,
}

impl Damage {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lost,
        Self::Aborted,
        Self::Intermediate,
        Self::Invented,
        Self::Twice,
        Self::Hole,
        Self::Turned,
        Self::Stale,
    ];

    /// Of registers only one value is seen.
    pub(crate) fn is_of_lists(self) -> bool {
        matches!(self, Self::Twice | Self::Hole | Self::Turned)
    }

    /// A copy of a history with this damage, if it has a place for it.
    pub(crate) fn done_to(self, history: &History, level: Level, choices: &mut Choices<'_>) -> Option<History> {
        if self.is_of_lists() && history.kind == Kind::Registers {
            return None;
        }
        let places = reads(history);
        let mut candidates: Vec<(Place, Vec<i64>)> = Vec::new();
        for place in places {
            let is_last = place.transaction + 1 == history.transactions.len();
            candidates.extend(self.changed(history, level, place, is_last).map(|values| (place, values)));
        }
        if candidates.is_empty() {
            return None;
        }
        let (place, changed) = candidates.swap_remove(choices.below(candidates.len()));
        let mut copy = history.clone();
        let op = &mut copy.transactions[place.transaction].statements[place.statement].ops[place.op];
        *op = Op::Read { key: place.key, values: changed };
        Some(copy)
    }

    fn changed(self, history: &History, level: Level, place: Place, is_last: bool) -> Option<Vec<i64>> {
        let values = place.values(history);
        let is_register = history.kind == Kind::Registers;
        let with = |value: i64| if is_register { vec![value] } else { [values, &[value]].concat() };
        let without_last = || if is_register { Vec::new() } else { values[..values.len() - 1].to_vec() };
        match self {
            Self::Lost => (is_last && !values.is_empty()).then(without_last),
            Self::Aborted => {
                let undone = aborted(history, place.key);
                undone.filter(|_| is_last).map(with)
            }
            Self::Intermediate => {
                let (earlier, later) = written_twice(history, place.key, values.last().copied().filter(|_| is_last)?)?;
                if is_register {
                    return Some(vec![earlier]);
                }
                Some(values.iter().copied().filter(|value| *value != later).collect())
            }
            Self::Invented => is_last.then(|| with(1_000_000)),
            Self::Twice => values.last().filter(|_| is_last).map(|last| with(*last)),
            Self::Hole => (!is_last && values.len() > 1).then(|| values[1..].to_vec()),
            Self::Turned => (!is_last && values.len() > 1).then(|| {
                let mut turned = values.to_vec();
                turned.swap(0, 1);
                turned
            }),
            Self::Stale => {
                let transaction = &history.transactions[place.transaction];
                // From when on it sees what is committed.
                let from = match level {
                    Level::ReadCommitted => transaction.statements[place.statement].sent,
                    Level::RepeatableRead | Level::Serializable => transaction.begun,
                };
                let writer = writer(history, place.key, *values.last().filter(|_| !is_last)?);
                (writer.committed && writer.ended < from).then(without_last)
            }
        }
    }
}

/// Where a committed transaction has read.
#[derive(Clone, Copy)]
struct Place {
    transaction: usize,
    statement: usize,
    op: usize,
    key: usize,
}

impl Place {
    fn values(self, history: &History) -> &[i64] {
        match &history.transactions[self.transaction].statements[self.statement].ops[self.op] {
            Op::Read { values, .. } => values,
            Op::Write { .. } => unreachable!("a place is one where somebody has read"),
        }
    }
}

fn reads(history: &History) -> Vec<Place> {
    let mut places = Vec::new();
    for (transaction, one) in history.transactions.iter().enumerate().filter(|(_, one)| one.committed) {
        for (statement, all) in one.statements.iter().enumerate().filter(|(_, all)| all.undone.is_none()) {
            for (op, what) in all.ops.iter().enumerate() {
                if let Op::Read { key, .. } = what {
                    places.push(Place { transaction, statement, op, key: *key });
                }
            }
        }
    }
    places
}

/// The values that transactions have written to a key, in order, each with its transaction and whether it was undone.
fn written(history: &History, key: usize) -> impl Iterator<Item = (&Transaction, i64, bool)> {
    history.transactions.iter().flat_map(move |transaction| {
        transaction.statements.iter().flat_map(move |statement| {
            let is_undone = !transaction.committed || statement.undone.is_some();
            let values = statement.ops.iter().filter_map(move |op| op.value_to(key));
            values.map(move |value| (transaction, value, is_undone))
        })
    })
}

fn aborted(history: &History, key: usize) -> Option<i64> {
    written(history, key).find(|(_, _, is_undone)| *is_undone).map(|(_, value, _)| value)
}

fn writer(history: &History, key: usize, value: i64) -> &Transaction {
    written(history, key).find(|(_, other, _)| *other == value).expect("somebody wrote it").0
}

/// What the writer of `later` had written to the key before.
fn written_twice(history: &History, key: usize, later: i64) -> Option<(i64, i64)> {
    let writer = writer(history, key, later);
    let mut own = written(history, key).filter(|(other, _, is_undone)| other.begun == writer.begun && !is_undone);
    own.find(|(_, value, _)| *value != later).map(|(_, earlier, _)| (earlier, later))
}
