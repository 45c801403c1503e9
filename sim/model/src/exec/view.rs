//! System views: `pg_locks`, `pg_database`, `pg_sequences`.
//!
//! `pg_locks` lists the locks that a schedule can see and wait for: tables, tuples, transaction ids, advisory locks, and virtual transaction
//! ids. PostgreSQL also lists a lock on each index of a table that a statement has planned with, and on `pg_locks` itself.

use smol_str::SmolStr;

use crate::catalog::{Catalog, SequenceId, TableId};
use crate::lock::{AdvisoryKey, LockTag};
use crate::mvcc::Xid;
use crate::plan::{TableLockMode, View};
use crate::server::Core;
use crate::types::Value;

/// The OID of the only database.
const DATABASE: i64 = 5;

fn mode_name(mode: TableLockMode) -> &'static str {
    match mode {
        TableLockMode::AccessShare => "AccessShareLock",
        TableLockMode::RowShare => "RowShareLock",
        TableLockMode::RowExclusive => "RowExclusiveLock",
        TableLockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
        TableLockMode::Share => "ShareLock",
        TableLockMode::ShareRowExclusive => "ShareRowExclusiveLock",
        TableLockMode::Exclusive => "ExclusiveLock",
        TableLockMode::AccessExclusive => "AccessExclusiveLock",
    }
}

/// Texts that are given again and again.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) database: SmolStr,
    modes: [SmolStr; 8],
    relation: SmolStr,
    tuple: SmolStr,
    virtual_xid: SmolStr,
    transaction_id: SmolStr,
    advisory: SmolStr,
    /// `virtualtransaction`, by session.
    sessions: Vec<SmolStr>,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            database: "postgres".into(),
            modes: crate::lock::ALL_MODES.map(|mode| mode_name(mode).into()),
            relation: "relation".into(),
            tuple: "tuple".into(),
            virtual_xid: "virtualxid".into(),
            transaction_id: "transactionid".into(),
            advisory: "advisory".into(),
            sessions: Vec::new(),
        }
    }

    /// The names of so many sessions.
    pub(crate) fn set_sessions(&mut self, sessions: usize) {
        while self.sessions.len() < sessions {
            self.sessions.push(format!("{}/1", self.sessions.len() + 3).into());
        }
    }
}

/// A row of `pg_locks` in the making.
struct Row {
    session: u16,
    mode: TableLockMode,
    granted: bool,
}

impl Core {
    /// The rows of a view, now.
    pub(crate) fn view_rows(&self, view: View, into: &mut Vec<Value>) {
        match view {
            View::Locks => self.lock_rows(into),
            View::Databases => into.extend([Value::Int(DATABASE), Value::Text(self.names.database.clone())]),
            View::Sequences => {
                let numbers = 0..SequenceId::try_from(self.sequences.len()).expect("numbers of sequences fit");
                for def in numbers.filter_map(|id| self.catalog.find_sequence(id)) {
                    into.extend([
                        Value::Text(def.schema.clone()),
                        Value::Text(def.name.clone()),
                        Value::Int(def.start),
                        Value::Int(def.min),
                        Value::Int(def.max),
                        Value::Int(def.increment),
                        Value::Bool(def.cycle),
                        Value::Int(1),
                    ]);
                }
            }
            View::Sequence(id) => {
                let (last, called) = self.sequences[id as usize].state();
                into.extend([Value::Int(last), Value::Bool(called)]);
            }
            View::SequenceOptions => {
                let numbers = 0..SequenceId::try_from(self.sequences.len()).expect("numbers of sequences fit");
                for (id, def) in numbers.filter_map(|id| self.catalog.find_sequence(id).map(|def| (id, def))) {
                    into.extend([
                        Value::Int(Catalog::oid(id)),
                        Value::Int(def.start),
                        Value::Int(def.increment),
                        Value::Int(def.max),
                        Value::Int(def.min),
                        Value::Int(1),
                        Value::Bool(def.cycle),
                    ]);
                }
            }
        }
    }

    fn lock_rows(&self, into: &mut Vec<Value>) {
        for me in 0..u16::try_from(self.sessions.len()).expect("fewer than 2^16 sessions") {
            let Some(transaction) = &self.session(me).transaction else { continue };
            for (table, mode) in self.locks.tables_of(me) {
                self.relation_row(&Row { session: me, mode: *mode, granted: true }, *table, into);
            }
            let own = Row { session: me, mode: TableLockMode::Exclusive, granted: true };
            // A prepared transaction keeps the virtual id of its session, which is over.
            if transaction.gid.is_none() {
                self.row(&own, LockedThing::Virtual, into);
            }
            for xid in transaction.locked_xids() {
                let own = Row { session: me, mode: TableLockMode::Exclusive, granted: true };
                self.row(&own, LockedThing::Xact(xid), into);
            }
        }
        for lock in &self.locks.tuples {
            let row = Row { session: lock.session, mode: lock.mode, granted: true };
            self.row(&row, LockedThing::Tuple(lock.table), into);
        }
        for (key, session, mode) in self.locks.all_advisory() {
            self.row(&Row { session, mode, granted: true }, LockedThing::Advisory(key), into);
        }
        for waiter in &self.locks.waiters {
            let row = Row { session: waiter.session, mode: waiter.mode, granted: false };
            match waiter.tag {
                LockTag::Table(table) => self.relation_row(&row, table, into),
                LockTag::Tuple(table, _) => self.row(&row, LockedThing::Tuple(table), into),
                LockTag::Xact(xid) => self.row(&row, LockedThing::Xact(xid), into),
                LockTag::Advisory(key) => self.row(&row, LockedThing::Advisory(key), into),
            }
        }
    }

    fn relation_row(&self, row: &Row, table: TableId, into: &mut Vec<Value>) {
        self.row(row, LockedThing::Relation(table), into);
    }

    fn row(&self, row: &Row, thing: LockedThing, into: &mut Vec<Value>) {
        let names = &self.names;
        let own_virtual = &names.sessions[usize::from(row.session)];
        let connected = self.session(row.session).connected;
        let (name, relation, virtual_xid, xid) = match thing {
            LockedThing::Relation(table) => {
                (&names.relation, Value::Int(Catalog::oid(table)), Value::Null, Value::Null)
            }
            LockedThing::Tuple(table) => (&names.tuple, Value::Int(Catalog::oid(table)), Value::Null, Value::Null),
            LockedThing::Virtual => (&names.virtual_xid, Value::Null, Value::Text(own_virtual.clone()), Value::Null),
            LockedThing::Xact(xid) => {
                // The type `xid` has 32 bits.
                let low = i64::try_from(self.xacts.external(xid) & 0xffff_ffff).expect("32 bits");
                (&names.transaction_id, Value::Null, Value::Null, Value::Int(low))
            }
            LockedThing::Advisory(_) => (&names.advisory, Value::Null, Value::Null, Value::Null),
        };
        let in_database = !matches!(thing, LockedThing::Virtual | LockedThing::Xact(_));
        // One by one: they need not be put together before they are put there.
        into.reserve(9);
        into.push(Value::Text(name.clone()));
        into.push(if in_database { Value::Int(DATABASE) } else { Value::Null });
        into.push(relation);
        into.push(virtual_xid);
        into.push(xid);
        into.push(Value::Text(own_virtual.clone()));
        into.push(if connected { Value::Int(crate::exec::process_id(row.session)) } else { Value::Null });
        into.push(Value::Text(names.modes[row.mode as usize].clone()));
        into.push(Value::Bool(row.granted));
    }
}

#[derive(Clone, Copy)]
enum LockedThing {
    Relation(TableId),
    Tuple(TableId),
    Virtual,
    Xact(Xid),
    Advisory(#[expect(dead_code, reason = "its columns are not modelled")] AdvisoryKey),
}
