//! Histories: what sessions wrote and read, when, and what became of it; and how the judge is told.
//!
//! Every value is written once, so a value that was read names its writer. A *list* shows in one read all that was ever appended to it, in order;
//! of a *register* only the last value is seen, and its order is taken from the commits: PostgreSQL locks a row until the writer's end.
//!
//! Time is a counter that each message and each answer moves on: what was answered before another thing was sent came before it.

use std::collections::BTreeMap;

use adya::history::{Interner, Mop, Op as Event, OpType, ReadValue, Scalar};

/// What the rows hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lists,
    Registers,
}

/// One thing that a statement did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Write {
        key: usize,
        value: i64,
    },
    /// A list; of a register its value, or none before the first.
    Read {
        key: usize,
        values: Vec<i64>,
    },
}

impl Op {
    fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// The value that it writes to a key.
    pub(crate) fn value_to(&self, key: usize) -> Option<i64> {
        match self {
            Self::Write { key: written, value } if *written == key => Some(*value),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sent: usize,
    pub(crate) answered: usize,
    /// When it was rolled back without its transaction: it failed, or ROLLBACK TO undid it.
    pub(crate) undone: Option<usize>,
    /// It locks the rows that it reads: FOR SHARE or stronger.
    pub(crate) locks: bool,
    pub(crate) ops: Vec<Op>,
}

impl Statement {
    /// Whether a row is as it was read until the transaction's end, but for what that one does to it: it is locked.
    fn holds(&self, op: &Op) -> bool {
        let Op::Read { key, values } = op else { return false };
        let is_written = self.ops.iter().any(|other| other.value_to(*key).is_some());
        is_written || (self.locks && !values.is_empty())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) begun: usize,
    /// When its end was asked for.
    pub(crate) ending: usize,
    pub(crate) ended: usize,
    pub(crate) committed: bool,
    pub(crate) statements: Vec<Statement>,
}

impl Transaction {
    /// What is left of it at its end, or what is not: the statements.
    fn part(&self, kept: bool) -> impl Iterator<Item = &Statement> {
        let is_kept = move |one: &&Statement| (one.undone.is_none() && self.committed) == kept;
        self.statements.iter().filter(is_kept)
    }

    fn unit(&self, committed: bool, ops: Vec<Op>) -> Option<Unit> {
        let &Self { begun, ended, .. } = self;
        (!ops.is_empty()).then_some(Unit { begun, ended, committed, ops })
    }

    /// What it has rolled back. What that part has read is nobody's business: it may have read what it wrote.
    fn undone(&self) -> Option<Unit> {
        let ops = self.part(false).flat_map(|statement| &statement.ops);
        self.unit(false, ops.filter(|op| op.is_write()).cloned().collect())
    }

    /// What it had itself written to a key when a statement was sent.
    fn own(&self, key: usize, sent: usize) -> Vec<i64> {
        let counts = |one: &&Statement| one.answered < sent && one.undone.is_none_or(|undone| undone > sent);
        let ops = self.statements.iter().filter(counts).flat_map(|statement| &statement.ops);
        ops.filter_map(|op| op.value_to(key)).collect()
    }
}

/// What the judge takes for one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) begun: usize,
    pub(crate) ended: usize,
    pub(crate) committed: bool,
    pub(crate) ops: Vec<Op>,
}

/// What a run did. The last transaction reads every key when all others are over.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) kind: Kind,
    pub(crate) transactions: Vec<Transaction>,
}

impl History {
    /// Each transaction. What it has rolled back itself is a second one, which failed.
    pub(crate) fn by_transaction(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for transaction in &self.transactions {
            let ops = transaction.part(true).flat_map(|statement| statement.ops.iter().cloned());
            units.extend(transaction.unit(true, ops.collect()));
            units.extend(transaction.undone());
        }
        units
    }

    /// What READ COMMITTED promises beyond the anomalies of its name: each statement reads from one snapshot, but for the rows that it
    /// locks; those it waits for, and finds them as they are from then on until its transaction's end (EvalPlanQual).
    ///
    /// So a transaction is taken for one that does all at its end that needs a row's lock; and what a statement has read without is a transaction of its own,
    /// whatever becomes of the one that it belongs to. What that one has itself written is taken off; it must be there.
    pub(crate) fn by_statement(&self) -> Result<Vec<Unit>, String> {
        let mut units = Vec::new();
        for transaction in &self.transactions {
            let held = |statement: &Statement| {
                let ops = statement.ops.iter().filter(|op| op.is_write() || statement.holds(op));
                ops.cloned().collect::<Vec<_>>()
            };
            let at_end = transaction.unit(true, transaction.part(true).flat_map(held).collect());
            units.extend(at_end.map(|unit| Unit { begun: transaction.ending, ..unit }));
            units.extend(transaction.undone());
            for statement in &transaction.statements {
                let ops = self.foreign_reads(transaction, statement)?;
                if !ops.is_empty() {
                    units.push(Unit { begun: statement.sent, ended: statement.answered, committed: true, ops });
                }
            }
        }
        Ok(units)
    }

    /// What a statement saw of others' writes in its snapshot.
    fn foreign_reads(&self, transaction: &Transaction, statement: &Statement) -> Result<Vec<Op>, String> {
        let mut ops = Vec::new();
        for op in statement.ops.iter().filter(|op| !statement.holds(op)) {
            let Op::Read { key, values } = op else { continue };
            let mut own = transaction.own(*key, statement.sent);
            if self.kind == Kind::Registers && own.len() > 1 {
                own.drain(..own.len() - 1);
            }
            let Some(rest) = values.strip_suffix(own.as_slice()) else {
                return Err(format!("a transaction that wrote {own:?} to {} then read {values:?}", name(*key)));
            };
            if self.kind == Kind::Lists || own.is_empty() {
                ops.push(Op::Read { key: *key, values: rest.to_vec() });
            }
        }
        Ok(ops)
    }

    /// What no database can have read, and adya does not ask about: a value that nobody had yet written there, and one transaction's values in another order
    /// than it wrote them.
    pub(crate) fn impossible(&self) -> Option<String> {
        let mut writers = BTreeMap::new();
        for (number, transaction) in self.transactions.iter().enumerate() {
            for (place, statement) in transaction.statements.iter().enumerate() {
                for op in &statement.ops {
                    if let Op::Write { key, value } = op {
                        writers.insert((*key, *value), (statement.sent, number, place));
                    }
                }
            }
        }
        for statement in self.transactions.iter().flat_map(|one| &one.statements) {
            for op in &statement.ops {
                let Op::Read { key, values } = op else { continue };
                let mut last = BTreeMap::new();
                for value in values {
                    let Some((sent, number, place)) = writers.get(&(*key, *value)) else {
                        return Some(format!("{value} was read in {} and never written there", name(*key)));
                    };
                    if *sent > statement.answered {
                        return Some(format!("{value} was read in {} before it was written there", name(*key)));
                    }
                    if last.insert(*number, *place).is_some_and(|before| before > *place) {
                        return Some(format!(
                            "{values:?} was read in {}: its writer wrote in another order",
                            name(*key)
                        ));
                    }
                }
            }
        }
        None
    }
}

/// A key as the judge names it.
pub(crate) fn name(key: usize) -> &'static str {
    ["x", "y", "z", "w"][key]
}

/// As adya wants it, with the commits' order.
pub(crate) fn for_adya(kind: Kind, units: &[Unit]) -> (adya::History, Vec<(u64, i64)>) {
    let mut interner = Interner::default();
    let mut moments: Vec<(usize, usize, OpType)> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        moments.push((unit.begun, number, OpType::Invoke));
        moments.push((unit.ended, number, if unit.committed { OpType::Ok } else { OpType::Fail }));
    }
    moments.sort_by_key(|(time, number, _)| (*time, *number));
    let mut order = Vec::new();
    let mut events = Vec::new();
    for (_, number, kind_of) in moments {
        let index = u64::try_from(events.len()).expect("few events");
        if kind_of == OpType::Ok {
            order.push((index, i64::try_from(index).expect("few events")));
        }
        let ops = units[number].ops.iter();
        let value = ops.map(|op| mop(kind, op, kind_of == OpType::Invoke, &mut interner)).collect();
        let process = Some(i64::try_from(number).expect("few transactions"));
        events.push(Event { index, kind: kind_of, process, value, time: None });
    }
    (adya::History::from_ops(events, interner), order)
}

fn mop(kind: Kind, op: &Op, invoked: bool, interner: &mut Interner) -> Mop {
    let mut key = |key: usize| interner.intern(Scalar::Str(name(key).to_owned()));
    match op {
        Op::Write { key: to, value } => {
            let (key, value) = (key(*to), interner.intern(Scalar::Int(*value)));
            if kind == Kind::Lists { Mop::Append { key, value } } else { Mop::Write { key, value } }
        }
        Op::Read { key: of, values } => {
            let key = key(*of);
            let mut values = values.iter().map(|value| interner.intern(Scalar::Int(*value)));
            let value = match kind {
                _ if invoked => ReadValue::Nil,
                Kind::Lists => ReadValue::List(values.collect()),
                Kind::Registers => values.next().map_or(ReadValue::Nil, ReadValue::Scalar),
            };
            Mop::Read { key, value }
        }
    }
}
