//! Footprints: what a step has touched, as far as it matters to the steps of others.
//!
//! Two steps of two sessions that stand side by side in a schedule, and of which neither touched what the other did, can change places:
//! each is answered the same, and what comes after cannot tell. So of all the schedules that differ only in the order of such steps, one is
//! enough, and that is what makes it possible to try out *all* the others (partial-order reduction; Godefroid, "Partial-Order Methods for
//! the Verification of Concurrent Systems", 1996).
//!
//! What is written is touched twice. When a row is written, nobody else sees it, but whoever wants to write it too, or a row of the same unique key,
//! is kept waiting: the step has *taken* a lock. What others can read changes at COMMIT: that step *publishes*, and gives back what was taken. So a
//! reader and a writer of one row touch each other only where the writer commits.
//!
//! Where it is not known better, more is said to be touched than was; a statement that is not looked into touches everything.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use smallvec::SmallVec;

use crate::catalog::TableId;
use crate::lock::AdvisoryKey;
use crate::mvcc::{Table, TupleId};
use crate::plan::{RowLockStrength, TableLockMode};
use crate::server::{Core, Server};
use crate::types::Value;

/// The hash of an index's number and the values of its first columns.
type KeyHash = u64;

/// What a step has touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    accesses: Vec<Access>,
}

/// One thing that was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read under a snapshot that was taken in the same step: the rows under a key, or all of a table.
    Read { table: TableId, key: Option<KeyHash> },
    /// Made visible: a row, with the keys of what it was and of what it is.
    Publish { table: TableId, keys: SmallVec<[KeyHash; 8]> },
    /// A lock was asked for.
    Take(Lock),
    /// It was given back.
    Give(Lock),
    /// A wait began. Of several, the order decides who is the victim of a deadlock.
    Wait,
    /// A snapshot was taken that later steps read under.
    KeepSnapshot,
    /// It was asked which transactions run.
    AskRunning,
    /// A transaction with an id ended.
    End,
    /// The next of a series was given out: order decides who has which.
    Next(Series),
    /// The step is not looked into.
    Everything,
}

/// What is given out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// Transaction ids.
    Ids,
    /// A sequence's numbers.
    Sequence(u32),
    /// The places of a table's rows: scans give them in this order.
    Places(TableId),
}

/// What keeps others waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Table(TableId, TableLockMode),
    Row(TableId, TupleId, RowLockStrength),
    /// A unique index's key: who inserts it, or takes it away, decides whether others can.
    Key(TableId, KeyHash),
    Advisory(AdvisoryKey, TableLockMode),
}

impl Lock {
    fn excludes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Table(left, mode), Self::Table(right, other)) => {
                left == right && crate::lock::conflicts(mode, other)
            }
            (Self::Row(left, row, strength), Self::Row(right, same, other)) => {
                (left, row) == (right, same) && crate::exec::rows_exclude(strength, other)
            }
            (Self::Key(left, key), Self::Key(right, other)) => (left, key) == (right, other),
            (Self::Advisory(left, mode), Self::Advisory(right, other)) => {
                left == right && crate::lock::conflicts(mode, other)
            }
            _ => false,
        }
    }
}

impl Access {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _)
            | (_, Self::Everything)
            | (Self::Wait, Self::Wait)
            | (Self::KeepSnapshot | Self::AskRunning, Self::End)
            | (Self::End, Self::KeepSnapshot | Self::AskRunning) => true,
            (Self::Read { table, key }, Self::Publish { table: other, keys })
            | (Self::Publish { table: other, keys }, Self::Read { table, key }) => {
                table == other && key.is_none_or(|key| keys.contains(&key))
            }
            (Self::Take(left), Self::Take(right) | Self::Give(right)) | (Self::Give(left), Self::Take(right)) => {
                left.excludes(*right)
            }
            (Self::Next(left), Self::Next(right)) => left == right,
            _ => false,
        }
    }
}

impl Server {
    /// Notes what each step touches, from now on, or no more; no transaction may be open.
    pub fn record_footprints(&mut self, record: bool) {
        assert!(self.core.sessions.iter().all(|session| session.transaction.is_none()), "a transaction is open");
        self.core.trail = record.then(Box::default);
    }

    /// What was touched since this was last asked: ask after each step, when [`Server::next_woken`] has nobody more.
    pub fn take_footprint(&mut self) -> Footprint {
        self.core.trail.as_mut().map_or_else(Footprint::default, |trail| trail.take())
    }
}

impl Footprint {
    /// Whether the order of the two steps can matter. Where it cannot, they can change places if they stand side by side, and if the session
    /// of the second did not wait before the first.
    pub fn meets(&self, other: &Self) -> bool {
        self.accesses.iter().any(|access| other.accesses.iter().any(|other| access.meets(other)))
    }

    /// [`Footprint::meets`], but who gets which transaction id, sequence number or place in a table does not count. For schedules of
    /// statements that do not look at the order of these.
    pub fn meets_but_for_numbers(&self, other: &Self) -> bool {
        let is_number = |access: &&Access| !matches!(access, Access::Next(_));
        self.accesses.iter().filter(is_number).any(|access| other.accesses.iter().any(|other| access.meets(other)))
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.accesses.is_empty()
    }

    fn add(&mut self, access: Access) {
        if !self.accesses.contains(&access) {
            self.accesses.push(access);
        }
    }
}

/// Footprints in the making: the step's, and what each session's transaction has taken and will publish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    step: Footprint,
    open: Vec<Open>,
}

#[derive(Clone, Debug, Default)]
struct Open {
    taken: Vec<Lock>,
    written: Vec<Access>,
}

impl Trail {
    fn open(&mut self, session: u16) -> &mut Open {
        let session = usize::from(session);
        if self.open.len() <= session {
            self.open.resize(session + 1, Open::default());
        }
        &mut self.open[session]
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.step.accesses.clear();
        self.open.clear();
    }

    /// The footprint of what was done since this was last asked.
    pub(crate) fn take(&mut self) -> Footprint {
        std::mem::take(&mut self.step)
    }
}

/// The key of a row in an index, as far as `columns` of its columns.
pub(crate) fn key_hash<'v>(index: usize, values: impl IntoIterator<Item = &'v Value>) -> KeyHash {
    let mut hasher = FxHasher::default();
    index.hash(&mut hasher);
    for value in values {
        match value {
            Value::Int(value) | Value::Timestamp(value) => value.hash(&mut hasher),
            Value::Text(value) => value.hash(&mut hasher),
            Value::Bool(value) => value.hash(&mut hasher),
            // Equal ones need not look the same (1.0 and 1.00): all are one key.
            _ => 0u8.hash(&mut hasher),
        }
        0xffu8.hash(&mut hasher);
    }
    hasher.finish()
}

/// All keys under which a search finds a row: each index's, with each number of its columns.
fn keys_of(table: &Table, row: &[Value], into: &mut SmallVec<[KeyHash; 8]>) {
    for (number, index) in table.indexes.iter().enumerate() {
        for columns in 1..=index.columns.len() {
            let values = index.columns[..columns].iter().map(|column| &row[usize::from(*column)]);
            into.push(key_hash(number, values));
        }
    }
}

impl Core {
    /// Notes what a step touches, if anybody wants to know. `access` is asked only then.
    #[inline]
    pub(crate) fn note(&mut self, access: impl FnOnce() -> Access) {
        if let Some(trail) = &mut self.trail {
            trail.step.add(access());
        }
    }

    /// A lock is taken that the transaction of `me` gives back at its end.
    pub(crate) fn note_and_hold(&mut self, me: u16, lock: impl FnOnce() -> Lock) {
        if let Some(trail) = &mut self.trail {
            let lock = lock();
            trail.step.add(Access::Take(lock));
            let taken = &mut trail.open(me).taken;
            if !taken.contains(&lock) {
                taken.push(lock);
            }
        }
    }

    /// The transaction of `session` holds a lock that somebody else's step has given it, and gives it back at its end.
    pub(crate) fn note_held(&mut self, session: u16, lock: Lock) {
        if let Some(trail) = &mut self.trail {
            let taken = &mut trail.open(session).taken;
            if !taken.contains(&lock) {
                taken.push(lock);
            }
        }
    }

    /// A row was written: `old` version, `new` version, either of which may be missing.
    pub(crate) fn note_written(&mut self, me: u16, table: TableId, old: Option<TupleId>, new: Option<TupleId>) {
        if self.trail.is_none() {
            return;
        }
        let storage = &self.tables[table as usize];
        let (mut keys, mut locks) = (SmallVec::new(), SmallVec::<[Lock; 4]>::new());
        for tuple in old.into_iter().chain(new) {
            let row = storage.row(tuple);
            keys_of(storage, row, &mut keys);
            for (number, index) in storage.indexes.iter().enumerate().filter(|(_, index)| index.unique) {
                let values = index.columns.iter().map(|column| &row[usize::from(*column)]);
                locks.push(Lock::Key(table, key_hash(number, values)));
            }
        }
        for lock in locks {
            self.note_and_hold(me, || lock);
        }
        if new.is_some() {
            self.note(|| Access::Next(Series::Places(table)));
        }
        let trail = self.trail.as_mut().expect("looked at above");
        trail.open(me).written.push(Access::Publish { table, keys });
    }

    /// What the transaction of `me` has taken is given back; `publishes`: and what it has written is visible now.
    pub(crate) fn note_end(&mut self, me: u16, publishes: bool) {
        self.note_rollback(me);
        let Some(trail) = &mut self.trail else { return };
        let Open { taken: _, written } = std::mem::take(trail.open(me));
        if publishes {
            for access in written {
                trail.step.add(access);
            }
        }
    }

    /// The transaction of `me`, or a part of it, was rolled back: it may have given back anything that it had.
    pub(crate) fn note_rollback(&mut self, me: u16) {
        if self.trail.is_none() {
            return;
        }
        let tables = self.locks.tables_of(me).iter().map(|(table, mode)| Lock::Table(*table, *mode));
        let advisory = self.locks.all_advisory().filter(|(_, session, _)| *session == me);
        let mut given: Vec<Lock> = tables.chain(advisory.map(|(key, _, mode)| Lock::Advisory(key, mode))).collect();
        let has_id = self.has_id(me);
        let trail = self.trail.as_mut().expect("looked at above");
        given.extend(&trail.open(me).taken);
        for lock in given {
            trail.step.add(Access::Give(lock));
        }
        if has_id {
            trail.step.add(Access::End);
        }
    }
}
