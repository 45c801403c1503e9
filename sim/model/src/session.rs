//! Sessions and their transactions: begin, commit, roll back, savepoints, and when an id is assigned.
//!
//! Source: PostgreSQL, src/backend/access/transam/xact.c.

use std::sync::Arc;

use smol_str::SmolStr;

use smallvec::SmallVec;

use crate::catalog::{Catalog, SequenceId, TableId};
use crate::error::Error;
use crate::exec::Activation;
use crate::footprint::{Access, Series};
use crate::lock::{AdvisoryKey, AdvisoryScope};
use crate::message::{Message, Notice};
use crate::mvcc::{NO_XID, Snapshot, State, Table, Xid};
use crate::notify::{Mailbox, Outbox};
use crate::plan::{Isolation, Plan, TableLockMode, TransactionModes};
use crate::sequence::Sequence;
use crate::server::{Core, Prepared};
use crate::settings::Settings;
use crate::types::Type;

/// What a transaction is ended by. Source: PostgreSQL, the block states of xact.c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Block {
    /// The end of its only statement.
    #[default]
    Single,
    /// The end of the message of several statements that it began in.
    Implicit,
    /// COMMIT or ROLLBACK: BEGIN was said.
    Explicit,
}

/// A connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) connected: bool,
    pub(crate) transaction: Option<Box<Transaction>>,
    /// The last transaction's memory, for the next one.
    spare: Option<Box<Transaction>>,
    pub(crate) settings: Settings,
    /// What `currval` gives.
    pub(crate) sequences: Vec<(SequenceId, i64)>,
    /// The sequence of the last `nextval`: what `lastval` gives is its.
    pub(crate) last_sequence: SequenceId,
    /// The state of its statement, kept for the next one when it is done.
    activation: Option<Box<Activation>>,
    /// The statement that waits, or has paused.
    pub(crate) waiting: Option<Waiting>,
    /// When `statement_timeout` ends its statement.
    pub(crate) statement_ends: Option<i64>,
    /// The message of statements that it is working on.
    pub(crate) message: Option<Message>,
    /// By PREPARE: name and text.
    pub(crate) prepared: Vec<NamedStatement>,
    /// See [`crate::Server::poison`].
    pub(crate) poisons: bool,
    pub(crate) mailbox: Mailbox,
    /// What the client was told beside answers, and has not fetched.
    pub(crate) notices: Vec<Notice>,
}

/// What PREPARE has named.
#[derive(Clone, Debug)]
pub(crate) struct NamedStatement {
    pub(crate) name: SmolStr,
    pub(crate) sql: SmolStr,
    /// Of its rows, when it was prepared: they stay these.
    pub(crate) columns: Vec<(SmolStr, Type)>,
}

/// A statement that waits, or has paused.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) prepared: Prepared,
    /// It may have been compiled anew since, for other sessions: this one goes on with the plan that it began with.
    pub(crate) plan: Arc<Plan>,
    /// The catalog's, when it began to wait.
    pub(crate) version: u64,
    /// It waits for nothing but to be told to go on.
    pub(crate) paused: bool,
}

/// A transaction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) block: Block,
    /// After an error: until its end it takes no commands.
    pub(crate) failed: bool,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    /// What its level is called, where it is READ COMMITTED by another name.
    pub(crate) other_name: Option<&'static str>,
    /// The command that runs or will run next.
    pub(crate) command: u32,
    pub(crate) xid: Xid,
    /// All ids of this transaction, those of its savepoints included, that have not been rolled back.
    xids: SmallVec<[Xid; 2]>,
    /// REPEATABLE READ: the snapshot of its first statement.
    pub(crate) snapshot: Option<Snapshot>,
    /// When it began.
    pub(crate) started: i64,
    /// Its identifier, once it is prepared.
    pub(crate) gid: Option<SmolStr>,
    savepoints: Vec<Savepoint>,
    /// The catalog before its first DDL.
    catalog: Option<Catalog>,
    /// What TRUNCATE has put aside.
    truncated: Vec<(TableId, Table)>,
    /// Where sequences stood that TRUNCATE .. RESTART IDENTITY has put back.
    pub(crate) restarted: Vec<(SequenceId, Sequence)>,
    /// What it is going to notify.
    pub(crate) outbox: Outbox,
    /// Tables that it has touched, if that is watched.
    pub(crate) touched: Vec<SmolStr>,
    /// Whether any statement has taken a snapshot.
    pub(crate) has_snapshot: bool,
    /// Transaction-level advisory locks, in the order in which they were taken.
    pub(crate) advisory: Vec<(AdvisoryKey, TableLockMode)>,
}

/// What there was when a savepoint was made.
#[derive(Clone, Debug)]
struct Savepoint {
    name: SmolStr,
    /// The id of what was written since.
    xid: Xid,
    xids: usize,
    tables: usize,
    advisory: usize,
    settings: usize,
    truncated: usize,
    restarted: usize,
    outbox: (usize, usize),
    read_only: bool,
    catalog: Catalog,
}

impl Session {
    /// Forgets everything; what its vectors have allocated stays.
    pub(crate) fn close(&mut self) {
        self.connected = false;
        if let Some(transaction) = self.transaction.take() {
            self.spare = Some(transaction);
        }
        self.settings.clear();
        self.sequences.clear();
        self.waiting = None;
        self.message = None;
        self.notices.clear();
        self.prepared.clear();
        self.mailbox = Mailbox::default();
        self.poisons = false;
    }
}

impl Session {
    /// The state of its statement.
    pub(crate) fn activation(&mut self) -> &mut Activation {
        self.activation.get_or_insert_default()
    }

    pub(crate) fn activation_ref(&self) -> Option<&Activation> {
        self.activation.as_deref()
    }

    /// Lends the state of its statement out.
    pub(crate) fn take_activation(&mut self) -> Box<Activation> {
        self.activation.take().unwrap_or_default()
    }

    pub(crate) fn put_activation(&mut self, activation: Box<Activation>) {
        self.activation = Some(activation);
    }
}

impl Transaction {
    /// Begins anew.
    fn begin(&mut self, block: Block, modes: TransactionModes, started: i64) {
        self.block = block;
        self.failed = false;
        self.isolation = modes.isolation.unwrap_or(Isolation::ReadCommitted);
        self.read_only = modes.read_only.unwrap_or(false);
        self.other_name = modes.other_name;
        self.command = 0;
        self.xid = NO_XID;
        self.xids.clear();
        self.snapshot = None;
        self.started = started;
        self.gid = None;
        self.savepoints.clear();
        self.catalog = None;
        self.truncated.clear();
        self.restarted.clear();
        self.has_snapshot = false;
        self.advisory.clear();
        self.touched.clear();
        self.outbox.roll_back_to((0, 0));
    }

    /// BEGIN: what has just begun for this statement alone goes on.
    pub(crate) fn become_block(&mut self, modes: TransactionModes) {
        self.block = Block::Explicit;
        self.isolation = modes.isolation.unwrap_or(Isolation::ReadCommitted);
        self.read_only = modes.read_only.unwrap_or(false);
        self.other_name = modes.other_name;
    }

    /// Whether it has changed the catalog.
    pub(crate) fn has_ddl(&self) -> bool {
        self.catalog.is_some()
    }

    /// The ids that it holds locks on: a savepoint's part gives its lock back when it is released. Source: PostgreSQL,
    /// `CommitSubTransaction`.
    pub(crate) fn locked_xids(&self) -> impl Iterator<Item = Xid> {
        let parts = self.savepoints.iter().map(|savepoint| savepoint.xid);
        std::iter::once(self.xid).chain(parts).filter(|xid| *xid != NO_XID)
    }

    /// It is prepared: from now on it has this identifier, and no savepoint.
    pub(crate) fn become_prepared(&mut self, gid: SmolStr) {
        self.gid = Some(gid);
        self.savepoints.clear();
    }

    pub(crate) fn is_in_savepoint(&self) -> bool {
        !self.savepoints.is_empty()
    }

    /// The ids that it has.
    pub(crate) fn xids(&self) -> &[Xid] {
        &self.xids
    }

    /// Puts back what TRUNCATE has put aside.
    pub(crate) fn restore_storage(&mut self, tables: &mut [Table]) {
        while let Some((table, storage)) = self.truncated.pop() {
            tables[table as usize] = storage;
        }
    }
}

impl Core {
    pub(crate) fn session(&self, me: u16) -> &Session {
        &self.sessions[usize::from(me)]
    }

    pub(crate) fn session_mut(&mut self, me: u16) -> &mut Session {
        &mut self.sessions[usize::from(me)]
    }

    /// The transaction of a session in which a statement runs.
    pub(crate) fn transaction(&self, me: u16) -> &Transaction {
        self.session(me).transaction.as_ref().expect("a statement runs in a transaction")
    }

    pub(crate) fn transaction_mut(&mut self, me: u16) -> &mut Transaction {
        self.session_mut(me).transaction.as_mut().expect("a statement runs in a transaction")
    }

    /// Whether the transaction of a session has an id.
    pub(crate) fn has_id(&self, me: u16) -> bool {
        self.session(me).transaction.as_ref().is_some_and(|open| open.xid != NO_XID)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self, me: u16, block: Block, modes: TransactionModes) {
        let started = self.clock;
        let session = self.session_mut(me);
        let old = session.transaction.take().or_else(|| session.spare.take());
        let mut transaction = old.unwrap_or_default();
        transaction.begin(block, modes, started);
        session.transaction = Some(transaction);
    }

    /// The id under which a session writes now; it is assigned where there is none yet, the transaction's own first.
    pub(crate) fn assign_xid(&mut self, me: u16) -> Xid {
        let before = self.xacts.given_out();
        let session = &mut self.sessions[usize::from(me)];
        let transaction = session.transaction.as_mut().expect("a statement runs in a transaction");
        if transaction.xid == NO_XID {
            transaction.xid = self.xacts.assign(me, None);
            transaction.xids.push(transaction.xid);
        }
        for savepoint in &mut transaction.savepoints {
            if savepoint.xid == NO_XID {
                savepoint.xid = self.xacts.assign(me, Some(transaction.xid));
                transaction.xids.push(savepoint.xid);
            }
        }
        let xid = transaction.savepoints.last().map_or(transaction.xid, |savepoint| savepoint.xid);
        if self.xacts.given_out() > before {
            self.note(|| Access::Next(Series::Ids));
        }
        xid
    }

    /// The id of the transaction itself, whatever savepoint it is in.
    pub(crate) fn assign_top_xid(&mut self, me: u16) -> Xid {
        let transaction =
            self.sessions[usize::from(me)].transaction.as_mut().expect("a statement runs in a transaction");
        if transaction.xid == NO_XID {
            transaction.xid = self.xacts.assign(me, None);
            transaction.xids.push(transaction.xid);
            let xid = transaction.xid;
            self.note(|| Access::Next(Series::Ids));
            return xid;
        }
        transaction.xid
    }

    /// Commits; the transaction has not failed.
    pub(crate) fn commit(&mut self, me: u16) {
        self.end(me, State::Committed);
    }

    /// Rolls the whole transaction back.
    pub(crate) fn roll_back(&mut self, me: u16) {
        self.undo_since(me, None);
        self.end(me, State::Aborted);
    }

    fn end(&mut self, me: u16, state: State) {
        if self.session(me).transaction.is_none() {
            return;
        }
        if self.ddl_owner == Some(me) {
            self.ddl_owner = None;
        }
        let committed = state == State::Committed;
        self.note_end(me, committed);
        let Some(mut transaction) = self.session_mut(me).transaction.take() else { return };
        self.serializable.end(me, committed);
        if self.watches {
            self.touch_end(&mut transaction.touched);
        }
        if committed && transaction.xid != NO_XID {
            self.commits += 1;
            // Whoever writes to a table holds such a lock on it until now.
            for (table, mode) in self.locks.tables_of(me) {
                self.changes[*table as usize] += u64::from(*mode >= TableLockMode::RowExclusive);
            }
        }
        // All ids end before anybody goes on.
        for xid in transaction.xids.iter().rev() {
            self.xacts.end(*xid, state);
        }
        for (table, storage) in transaction.truncated.drain(..) {
            if !self.put_aside.iter().any(|(aside, _)| *aside == table) {
                self.put_aside.push((table, storage));
            }
        }
        if committed {
            self.send_mail(me, &mut transaction.outbox);
        }
        for xid in &transaction.xids {
            self.locks.end_xact(*xid);
        }
        self.release_transaction_locks(me);
        let session = self.session_mut(me);
        session.settings.end_transaction(committed);
        session.spare = Some(transaction);
    }

    fn release_transaction_locks(&mut self, me: u16) {
        self.locks.release_tables(me, 0);
        self.locks.release_tuples(me);
        self.locks.release_advisory_scope(me, AdvisoryScope::Transaction);
    }

    /// A statement has failed: what it was part of is rolled back, and its locks are released, at once.
    pub(crate) fn fail(&mut self, me: u16) {
        let Some(transaction) = &self.session(me).transaction else { return };
        if transaction.block != Block::Explicit {
            self.roll_back(me);
            return;
        }
        let innermost = transaction.savepoints.len().checked_sub(1);
        self.undo_since(me, innermost);
        if innermost.is_none() {
            self.release_transaction_locks(me);
        }
        self.transaction_mut(me).failed = true;
    }

    /// Rolls back what was done since savepoint number `since`, or all.
    fn undo_since(&mut self, me: u16, since: Option<usize>) {
        self.note_rollback(me);
        let Some(mut transaction) = self.session_mut(me).transaction.take() else { return };
        let savepoint = since.map(|number| &transaction.savepoints[number]);
        let outer = &transaction.savepoints[..since.unwrap_or(0)];
        // An id that something outside got only when the savepoint's part first wrote is not taken back.
        let stays =
            |xid: Xid| since.is_some() && (xid == transaction.xid || outer.iter().any(|around| around.xid == xid));
        let (mut ended, first) = (SmallVec::<[Xid; 4]>::new(), savepoint.map_or(0, |savepoint| savepoint.xids));
        for xid in transaction.xids.drain(first..).collect::<SmallVec<[Xid; 4]>>() {
            if stays(xid) {
                transaction.xids.push(xid);
            } else {
                ended.push(xid);
            }
        }
        for xid in ended.iter().rev() {
            self.xacts.end(*xid, State::Aborted);
        }
        let truncated = savepoint.map_or(0, |savepoint| savepoint.truncated);
        while transaction.truncated.len() > truncated {
            let (table, storage) = transaction.truncated.pop().expect("not empty");
            self.tables[table as usize] = storage;
        }
        transaction.outbox.roll_back_to(savepoint.map_or((0, 0), |savepoint| savepoint.outbox));
        for (sequence, old) in transaction.restarted.drain(savepoint.map_or(0, |savepoint| savepoint.restarted)..).rev()
        {
            self.sequences[sequence as usize] = old;
        }
        if let Some(before) = &transaction.catalog {
            // What others have created since a savepoint that is older than the first DDL stays.
            let saved = savepoint.map(|savepoint| &savepoint.catalog);
            let catalog = saved.filter(|saved| saved.version() > before.version()).unwrap_or(before);
            self.catalog.restore(catalog.clone());
            self.drop_indexes();
        }
        if since.is_none() {
            transaction.catalog = None;
        }
        for xid in &ended {
            self.locks.end_xact(*xid);
        }
        self.locks.release_tuples(me);
        if let Some(savepoint) = savepoint {
            self.locks.release_tables(me, savepoint.tables);
            for (key, mode) in transaction.advisory.drain(savepoint.advisory..) {
                self.locks.release_advisory(me, key, mode);
            }
            self.session_mut(me).settings.roll_back_to(savepoint.settings);
        }
        if since.is_none() {
            transaction.xid = NO_XID;
        }
        self.session_mut(me).transaction = Some(transaction);
    }

    /// SAVEPOINT.
    pub(crate) fn savepoint(&mut self, me: u16, name: &SmolStr) {
        let (tables, settings) = (self.locks.tables_of(me).len(), self.session(me).settings.mark());
        let catalog = self.catalog.clone();
        let transaction = self.transaction_mut(me);
        transaction.savepoints.push(Savepoint {
            name: name.clone(),
            xid: NO_XID,
            xids: transaction.xids.len(),
            tables,
            advisory: transaction.advisory.len(),
            settings,
            truncated: transaction.truncated.len(),
            restarted: transaction.restarted.len(),
            outbox: transaction.outbox.mark(),
            read_only: transaction.read_only,
            catalog,
        });
    }

    fn find_savepoint(&self, me: u16, name: &str) -> Result<usize, Error> {
        let found = self.transaction(me).savepoints.iter().rposition(|savepoint| *savepoint.name == *name);
        found.ok_or_else(|| Error::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// ROLLBACK TO SAVEPOINT: the savepoint stays.
    pub(crate) fn roll_back_to(&mut self, me: u16, name: &str) -> Result<(), Error> {
        let number = self.find_savepoint(me, name)?;
        self.undo_since(me, Some(number));
        let transaction = self.transaction_mut(me);
        transaction.savepoints.truncate(number + 1);
        transaction.savepoints[number].xid = NO_XID;
        transaction.read_only = transaction.savepoints[number].read_only;
        transaction.failed = false;
        Ok(())
    }

    /// RELEASE SAVEPOINT: what was done since stays, as a part of what is around it.
    pub(crate) fn release(&mut self, me: u16, name: &str) -> Result<(), Error> {
        let number = self.find_savepoint(me, name)?;
        let transaction = self.transaction_mut(me);
        // What was set inside ends with it. Source: `CommitSubTransaction`.
        transaction.read_only = transaction.savepoints[number].read_only;
        transaction.savepoints.truncate(number);
        Ok(())
    }

    /// Before DDL: remembers the catalog, for a rollback.
    pub(crate) fn save_catalog(&mut self, me: u16) {
        let catalog = &self.catalog;
        let transaction =
            self.sessions[usize::from(me)].transaction.as_mut().expect("a statement runs in a transaction");
        transaction.catalog.get_or_insert_with(|| catalog.clone());
    }

    /// The catalog before a session's first DDL, if its transaction has done any.
    pub(crate) fn catalog_before_ddl(&mut self, me: u16) -> Option<&mut Catalog> {
        self.session_mut(me).transaction.as_mut()?.catalog.as_mut()
    }

    /// Puts an empty table in a table's place, for the transaction of `me`.
    pub(crate) fn truncate(&mut self, me: u16, table: TableId) {
        let empty = self.tables[table as usize].emptied();
        let storage = std::mem::replace(&mut self.tables[table as usize], empty);
        self.put_storage_aside(me, table, storage);
    }

    /// Remembers a table's storage, which was exchanged, for a rollback.
    pub(crate) fn put_storage_aside(&mut self, me: u16, table: TableId, storage: Table) {
        self.transaction_mut(me).truncated.push((table, storage));
    }

    /// Whoever reads a sequence that another transaction has restarted reads what it was; that is put aside there.
    pub(crate) fn refuse_restarted(&self, me: u16, id: SequenceId) -> Result<(), Error> {
        let mut others = self.sessions.iter().enumerate().filter(|(number, _)| *number != usize::from(me));
        let restarts = |transaction: &Transaction| transaction.restarted.iter().any(|(restarted, _)| *restarted == id);
        if others.any(|(_, session)| session.transaction.as_deref().is_some_and(restarts)) {
            return Err(Error::refused("reading a sequence that another transaction has restarted"));
        }
        Ok(())
    }

    /// A table's storage as it is to all but the transaction that has it truncated, if there is one.
    pub(crate) fn storage_for_others(&self, table: TableId) -> &Table {
        let open = self.sessions.iter().filter_map(|session| session.transaction.as_ref());
        // The first that was put aside is what stood there before the transaction.
        let mut aside = open.flat_map(|transaction| &transaction.truncated);
        aside.find(|(truncated, _)| *truncated == table).map_or(&self.tables[table as usize], |(_, storage)| storage)
    }
}
